"""Files on disk: written whole or not at all, JSON that notices damage, and where damaged ones go.

A process can be killed, and a disk can fill, at any moment. What `replacing` writes is then either
the old file or the new one. What `write_json` writes carries a checksum of its content.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from multimodal_vit.errors import DamagedError

CHECKSUM = "sha256"
DAMAGED = "damaged"  # the folder, beside what is good, that keeps what was damaged


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w", newline: str | None = None) -> Iterator[IO[Any]]:
    """Opens a file that takes its place once it is written and on the disk; else the old one stays.

    Args:
      path: its place; the folder exists.
      mode: "w" for UTF-8 text, "wb" for bytes.
      newline: as for `open`.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        encoding = None if "b" in mode else "utf-8"
        with temporary.open(mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON with a checksum of its content, whole or not at all."""
    with replacing(path) as file:
        json.dump(content | {CHECKSUM: _checksum(content)}, file, indent=2, allow_nan=False)
        file.write("\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads what `write_json` wrote; a file without a checksum, of an older version, is taken.

    Raises:
      DamagedError: not such a file, or its content is not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged: it holds no JSON object")
    found = content.pop(CHECKSUM, None)
    if found is None:  # of an older version; or it is the checksum's name that has changed
        last = next(reversed(content), "")
        rest = {name: value for name, value in content.items() if name != last}
        damaged = bool(rest) and content[last] == _checksum(rest)
    else:
        damaged = found != _checksum(content)
    if damaged:
        raise DamagedError(f"{path} is damaged: its content does not have its {CHECKSUM}")
    return content


def _checksum(content: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(content))  # keys as text, tuples as lists
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def file_checksum(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_aside(path: Path, folder: Path, name: str = "", copy: bool = False) -> Path:
    """Moves a damaged file or folder into `folder/damaged`, beside what was moved there before.

    Args:
      path: what is damaged.
      folder: that of the run.
      name: in `damaged`; by default its own.
      copy: leaves it where it is too, for a file that will be replaced.

    Returns:
      Where it lies now.
    """
    target = folder / DAMAGED / (name or path.name)
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{name or path.name}-{number}")
    target.parent.mkdir(exist_ok=True)
    if copy:
        shutil.copy2(path, target)
    else:
        path.rename(target)
    return target
