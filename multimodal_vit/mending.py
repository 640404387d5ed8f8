"""What is damaged of a run that is over, set aside and made anew from its checkpoints."""

import os
from collections.abc import Callable
from typing import Any

from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.evaluate import Predictions
from multimodal_vit.files import file_checksum, set_aside
from multimodal_vit.run_files import EVIDENCE, FAILURE, METRICS, PREDICTIONS
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.writer import restore_metrics, rows_checksum
from multimodal_vit.workdir import Workdir


def mend(workdir: Workdir, say: Callable[[str], None]) -> None:
    """Sets aside what is damaged of a run that is over; its checkpoints give it anew.

    Does nothing while another process holds the workdir, nor in one that cannot be written.

    Args:
      workdir: of the run; it may hold none yet.
      say: is told what was found.

    Raises:
      UserError: the metrics file is damaged, and so is the checkpoint that holds a copy.
    """
    if not workdir.is_over() or not os.access(workdir.path, os.W_OK):
        return
    with workdir.locked() as free:
        if not free:
            return
        for path, read in (
            (workdir.results_path, workdir.results),
            (workdir.path / FAILURE, workdir.failure),
        ):
            try:
                read()
            except DamagedError as error:
                reason = str(error).partition(". ")[0]
                say(f"{reason}; kept aside as {set_aside(path, workdir.path)}, and made anew")
        results = workdir.results()
        if results is None or not Checkpoints(workdir.path / "checkpoints").steps():
            return  # nothing to make anything anew from
        _mend_metrics(workdir, results, say)
        if "test" in results:
            _mend_answers(workdir, say)


def _mend_metrics(workdir: Workdir, results: dict[str, Any], say: Callable[[str], None]) -> None:
    """Holds a finished run's metrics file, and its results, against what its checkpoint knows."""
    metrics = workdir.path / METRICS
    checksum = results.get("metrics_sha256")
    good = metrics.is_file() and file_checksum(metrics) == checksum
    checkpoints = Checkpoints(workdir.path / "checkpoints", read_only=True)
    try:
        rows = checkpoints.progress(checkpoints.steps()[-1]).get("rows", [])
    except DamagedError:
        if good:
            return  # whoever needs the checkpoint will say so
        raise
    if not good:
        restore_metrics(workdir.path, rows, say, over=True)
    if rows_checksum(rows) != checksum:
        path = workdir.results_path
        kept = set_aside(path, workdir.path)
        say(f"{path} is of another run; kept aside as {kept}, and made anew")


def _mend_answers(workdir: Workdir, say: Callable[[str], None]) -> None:
    """Sets aside what a finished run keeps beside its results, and these, where it is damaged."""
    for path, read in (
        (workdir.path / PREDICTIONS, lambda: Predictions.load(workdir.path / PREDICTIONS)),
        (workdir.path / EVIDENCE, workdir.evidence),
    ):
        try:
            read()
        except UserError:
            kept = f", kept aside as {set_aside(path, workdir.path)}" if path.exists() else ""
            say(f"{path} is damaged or missing{kept}; the run is evaluated anew")
            if workdir.results_path.exists():  # they are made together
                set_aside(workdir.results_path, workdir.path)
