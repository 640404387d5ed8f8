"""Metrics on disk: metrics.jsonl for programs, TensorBoard events for people."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from multimodal_vit import distributed
from multimodal_vit.errors import DamagedError
from multimodal_vit.files import replacing, set_aside

_NAME = "metrics.jsonl"
OnRow = Callable[[dict[str, Any]], None]


class MetricWriter:
    """Appends rows to `metrics.jsonl` and to TensorBoard events in one folder.

    Of several processes the main one writes.

    Opened again at a step, it drops the rows of later steps, so that a run that was interrupted
    leaves neither gaps nor duplicates.

    Attributes:
      rows: all that the file holds.

    Args:
      directory: of the run.
      step: what the file is cut back to.
      rows: those until then, as a checkpoint holds them; by default the file's own are taken. A
        file that does not begin with them is set aside and written anew.
      say: is told of that.
      on_row: is given each new row, a dict; where it fails that is said, and it is not asked again.
      seed: of the run; stands in the rows that it is given.
    """

    def __init__(
        self,
        directory: Path,
        step: int,
        rows: Sequence[dict[str, Any]] | None = None,
        say: Callable[[str], None] = lambda text: None,
        on_row: OnRow | None = None,
        seed: int = 0,
    ) -> None:
        self._say, self._on_row, self._seed = say, on_row, seed
        path = directory / _NAME
        purge = {"purge_step": step + 1} if path.exists() else {}

        def begin() -> list[dict[str, Any]]:
            if rows is None:
                kept = [row for row in read_metrics(path) if row["step"] <= step]
            else:
                kept = list(rows)
                restore_metrics(directory, kept, say)
            _write_rows(path, kept)
            return kept

        self.rows: list[dict[str, Any]] = distributed.from_main(begin)
        self._writes = distributed.is_main()
        if self._writes:
            from tensorboardX import SummaryWriter  # late: evaluation does without

            self._file = path.open("a", encoding="utf-8")
            self._events = SummaryWriter(str(directory / "tensorboard"), **purge)

    def write(self, split: str, step: int, samples: int, values: dict[str, Any]) -> None:
        """Writes one row: the split, the step, the samples seen and the values by name.

        Only the values that are plain numbers go to TensorBoard.
        """
        row = {"split": split, "step": step, "samples": samples} | values
        self.rows.append(row)
        if not self._writes:
            return
        self._file.write(_line(row))
        self._file.flush()
        os.fsync(self._file.fileno())
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._events.add_scalar(f"{split}/{name}", value, step)
        if self._on_row is not None:
            try:
                self._on_row({"seed": self._seed} | row)
            except Exception as error:  # a tracker's trouble ends no run
                self._say(f"on_row is not asked again: {type(error).__name__}: {error}")
                self._on_row = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writes:
            self._file.close()
            self._events.close()


def restore_metrics(
    directory: Path,
    rows: Sequence[dict[str, Any]],
    say: Callable[[str], None],
    over: bool = False,
) -> None:
    """Sets a run's metrics.jsonl aside and writes it anew, unless it begins with some rows.

    Args:
      directory: of the run.
      rows: as a checkpoint holds them.
      say: is told of it.
      over: whether the run is, so that there may be no others.
    """
    path = directory / _NAME
    if path.is_dir():
        say(f"{path} is a folder, kept as {set_aside(path, directory)}")
    found = path.read_bytes() if path.exists() else None
    expected = "".join(map(_line, rows)).encode()
    if found == expected or (not over and (found or b"").startswith(expected)):
        return
    kept = "" if found is None else f", kept as {set_aside(path, directory, copy=True)}"
    say(f"{path} was {'missing' if found is None else 'damaged'}{kept}; written anew")
    _write_rows(path, rows)


def rows_checksum(rows: Sequence[dict[str, Any]]) -> str:
    """The sha256 of the file that holds some rows and no others, in hexadecimal."""
    return hashlib.sha256("".join(map(_line, rows)).encode()).hexdigest()


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with replacing(path) as file:
        file.writelines(map(_line, rows))


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that was cut off in writing is left out.

    Raises:
      DamagedError: a line is no row of metrics; the message names it.
    """
    if not path.exists():
        return []
    if path.is_dir():
        raise DamagedError(f"{path} is damaged: it is a folder")
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
            row["split"], row["step"] + 0, row["samples"] + 0  # noqa: B018  (they are there)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DamagedError(
                f"{path} is damaged in line {number}; start the training in its workdir again: "
                "the file is set aside and written anew from the checkpoints"
            ) from error
        rows.append(row)
    return rows
