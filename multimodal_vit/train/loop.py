"""The training loop: dispatch steps, log, validate, checkpoint, stop.

It trains one run, or several seeds as one program (`seeds`).

The host only counts and writes. While it reads the metrics of one stretch of steps, the device
already runs the next. How many steps a dispatch holds depends on how long a step takes; what is
computed and written does not.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from multimodal_vit import distributed
from multimodal_vit.errors import DivergedError
from multimodal_vit.suites import choose_suites
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.one_run import OneRun, Outcome
from multimodal_vit.train.predictor import Predictor
from multimodal_vit.train.progress import Display, duration, end_time
from multimodal_vit.train.resume import resume
from multimodal_vit.train.seeds import program
from multimodal_vit.train.state import TrainState
from multimodal_vit.train.writer import MetricWriter, OnRow

SECONDS_PER_DISPATCH = 1.0  # so that a signal or a person need not wait long
SECONDS_BEFORE_FORECAST = 2.0  # of steps: a single one tells little
SLOW_RUN_SECONDS = 3600.0  # beyond this a CPU run names the preset for two cores


def train(
    experiment: Experiment,
    workdir: Path,
    display: Display | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_validation: Callable[[int, dict[str, Any]], None] = lambda step, values: None,
    slow_hint: str = "",
    on_row: OnRow | None = None,
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
      on_row: given each row that this call adds to `metrics.jsonl`, and its "seed"; for a tracker.

    Raises:
      DivergedError: the validation loss, or the loss or gradient of `MOST_SKIPPED_IN_A_ROW` steps,
        is not finite.
      UserError: no checkpoint is good, or it was trained on other data; or the disk is full.
    """
    (outcome,) = train_seeds(
        [experiment], [workdir], display, should_stop, on_validation, slow_hint, on_row
    )
    if outcome.error is not None:
        raise outcome.error
    return outcome


def train_seeds(
    experiments: Sequence[Experiment],
    workdirs: Sequence[Path],
    display: Display | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_validation: Callable[[int, dict[str, Any]], None] = lambda step, values: None,
    slow_hint: str = "",
    on_row: OnRow | None = None,
) -> list[Outcome]:
    """Trains runs that differ in their seed alone as one program; each as `train` would alone.

    Each has its own folder, logs, validations, early stopping and checkpoints. One that is over
    stays as it is while the others go on; those that are behind, after a kill, catch up first.

    Args:
      experiments: see `Experiment.with_seed`.
      workdirs: of each.
      display: see `train`, as are the others.
      should_stop: asked between dispatches.
      on_validation: told of every run's validations.
      slow_hint: said once.
      on_row: given the rows of every run.

    Returns:
      How each ended; one that diverged does not end the others.

    Raises:
      UserError: as `train`.
    """
    display = display or Display()
    with contextlib.ExitStack() as stack:
        runs, states = [], []
        for experiment, workdir in zip(experiments, workdirs, strict=True):
            name = f"seed {experiment.config.seed}: " if len(experiments) > 1 else ""
            checkpoints = Checkpoints(workdir / "checkpoints")
            stack.callback(checkpoints.close)

            def say(text: str, name: str = name) -> None:
                display.line(name + text)

            state, progress, rows = resume(experiment, checkpoints, workdir, say)
            step = int(state.step)
            writer = MetricWriter(workdir, step, rows, say, on_row, experiment.config.seed)
            stack.enter_context(writer)
            run = OneRun(experiment, checkpoints, writer, say, progress, workdir, step)
            stack.callback(run.folder.close)
            run.on_validation = on_validation
            runs.append(run)
            states.append(state)
        stack.enter_context(display)
        batch_size = experiments[0].config.train.batch_size * len(runs)
        display.begin(experiments[0].total_steps, batch_size, min(run.step for run in runs))
        runs[0].look_at_warmup()
        for run, state in zip(runs, states, strict=True):
            if not run.checkpoints.steps():  # from now on a run without any has lost them
                run.save(state)
                run.checkpoints.wait()
        return _Loop(runs, display, slow_hint).run(states, should_stop)


class _Loop:
    """The steps of one call of `train_seeds`: what its runs have in common."""

    def __init__(self, runs: Sequence[OneRun], display: Display, slow_hint: str) -> None:
        self.runs = runs
        self.experiment = runs[0].experiment
        self.settings = self.experiment.config.train
        self.display = display
        self.slow_hint = slow_hint
        names = self.experiment.config.evaluation.suites_in_training
        suites = choose_suites(names, self.experiment.task)
        predict = Predictor(self.experiment, suites)
        for run in runs:
            run.suites, run.predict = suites, predict
        self.program = program([run.experiment for run in runs])
        self.counted_until = self.timed_until = time.monotonic()
        self.compile_seconds: float | None = None
        self.timed_seconds = 0.0
        self.said_when_it_ends = False
        self.seconds_per_step: float | None = None
        self.slowest = 0.0  # process's seconds per step, once known
        self.wishes = np.zeros(3)  # to stop, to save, seconds per step: of all processes
        self.saved_at = self.timed_until
        # Dispatches that the device may still be computing: the step each ends at, the number of
        # steps, the runs that make them, tokens that are ready when it has ended, and the metric
        # sums where a log line is due.
        self.in_flight: deque[tuple[int, int, list[OneRun], jax.Array, Any]] = deque()
        self._show_best()

    def run(self, states: list[TrainState], should_stop: Callable[[], bool]) -> list[Outcome]:
        experiment, settings, program = self.experiment, self.settings, self.program
        data = experiment.train_data()
        state = program.join(states)
        states.clear()  # the program consumes them
        epoch, number = None, None
        while going := [run for run in self.runs if not run.is_over()]:
            step = min(run.step for run in going)
            active = [run for run in going if run.step == step]
            ahead = min((run.step for run in going if run.step > step), default=math.inf)
            moves = [run in active for run in self.runs]
            if number != step // experiment.steps_per_epoch:
                number = step // experiment.steps_per_epoch
                epoch = program.epoch(number)
            epoch_end = (number + 1) * experiment.steps_per_epoch
            next_log = (step // settings.log_every_steps + 1) * settings.log_every_steps
            next_validation = self._next_validation(step)
            stops = next_log, epoch_end, ahead, next_validation
            num_steps = min(self._steps_per_dispatch(), min(stops) - step)
            state, token = program.steps(state, data, epoch, num_steps, moves)
            step += num_steps
            for run in active:
                run.step = step
            closing = None
            if step == next_log or step == experiment.total_steps:
                closing, state = program.take_sums(state, moves)
            self.in_flight.append((step, num_steps, active, token, closing))
            # One dispatch waits while one runs; until the speed is known, none waits.
            self._see_off(leave=0 if self.seconds_per_step is None else 1)
            validating = step == next_validation
            stopping, saving = self._agree(should_stop())
            if validating or stopping or saving:
                self._see_off(leave=0)
                self._count_time(going)
                for i, run in enumerate(self.runs):
                    if run in going and run.error is None:
                        if validating and run in active:
                            self._try(run, run.validate, program.of(state, i))
                            self._count_time(going)
                        else:
                            run.save(program.of(state, i))
                self._show_best()
                self.saved_at = self.timed_until = time.monotonic()
                self.wishes = np.array([0, 0, self.slowest])  # older ones to save are fulfilled
            if stopping:
                break
        self._see_off(leave=0)
        return [run.outcome() for run in self.runs]

    def _next_validation(self, step: int) -> int:
        """The step of the first validation after one; the last step has one."""
        every = self.settings.steps_per_validation
        if not every:
            every = self.experiment.steps_per_epoch * self.settings.epochs_per_validation
        return min((step // every + 1) * every, self.experiment.total_steps)

    def _try(self, run: OneRun, what: Callable[..., None], *arguments: Any) -> None:
        """Does what may end a run, but not the others."""
        try:
            what(*arguments)
        except DivergedError as error:
            run.error = error

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
            step, num_steps, active, tokens, sums = self.in_flight.popleft()
            tokens, sums = jax.device_get((tokens, sums))
            now = time.monotonic()
            seconds, self.timed_until = now - self.timed_until, now
            if self.compile_seconds is None:  # the first one compiles
                self.compile_seconds = seconds
            else:
                self.seconds_per_step = seconds / num_steps
                self.timed_seconds += seconds
                if not self.said_when_it_ends and self.timed_seconds >= SECONDS_BEFORE_FORECAST:
                    self._say_when_it_ends(step)
            losses = []
            for i, run in enumerate(self.runs):
                if run not in active or run.error is not None:
                    continue
                if self.seconds_per_step is not None:
                    run.progress.step_seconds += seconds / len(active)
                    run.progress.timed_steps += num_steps
                token, own = self.program.of((tokens, sums), i)
                self._try(run, run.log, step, token, own)
                losses.append(run.last_loss)
            if self.seconds_per_step is not None:
                known = [loss for loss in losses if loss is not None]
                loss = sum(known) / len(known) if sums is not None and known else None
                self.display.update(step, loss, self.seconds_per_step)

    def _count_time(self, going: Sequence[OneRun]) -> None:
        """Adds the time since the last call to the runs it was spent on, to each its share."""
        now = time.monotonic()
        for run in going:
            run.progress.train_seconds += (now - self.counted_until) / len(going)
        self.counted_until = now

    def _say_when_it_ends(self, step: int) -> None:
        self.said_when_it_ends = True
        left = (self.experiment.total_steps - step) * self.seconds_per_step
        rate = len(self.runs) * self.settings.batch_size / self.seconds_per_step
        self.display.line(
            f"First step {self.compile_seconds:.0f} s (compilation), then "
            f"{rate:,.0f} examples/s: about "
            f"{duration(left)} for {self.experiment.total_steps} steps, until {end_time(left)}, "
            "unless it stops early."
        )
        if self.slow_hint and left > SLOW_RUN_SECONDS and jax.default_backend() == "cpu":
            self.display.line(self.slow_hint)

    def _show_best(self) -> None:
        known = [run.progress for run in self.runs if run.progress.best_step]
        if len(self.runs) > 1 and known:
            losses = " ".join(f"{progress.best_loss:.4f}" for progress in known)
            self.display.best = f"best validation losses {losses}"
        elif known:
            self.display.best = (
                f"best validation loss {known[0].best_loss:.4f} at step {known[0].best_step}"
            )
