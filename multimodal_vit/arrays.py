"""NumPy's files, read with what they claim held against what they hold.

A header can claim any size, and a few kilobytes can unpack to gigabytes. Here the sizes are
compared with the file's length and with `MAX_BYTES` before anything of that size is held in memory;
nothing is unpickled, and whatever a damaged file makes the libraries raise becomes one `UserError`.
"""

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from multimodal_vit.errors import DamagedError, UserError

MAX_BYTES = 4 << 30  # of one array: data sets lie in memory whole, 90 times MNIST's training images
_MOST_DEFLATED = 1032  # bytes that one byte of a deflate stream can become, at most
_AT_ONCE = 1 << 20


def check_size(path: Path, what: str, num_bytes: int) -> None:
    """Refuses what would be larger than `MAX_BYTES` in memory.

    Args:
      path: the file that claims it, to be named.
      what: "images", say.
      num_bytes: its size.

    Raises:
      UserError: it is too large.
    """
    if num_bytes > MAX_BYTES:
        raise UserError(
            f"{path} promises {what} of {num_bytes:,} bytes; the most that is read is "
            f"{MAX_BYTES:,}, since a data set lies in memory whole. Take fewer or smaller ones"
        )


def most_unpacked(num_bytes: int) -> int:
    """The most bytes that so many bytes of gzip or zip can hold."""
    return _MOST_DEFLATED * num_bytes


def read_npy(path: Path) -> np.ndarray:
    """Reads one .npy file of numbers, truth values or text.

    Raises:
      UserError: not such a file, or its size is not what its header says.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size, path)
    except UserError:
        raise
    except Exception as error:  # of many kinds: whatever a damaged header makes NumPy raise
        raise DamagedError(f"{path} cannot be read as a .npy file ({_reason(error)})") from error


def read_npz(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Reads arrays of one .npz archive; its checksums (CRC-32 of each array) are verified.

    Args:
      path: the archive.
      names: of the arrays; None: all.

    Raises:
      UserError: not such an archive, damaged, or without one of the arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
            wanted = list(members) if names is None else names
            if absent := [name for name in wanted if name not in members]:
                raise DamagedError(f"{path} lacks {', '.join(absent)}")
            for name in wanted:
                check_size(path, name, members[name].file_size)
                if members[name].file_size > most_unpacked(path.stat().st_size):
                    raise DamagedError(f"{path} is damaged: {name} is larger than it can hold")
            found = {}
            for name in wanted:
                with archive.open(members[name]) as file:
                    found[name] = _read(file, members[name].file_size, path)
            return found
    except UserError:
        raise
    except Exception as error:  # of many kinds: whatever a damaged archive raises
        raise DamagedError(
            f"{path} cannot be read as an .npz archive ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """One line that says what a library raised; some say nothing but their type."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _read(file: IO[bytes], num_bytes: int, path: Path) -> np.ndarray:
    """One array in NumPy's format, of a file or a member of an archive that has so many bytes."""
    head = io.BytesIO(file.read(min(num_bytes, _AT_ONCE)))  # NumPy's header is at most 10,000
    version = np.lib.format.read_magic(head)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise DamagedError(f"{path} is of version {version} of NumPy's format, not 1.0 or 2.0")
    shape, in_columns, dtype = readers[version](head)
    if dtype.kind not in "biufUS":
        raise DamagedError(f"{path} holds {dtype}; only numbers, truth values and text are read")
    size, left = math.prod(shape) * dtype.itemsize, num_bytes - head.tell()
    if min(shape, default=0) < 0 or size != left or dtype.itemsize == 0:
        raise DamagedError(
            f"{path} is damaged: its header promises {dtype} {list(shape)}, {size:,} bytes, but it "
            f"holds {left:,}"
        )
    # As if no size were 0: NumPy cannot shape nothing into what it could not hold.
    check_size(path, f"{dtype} {list(shape)}", math.prod(max(n, 1) for n in shape) * dtype.itemsize)
    array = np.empty(math.prod(shape), dtype)
    _fill(array, head, file, path)
    return array.reshape(shape, order="F" if in_columns else "C")


def _fill(array: np.ndarray, head: IO[bytes], file: Any, path: Path) -> None:
    """Reads an array's bytes, of an archive's member to its end, where its sum is checked."""
    view, filled = memoryview(array.view(np.uint8)), 0
    for source in (head, file):
        while filled < len(view) and (chunk := source.read(min(_AT_ONCE, len(view) - filled))):
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
    if filled < len(view) or file.read(1):
        raise DamagedError(f"{path} is damaged: it does not hold what its header promises")
