"""Where a run goes on: its last good checkpoint, checked to be its own."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_vit import config as configuration
from multimodal_vit import distributed
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import DAMAGED
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.initial import start
from multimodal_vit.train.state import TrainState
from multimodal_vit.versions import arithmetic

NOT_RECORDED = "not recorded"  # of a run that began before its checkpoints named it


@dataclasses.dataclass
class Progress:
    """What the loop knows beside the training state; saved with every checkpoint.

    Attributes:
      data_fingerprint: of the splits that the run is trained on.
      best_loss: the lowest validation loss.
      best_step: the step at which it was reached.
      validations_without_gain: since then.
      train_seconds: wall time in the loop, compilation and validation included, over all starts.
        Of seeds trained together each has its share, so that their sum is the wall time.
      step_seconds: the part of it spent on steps, without the first of each start (compilation).
      timed_steps: the steps of that part.
      skipped_steps: whose loss, gradient or update was not finite, up to the last log line.
      trained_on: what computed it, one after the other: `versions.arithmetic`.
      initial: the run whose parameters it started from; see `train.initial`.
    """

    data_fingerprint: str
    best_loss: float = float("inf")
    best_step: int = 0
    validations_without_gain: int = 0
    train_seconds: float = 0.0
    step_seconds: float = 0.0
    timed_steps: int = 0
    skipped_steps: int = 0
    trained_on: list[str] = dataclasses.field(default_factory=list)
    initial: dict[str, Any] | None = None


def resume(
    experiment: Experiment, checkpoints: Checkpoints, workdir: Path, say: Callable[[str], None]
) -> tuple[TrainState, Progress, list[dict[str, Any]] | None]:
    """Reads the last good checkpoint of a run, or begins one where there is none.

    Args:
      experiment: of the run.
      checkpoints: where they are looked for; damaged ones are moved away.
      workdir: of the run, which receives them in `damaged/`.
      say: is told of each.

    Returns:
      What `load_checkpoint` returns.

    Raises:
      UserError: there were checkpoints, or metrics, and no checkpoint is good.
    """
    steps = checkpoints.steps()
    for step in steps:
        try:
            checkpoints.verify(step)
            _check_same_run(
                checkpoints.progress(step), checkpoints.directory / str(step), experiment
            )
        except DamagedError as error:
            say(f"{error}; kept aside as {checkpoints.set_aside(step, workdir)}")
    for step in reversed(checkpoints.steps()):
        try:
            state, progress, rows = load_checkpoint(experiment, checkpoints, step)
        except DamagedError as error:
            say(f"{error}; kept aside as {checkpoints.set_aside(step, workdir)}")
            continue
        if progress.best_step not in (0, *checkpoints.steps()):
            lost, progress.best_step = progress.best_step, checkpoints.best_step() or 0
            now = "none until the next validation"
            progress.best_loss = math.inf
            if progress.best_step:
                progress.best_loss = checkpoints.loss(progress.best_step)
                now = f"of the others that of step {progress.best_step}"
            say(f"The best checkpoint, of step {lost}, is lost; the best is now {now}")
        if step < experiment.total_steps:
            _note_arithmetic(progress, step, say)
        return state, progress, rows
    metrics = workdir / "metrics.jsonl"
    if steps or distributed.from_main(lambda: metrics.exists() and metrics.stat().st_size > 0):
        kept = f" (damaged ones are in {workdir / DAMAGED})" if steps else ""
        raise UserError(
            f"{workdir} holds a run, but {checkpoints.directory} no good checkpoint{kept}; put one "
            "back from a copy, or train from the start in another --workdir"
        )
    state, initial = start(experiment, workdir)
    if initial is not None:
        say(f"Starts from {initial['workdir']}, step {initial['step']}")
    fingerprint = experiment.splits.fingerprint()
    return state, Progress(fingerprint, trained_on=[arithmetic()], initial=initial), []


def _note_arithmetic(progress: Progress, step: int, say: Callable[[str], None]) -> None:
    """Notes what computes from here on; says so where sums are rounded differently there."""
    now = arithmetic()
    until = (progress.trained_on or [NOT_RECORDED]) if step else [now]
    if until[-1] != now:
        if until[-1] != NOT_RECORDED:
            say(
                f"Warning: up to step {step} it was trained on {until[-1]}, and goes on on {now}: "
                "sums are rounded differently there, so the numbers will not be those of an "
                "undisturbed run. For those continue it where it was (docs/reliability.md: "
                "Determinism)"
            )
        until = [*until, now]
    progress.trained_on = until


def load_checkpoint(
    experiment: Experiment, checkpoints: Checkpoints, step: int
) -> tuple[TrainState, Progress, list[dict[str, Any]] | None]:
    """Reads a checkpoint of an experiment.

    Returns:
      The state, the loop's record, and the rows of the metrics file until then; None in place of
      these where the checkpoint is of version 1.

    Raises:
      DamagedError: it cannot be read, or is another run's.
      UserError: it was trained on other data.
    """
    like = experiment.abstract_state()
    if checkpoints.version(step) == 1:
        state, saved = checkpoints.restore(step, _version_1(like))
        state = TrainState(
            **state | {"sums": experiment.zero_sums() | state["sums"]},
            skipped_in_a_row=experiment.on_mesh(np.zeros((), np.int32)),
        )
    else:
        state, saved = checkpoints.restore(step, like)
    folder = checkpoints.directory / str(step)
    if int(state.step) != step:
        raise DamagedError(f"the checkpoint {folder} is of step {int(state.step)}")
    _check_same_run(saved, folder, experiment)
    rows = saved.pop("rows", None)
    saved.pop("config", None)
    progress = Progress(**saved)
    check_same_data(progress, experiment)
    return state, progress, rows


def _check_same_run(saved: dict[str, Any], folder: Path, experiment: Experiment) -> None:
    """Raises a `DamagedError` where the dict of a checkpoint names another configuration.

    One of fewer training pairs is that of the same run before it was lengthened.
    """
    if (own := saved.get("config")) is not None:
        before = configuration.from_json(own, folder)
        other = configuration.differences(before, experiment.config)
        if other and not configuration.lengthens(before, experiment.config):
            raise DamagedError(f"the checkpoint {folder} is of another run ({'; '.join(other)})")


def _version_1(like: TrainState) -> dict[str, Any]:
    """The structure that checkpoints had before steps could be skipped."""
    sums = {name: value for name, value in like.sums.items() if name != "skipped_steps"}
    return {"step": like.step, "params": like.params, "opt_state": like.opt_state, "sums": sums}


def check_same_data(progress: Progress, experiment: Experiment) -> None:
    """Raises a `UserError` where a checkpoint's run saw other data than `experiment` holds."""
    now = experiment.splits.fingerprint()
    if progress.data_fingerprint != now:
        raise UserError(
            f"the run was trained on other data than {experiment.splits.origin} (fingerprint "
            f"{progress.data_fingerprint}, now {now}); give it its own data with "
            "--config.data.directory=… or TFDS_DATA_DIR, or train in another --workdir"
        )
