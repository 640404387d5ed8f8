"""Files on disk: written whole or not at all, JSON that notices damage, and where damaged ones go.

A process can be killed, and a disk can fill, at any moment. What `replacing` writes is then either
the old file or the new one; what a kill leaves beside it, `remove_left_over` removes. What
`write_json` writes carries a checksum of its content.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from multimodal_vit.errors import DamagedError, UserError

CHECKSUM = "sha256"
DAMAGED = "damaged"  # the folder, beside what is good, that keeps what was damaged
UNFINISHED = ".multimodal_vit-part"  # how the names of files end that are being written
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
SECONDS_TO_WRITE = 86_400.0  # after which an unfinished file is left over, where locks do not tell


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w", newline: str | None = None) -> Iterator[IO[Any]]:
    """Opens a file that takes its place once it is written and on the disk; else the old one stays.

    Args:
      path: its place; the folder exists.
      mode: "w" for UTF-8 text, "wb" for bytes.
      newline: as for `open`.
    """
    encoding = None if "b" in mode else "utf-8"
    try:
        temporary, descriptor = _begin(path.parent, lambda p: os.open(p, _NEW, 0o666))
    except OSError as error:
        error.filename = str(path)  # the name that says something
        raise
    try:
        with open(descriptor, mode, encoding=encoding, newline=newline) as file:  # noqa: PTH123
            yield file
            file.flush()
            os.fsync(file.fileno())
            if path.is_dir():  # put there by somebody
                set_aside(path, path.parent)
            temporary.replace(path)  # while it is locked: nobody may take it for left over
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder that is removed in the end; what a kill leaves of it, by `remove_left_over`."""

    def make(path: Path) -> int:
        path.mkdir()
        return os.open(path, os.O_RDONLY)

    folder, descriptor = _begin(parent, make)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _begin(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Makes a file or folder of a name of its own and locks it, as a sign that its writer lives."""
    while True:
        path = folder / f".{secrets.token_hex(8)}{UNFINISHED}"
        descriptor = make(path)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists():  # nobody took it for left over before it was locked
            return path, descriptor
        os.close(descriptor)


def remove_left_over(folder: Path) -> None:
    """Removes the unfinished files in a folder whose writers were killed; does what it may.

    Those that are being written are told by their locks, which end with their writers; where the
    file system has no locks, by their age.
    """
    try:
        left = [path for path in folder.iterdir() if path.name.endswith(UNFINISHED)]
    except OSError:
        return
    for path in left:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _is_left_over(descriptor):
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
            finally:
                os.close(descriptor)


def _is_left_over(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime > SECONDS_TO_WRITE
    return True


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON with a checksum of its content, whole or not at all."""
    with replacing(path) as file:
        json.dump(content | {CHECKSUM: _checksum(content)}, file, indent=2, allow_nan=False)
        file.write("\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads what `write_json` wrote.

    Raises:
      DamagedError: not such a file, or its content is not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and not path.is_dir():
            raise
        raise DamagedError(f"{path} is damaged: it is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged: it holds no JSON object")
    found = content.pop(CHECKSUM, None)
    if found is None:
        raise DamagedError(f"{path} is damaged: its {CHECKSUM} is missing")
    if found != _checksum(content):
        raise DamagedError(f"{path} is damaged: its content does not have its {CHECKSUM}")
    return content


def _checksum(content: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(content))  # keys as text, tuples as lists
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def check_writable(folder: Path, name: str) -> None:
    """Checks that files can be written in a folder, where there is one, before any long work.

    Args:
      folder: it.
      name: as the message names it.

    Raises:
      UserError: they cannot.
    """
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"{name} cannot be written; name a folder that this user may write, or change its "
            "permissions"
        )


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
    if target.parent.is_file():
        target.parent.rename(target.parent.with_name(f"{DAMAGED}.file"))
    target.parent.mkdir(exist_ok=True)
    if copy and path.is_file():
        shutil.copy2(path, target)
    else:
        path.rename(target)
    return target


class HeldFolder:
    """A folder that stays open, so that it is noticed when its path leads elsewhere.

    Attributes:
      path: of the folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def check(self) -> None:
        """Checks that the folder is still where it was.

        Raises:
          UserError: it was moved or deleted; the message says where it is now, as far as is known.
        """
        held = os.fstat(self._descriptor)
        with contextlib.suppress(OSError):
            if os.path.samestat(held, self.path.stat()):
                return
        now = ""
        with contextlib.suppress(OSError):  # of a system without /proc
            now = str(Path(f"/proc/self/fd/{self._descriptor}").readlink())
        if not held.st_nlink or now.endswith(" (deleted)") or not now:
            raise UserError(
                f"{self.path} was deleted or moved while the run wrote into it. Put it back, and "
                "the same command goes on from its last checkpoint; or start in another --workdir"
            )
        raise UserError(
            f"{self.path} was moved to {now} while the run wrote into it. Nothing that was saved "
            f"is lost: go on with --workdir={now}"
        )

    def close(self) -> None:
        """Lets the folder go."""
        os.close(self._descriptor)
