"""Files of records, `array_record` and `tfrecord`: their checksums, lengths and sizes are checked.

A damaged record is never passed on. array_record's own reader verifies the hash of every chunk;
what a chunk promises to unpack to is held against a cap before that reader may try. Of tfrecord the
CRC-32C of each length and each record is verified here.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from multimodal_vit.arrays import check_size
from multimodal_vit.errors import UserError

FORMATS = ("array_record", "tfrecord")
_AGAIN = "Prepare the data set again"

# Riegeli's layout, which array_record is written in: blocks, each with a header, and in them
# chunks, whose header gives their size and what they unpack to
# (github.com/google/riegeli/blob/master/doc/riegeli_records_file_format.md).
_BLOCK, _BLOCK_HEADER, _CHUNK_HEADER = 1 << 16, 24, 40


def records(path: Path, file_format: str) -> Iterator[bytes]:
    """The serialized examples of one file.

    Args:
      path: the file.
      file_format: one of `FORMATS`.

    Raises:
      UserError: the file is missing, damaged or cut short, promises too much, or is of another
        format.
    """
    if file_format not in FORMATS:
        raise UserError(
            f"{path} is in the format {file_format!r}; prepare the data set with "
            'file_format="array_record"'
        )
    if not path.is_file():
        raise UserError(f"{path} is missing. {_AGAIN}")
    yield from (_tfrecords(path) if file_format == "tfrecord" else _array_records(path))


def _array_records(path: Path) -> Iterator[bytes]:
    check_size(path, "records", _unpacked_size(path))
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(path))
        found = reader.read_all()
        reader.close()
    except Exception as error:  # of many kinds, as the library has them
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is damaged: {reason}. {_AGAIN}") from error
    yield from found


def _unpacked_size(path: Path) -> int:
    """The bytes that the chunks of an array_record file say they unpack to."""
    length, position, total = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while position < length:
            header = _without_block_headers(file, position, length)
            if len(header) < _CHUNK_HEADER:
                raise UserError(f"{path} is cut short or no array_record file. {_AGAIN}")
            _, size, _, kind_and_count, unpacked = struct.unpack("<5Q", header)
            count = kind_and_count >> 8
            end = max(
                _with_block_headers(position, _CHUNK_HEADER + size), _chunk_start(position + count)
            )
            if end > length:
                raise UserError(f"{path} is cut short or no array_record file. {_AGAIN}")
            if count > unpacked + 1:
                raise UserError(f"{path} is damaged: {count:,} records in {unpacked:,} bytes")
            total, position = total + unpacked, end
    return total


def _without_block_headers(file: IO[bytes], position: int, length: int) -> bytes:
    """The header of the chunk that begins at a position, which a block's header may interrupt."""
    found = b""
    while len(found) < _CHUNK_HEADER and position < length:
        if position % _BLOCK == 0:
            position += _BLOCK_HEADER
        file.seek(position)
        part = file.read(min(_CHUNK_HEADER - len(found), _BLOCK - position % _BLOCK))
        if not part:
            break
        found, position = found + part, position + len(part)
    return found


def _with_block_headers(position: int, size: int) -> int:
    """Where so many bytes end that begin at a position."""
    usable = _BLOCK - _BLOCK_HEADER
    blocks = (size + (position + usable - 1) % _BLOCK) // usable
    return position + size + blocks * _BLOCK_HEADER


def _chunk_start(position: int) -> int:
    """The first position from there that is not within a block's header."""
    within = position % _BLOCK
    return position + (_BLOCK_HEADER - within if 0 < within < _BLOCK_HEADER else 0)


def _tfrecords(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: length (uint64), CRC of it, data, CRC of it."""
    left = path.stat().st_size
    number = 0
    with path.open("rb") as file:
        while left:
            header = file.read(12)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else left
            left -= length + 16
            if left < 0:
                raise UserError(f"{path} is cut short. {_AGAIN}")
            check_size(path, "a record", length)
            data, crc = file.read(length), file.read(4)
            if _masked_crc(header[:8]) != header[8:] or _masked_crc(data) != crc:
                raise UserError(
                    f"{path} is damaged: record {number} does not have its checksum. {_AGAIN}"
                )
            yield data
            number += 1


def _masked_crc(data: bytes) -> bytes:
    from tensorboardX.record_writer import masked_crc32c  # late: it is needed for this format alone

    return struct.pack("<I", masked_crc32c(data))
