"""The training loop: dispatch steps, log, validate, checkpoint, stop.

The host only counts and writes. While it reads the metrics of one stretch of steps, the device
already runs the next. How many steps a dispatch holds depends on how long a step takes; what is
computed and written does not.
"""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from multimodal_vit import distributed, evaluate
from multimodal_vit.errors import DivergedError
from multimodal_vit.files import replacing
from multimodal_vit.suites import choose_suites
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.progress import Display, duration, end_time
from multimodal_vit.train.resume import Progress, resume
from multimodal_vit.train.step import (
    MOST_SKIPPED_IN_A_ROW,
    TrainState,
    make_train_steps,
    mean_metrics,
)
from multimodal_vit.train.writer import MetricWriter

SECONDS_PER_DISPATCH = 1.0  # so that a signal or a person need not wait long
SECONDS_BEFORE_FORECAST = 2.0  # of steps: a single one tells little
SLOW_RUN_SECONDS = 3600.0  # beyond this a CPU run names the preset for two cores
EQUAL_LOSSES = 5  # log lines of exactly the same loss, after which something is wrong
BAD_BATCH = "bad_batch.npz"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended.

    Attributes:
      finished: False where it was asked to stop before; starting again continues.
      step: the updates made in all.
      progress: the loop's own record.
    """

    finished: bool
    step: int
    progress: Progress


def train(
    experiment: Experiment,
    workdir: Path,
    display: Display | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_validation: Callable[[int, dict[str, Any]], None] = lambda step, values: None,
    slow_hint: str = "",
) -> Outcome:
    """Trains until the budget is spent or the validation loss no longer falls.

    Continues from the latest checkpoint in `workdir`, where there is one, to the same numbers that
    an undisturbed run gives. A damaged checkpoint is set aside, in `damaged/`, and the last good
    one taken; so is a damaged metrics file, which is written anew.

    Args:
      experiment: what to train.
      workdir: an existing folder; receives `metrics.jsonl`, `tensorboard/` and `checkpoints/`.
      display: where progress is shown; by default nowhere.
      should_stop: asked between dispatches; True saves a checkpoint and returns.
      on_validation: told the step and the metrics of every validation of this call.
      slow_hint: said once where a CPU run would take longer than an hour.

    Raises:
      DivergedError: the validation loss, or the loss or gradient of `MOST_SKIPPED_IN_A_ROW` steps,
        is not finite.
      UserError: no checkpoint is good, or it was trained on other data; or the disk is full.
    """
    display = display or Display()
    checkpoints = Checkpoints(workdir / "checkpoints")
    try:
        state, progress, rows = resume(experiment, checkpoints, workdir, display.line)
        step = int(state.step)
        with MetricWriter(workdir, step, rows, display.line) as writer, display:
            display.begin(experiment.total_steps, experiment.config.train.batch_size, step)
            loop = _Loop(experiment, checkpoints, writer, display, progress, slow_hint, workdir)
            loop.on_validation = on_validation
            if not checkpoints.steps():  # from now on a run without any has lost them
                loop.save(step, state)
                checkpoints.wait()
            return loop.run(state, step, should_stop)
    finally:
        checkpoints.close()


_WAY_OUT = (
    "Start again in another --workdir with a lower --config.train.learning_rate or a "
    "--config.train.gradient_clip"
)


class _Loop:
    """The state of one call of `train`."""

    def __init__(
        self,
        experiment: Experiment,
        checkpoints: Checkpoints,
        writer: MetricWriter,
        display: Display,
        progress: Progress,
        slow_hint: str,
        workdir: Path,
    ) -> None:
        self.experiment = experiment
        self.settings = experiment.config.train
        self.checkpoints = checkpoints
        self.writer = writer
        self.display = display
        self.progress = progress
        self.slow_hint = slow_hint
        self.workdir = workdir
        self.on_validation: Callable[[int, dict[str, Any]], None] = lambda step, values: None
        names = experiment.config.evaluation.suites_in_training
        self.suites = choose_suites(names, experiment.task)
        self.predict = experiment.predictor(self.suites)
        self.train_steps = make_train_steps(experiment.train_step())
        self.seconds_before = progress.train_seconds
        self.began = self.timed_until = time.monotonic()
        self.timed_step: int | None = None  # of the last dispatch that was seen to end
        self.compile_seconds = self.timed_seconds = 0.0
        self.said_when_it_ends = False
        self.seconds_per_step: float | None = None
        self.slowest = 0.0  # process's seconds per step, once known
        self.wishes = np.zeros(3)  # to stop, to save, seconds per step: of all processes
        self.saved_at = self.began
        self.warned: set[str] = set()
        # Dispatches that the device may still be computing: the step each ends at, a token that is
        # ready when it has ended, and the metric sums where a log line is due.
        self.in_flight: deque[tuple[int, jax.Array, dict[str, jax.Array] | None]] = deque()
        self._show_best()

    def run(self, state: TrainState, step: int, should_stop: Callable[[], bool]) -> Outcome:
        experiment, settings = self.experiment, self.settings
        data = experiment.train_data()
        order, order_epoch = None, None
        while step < experiment.total_steps and not self._patience_is_over():
            epoch = step // experiment.steps_per_epoch
            if order_epoch != epoch:
                order, order_epoch = experiment.epoch_order(epoch), epoch
            epoch_end = (epoch + 1) * experiment.steps_per_epoch
            next_log = (step // settings.log_every_steps + 1) * settings.log_every_steps
            num_steps = min(self._steps_per_dispatch(), next_log - step, epoch_end - step)
            state, token = self.train_steps(state, data, order, num_steps)
            step += num_steps
            closing = None
            if step == next_log or step == experiment.total_steps:
                closing, state = state.sums, state.replace(sums=experiment.zero_sums())
            self.in_flight.append((step, token, closing))
            # One dispatch waits while one runs; until the speed is known, none waits.
            self._see_off(leave=0 if self.seconds_per_step is None else 1)
            validating = step == epoch_end and (
                (epoch + 1) % settings.epochs_per_validation == 0 or step == experiment.total_steps
            )
            stopping, saving = self._agree(should_stop())
            if validating or stopping or saving:
                self._see_off(leave=0)
                if validating:
                    self._validate(state, step)
                else:
                    self.save(step, state)
                self.timed_until = time.monotonic()
            if stopping:
                break
        if self._patience_is_over():
            self.display.line(
                f"Stopped after {self.progress.validations_without_gain} validations without a "
                f"lower loss, at step {step}."
            )
        self._progress_now()
        finished = step >= experiment.total_steps or self._patience_is_over()
        return Outcome(finished, step, self.progress)

    def _agree(self, stop: bool) -> tuple[bool, bool]:
        """Whether to stop and whether to save; the same in all processes.

        Several processes do what they wished one dispatch before: the devices need not wait.
        """
        save = time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        before = self.wishes
        self.wishes = distributed.agree([stop, save, self.seconds_per_step or 0])
        wishes = before if distributed.several() else self.wishes
        stopping, saving, self.slowest = np.asarray(wishes).tolist()
        return bool(stopping), bool(saving)

    def _steps_per_dispatch(self) -> int:
        return max(1, int(SECONDS_PER_DISPATCH / self.slowest)) if self.slowest else 1

    def _see_off(self, leave: int) -> None:
        """Waits until no more than `leave` dispatches are in flight; times, logs, shows."""
        while len(self.in_flight) > leave:
            step, token, sums = self.in_flight.popleft()
            reached, skipped_in_a_row = jax.device_get(token)
            if skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
                self._give_up(int(reached))
            now = time.monotonic()
            seconds, self.timed_until = now - self.timed_until, now
            if self.timed_step is None:  # the first one compiles
                self.compile_seconds = seconds
            else:
                num_steps = step - self.timed_step
                self.progress.step_seconds += seconds
                self.progress.timed_steps += num_steps
                self.seconds_per_step = seconds / num_steps
                self.timed_seconds += seconds
                if not self.said_when_it_ends and self.timed_seconds >= SECONDS_BEFORE_FORECAST:
                    self._say_when_it_ends(step)
            self.timed_step = step
            loss = None
            if sums is not None:
                values = mean_metrics(jax.device_get(sums))
                self.writer.write("train", step, self.experiment.samples_seen(step), values)
                loss = values["loss"]
                self._look_at(step, values)
            if self.seconds_per_step is not None:
                self.display.update(step, loss, self.seconds_per_step)

    def _say_when_it_ends(self, step: int) -> None:
        self.said_when_it_ends = True
        left = (self.experiment.total_steps - step) * self.seconds_per_step
        self.display.line(
            f"First step {self.compile_seconds:.0f} s (compilation), then "
            f"{self.settings.batch_size / self.seconds_per_step:,.0f} examples/s: about "
            f"{duration(left)} for {self.experiment.total_steps} steps, until {end_time(left)}, "
            "unless it stops early."
        )
        if self.slow_hint and left > SLOW_RUN_SECONDS and jax.default_backend() == "cpu":
            self.display.line(self.slow_hint)

    def _validate(self, state: TrainState, step: int) -> None:
        values = evaluate.metrics(self.predict(state.variables, "validation"))
        self._check_finite(values["loss"], f"validation loss at step {step}")
        for name, suite in self.suites.items():
            answers = self.predict(state.variables, "validation", name)
            values[f"suites.{name}"] = evaluate.suite_share(suite, answers)
        samples = self.experiment.samples_seen(step)
        self.writer.write("validation", step, samples, values)
        gained = bool(distributed.agree([values["loss"] < self.progress.best_loss])[0])
        if gained:
            self.progress.best_loss, self.progress.best_step = values["loss"], step
            self.progress.validations_without_gain = 0
        else:
            self.progress.validations_without_gain += 1
        self.save(step, state, values["loss"])
        self._warn_of_chance(step, values)
        self._show_best()
        self.on_validation(step, values)
        self.display.line(
            f"{samples:>9,} samples: validation loss {values['loss']:.4f}"
            f"{' (best)' if gained else ''}, {evaluate.in_words(values)}"
        )

    def save(self, step: int, state: TrainState, loss: float | None = None) -> None:
        """Begins to save a checkpoint; the metrics of all its steps are written already."""
        beside = {"rows": list(self.writer.rows), "config": self.experiment.config.to_dict()}
        self.checkpoints.save(step, state, self._progress_now() | beside, loss)
        self.saved_at = time.monotonic()
        self.wishes = np.array([0, 0, self.slowest])  # older ones to save are fulfilled

    def _look_at(self, step: int, values: dict[str, Any]) -> None:
        """Says what is suspicious in a log line."""
        if values["skipped_steps"]:
            self.progress.skipped_steps += values["skipped_steps"]
            self.display.line(
                f"Up to step {step}, {self.progress.skipped_steps} steps were skipped: their loss "
                "or gradient was not finite."
            )
        last = [row["loss"] for row in self.writer.rows if row["split"] == "train"][-EQUAL_LOSSES:]
        if len(last) == EQUAL_LOSSES and len(set(last)) == 1 and last[0] is not None:
            self._warn(
                "constant",
                f"the training loss is exactly {last[0]:.6g} in {EQUAL_LOSSES} log lines up to "
                f"step {step}: nothing is learned. Is the learning rate "
                f"({self.settings.learning_rate:g}) too small, or the data constant?",
            )

    def _warn_of_chance(self, step: int, values: dict[str, Any]) -> None:
        name = "accuracy" if self.experiment.task.classifies else "match_accuracy"
        accuracy, chance = values[name], values["chance"][name]
        if 3 * step >= self.experiment.total_steps and values["intervals"][name][0] <= chance:
            self._warn(
                "chance",
                f"after {step} of {self.experiment.total_steps} steps the validation accuracy, "
                f"{accuracy:.2%}, cannot be told from chance, {chance:.2%}. A longer run, or "
                "another learning rate or model, may be needed.",
            )

    def _warn(self, what: str, text: str) -> None:
        if what not in self.warned:
            self.warned.add(what)
            self.display.line(f"Warning: {text}")

    def _give_up(self, step: int) -> None:
        """Saves the batch of the last step and stops."""
        path = self.workdir / BAD_BATCH
        batch = self.experiment.batch(step - 1)
        arrays = {f"input_{name}": value for name, value in batch.inputs.items()}
        for field in dataclasses.fields(batch):
            if field.name != "inputs":
                arrays[field.name] = getattr(batch, field.name)
        if distributed.is_main():
            with replacing(path, "wb") as file:
                np.savez_compressed(file, step=step - 1, **arrays)
        raise DivergedError(
            f"the loss or the gradient of {MOST_SKIPPED_IN_A_ROW} steps in a row, up to step "
            f"{step}, is not finite: training has diverged; {self._kept()}. The last batch is in "
            f"{path}. {_WAY_OUT}"
        )

    def _check_finite(self, loss: float, what: str) -> None:
        if not math.isfinite(loss):
            raise DivergedError(
                f"the {what} is {loss}: training has diverged; {self._kept()}. {_WAY_OUT}"
            )

    def _kept(self) -> str:
        best = self.progress.best_step
        return f"the best checkpoint, of step {best}, is kept" if best else "no validation yet"

    def _show_best(self) -> None:
        if self.progress.best_step:
            self.display.best = (
                f"best validation loss {self.progress.best_loss:.4f} at step "
                f"{self.progress.best_step}"
            )

    def _patience_is_over(self) -> bool:
        patience = self.settings.patience
        return 0 < patience <= self.progress.validations_without_gain

    def _progress_now(self) -> dict[str, Any]:
        self.progress.train_seconds = self.seconds_before + time.monotonic() - self.began
        return dataclasses.asdict(self.progress)
