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

from multimodal_vit import evaluate
from multimodal_vit.errors import DivergedError, UserError
from multimodal_vit.suites import choose_suites
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.progress import Display, duration, end_time
from multimodal_vit.train.step import TrainState, make_train_steps, mean_metrics
from multimodal_vit.train.writer import MetricWriter

SECONDS_PER_DISPATCH = 1.0  # so that a signal or a person need not wait long
SECONDS_BEFORE_FORECAST = 2.0  # of steps: a single one tells little
SLOW_RUN_SECONDS = 3600.0  # beyond this a CPU run names the preset for two cores


@dataclasses.dataclass
class Progress:
    """What the loop knows beside the training state; saved with every checkpoint.

    Attributes:
      data_fingerprint: of the splits that the run is trained on.
      best_loss: the lowest validation loss.
      best_step: the step at which it was reached.
      validations_without_gain: since then.
      train_seconds: wall time in the loop, compilation and validation included, over all starts.
      step_seconds: the part of it spent on steps, without the first of each start (compilation).
      timed_steps: the steps of that part.
    """

    data_fingerprint: str
    best_loss: float = float("inf")
    best_step: int = 0
    validations_without_gain: int = 0
    train_seconds: float = 0.0
    step_seconds: float = 0.0
    timed_steps: int = 0


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
    an undisturbed run gives.

    Args:
      experiment: what to train.
      workdir: an existing folder; receives `metrics.jsonl`, `tensorboard/` and `checkpoints/`.
      display: where progress is shown; by default nowhere.
      should_stop: asked between dispatches; True saves a checkpoint and returns.
      on_validation: told the step and the metrics of every validation of this call.
      slow_hint: said once where a CPU run would take longer than an hour.

    Raises:
      UserError: a checkpoint that cannot be read, or was trained on other data.
    """
    display = display or Display()
    checkpoints = Checkpoints(workdir / "checkpoints")
    try:
        state, progress = _start(experiment, checkpoints)
        step = int(state.step)
        with MetricWriter(workdir, step) as writer, display:
            display.begin(experiment.total_steps, experiment.config.train.batch_size, step)
            loop = _Loop(experiment, checkpoints, writer, display, progress, slow_hint)
            loop.on_validation = on_validation
            return loop.run(state, step, should_stop)
    finally:
        checkpoints.close()


def _start(experiment: Experiment, checkpoints: Checkpoints) -> tuple[TrainState, Progress]:
    latest = checkpoints.latest_step()
    if latest is None:
        return experiment.init_state(), Progress(experiment.splits.fingerprint())
    state, saved = checkpoints.restore(latest, experiment.abstract_state())
    progress = Progress(**saved)
    check_same_data(progress, experiment)
    return state, progress


def check_same_data(progress: Progress, experiment: Experiment) -> None:
    """Raises a `UserError` where a checkpoint's run saw other data than `experiment` holds."""
    now = experiment.splits.fingerprint()
    if progress.data_fingerprint != now:
        raise UserError(
            f"the run was trained on other data than {experiment.splits.origin} (fingerprint "
            f"{progress.data_fingerprint}, now {now}); give it its own data with "
            "--config.data.directory=… or TFDS_DATA_DIR, or train in another --workdir"
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
    ) -> None:
        self.experiment = experiment
        self.settings = experiment.config.train
        self.checkpoints = checkpoints
        self.writer = writer
        self.display = display
        self.progress = progress
        self.slow_hint = slow_hint
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
            stopping = should_stop()
            if validating or stopping:
                self._see_off(leave=0)
                if validating:
                    self._validate(state, step)
                else:
                    self.checkpoints.save(step, state, self._progress_now(), None)
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

    def _steps_per_dispatch(self) -> int:
        if self.seconds_per_step is None:
            return 1
        return max(1, int(SECONDS_PER_DISPATCH / self.seconds_per_step))

    def _see_off(self, leave: int) -> None:
        """Waits until no more than `leave` dispatches are in flight; times, logs, shows."""
        while len(self.in_flight) > leave:
            step, token, sums = self.in_flight.popleft()
            token.block_until_ready()
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
                self._check_finite(values["loss"], f"training loss before step {step}")
                self.writer.write("train", step, self.experiment.samples_seen(step), values)
                loss = values["loss"]
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
        gained = values["loss"] < self.progress.best_loss
        if gained:
            self.progress.best_loss, self.progress.best_step = values["loss"], step
            self.progress.validations_without_gain = 0
        else:
            self.progress.validations_without_gain += 1
        self.checkpoints.save(step, state, self._progress_now(), values["loss"])
        self._show_best()
        self.on_validation(step, values)
        self.display.line(
            f"{samples:>9,} samples: validation loss {values['loss']:.4f}"
            f"{' (best)' if gained else ''}, {evaluate.in_words(values)}"
        )

    def _check_finite(self, loss: float, what: str) -> None:
        if not math.isfinite(loss):
            best = self.progress.best_step
            kept = f"the best checkpoint, of step {best}, is kept" if best else "no checkpoint yet"
            raise DivergedError(
                f"the {what} is {loss}: training has diverged; {kept}. Start again in another "
                "--workdir with a lower --config.train.learning_rate or a --config.train."
                "gradient_clip"
            )

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
