"""Metrics on disk: metrics.jsonl for programs, TensorBoard events for people."""

import json
import os
from pathlib import Path
from typing import Any, Self


class MetricWriter:
    """Appends rows to `metrics.jsonl` and to TensorBoard events in one folder.

    Opened again at a step, it drops the rows of later steps, so that a run that was interrupted
    leaves neither gaps nor duplicates.
    """

    def __init__(self, directory: Path, step: int) -> None:
        from tensorboardX import SummaryWriter  # late: evaluation does without

        path = directory / "metrics.jsonl"
        purge = {"purge_step": step + 1} if path.exists() else {}
        kept = [row for row in read_metrics(path) if row["step"] <= step]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        temporary.replace(path)
        self._file = path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(directory / "tensorboard"), **purge)

    def write(self, split: str, step: int, samples: int, values: dict[str, Any]) -> None:
        """Writes one row: the split, the step, the samples seen and the values by name.

        Only the values that are plain numbers go to TensorBoard.
        """
        row = {"split": split, "step": step, "samples": samples} | values
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._events.add_scalar(f"{split}/{name}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._events.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that was cut off in writing is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
