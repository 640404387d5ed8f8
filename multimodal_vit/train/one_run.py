"""One run of a training program: its logs, validations, checkpoints and early stopping."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from multimodal_vit import distributed, evaluate
from multimodal_vit.errors import DivergedError
from multimodal_vit.files import HeldFolder, replacing
from multimodal_vit.suites import Suite
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.predictor import Predictor
from multimodal_vit.train.resume import Progress
from multimodal_vit.train.state import TrainState, mean_metrics
from multimodal_vit.train.step import MOST_SKIPPED_IN_A_ROW
from multimodal_vit.train.writer import MetricWriter

EQUAL_LOSSES = 5  # log lines of exactly the same loss, after which something is wrong
LONGEST_WARMUP = 0.2  # of a run, beyond which a warning says so
BAD_BATCH = "bad_batch.npz"
_WAY_OUT = (
    "Start again in another --workdir with a lower --config.train.learning_rate or a "
    "--config.train.gradient_clip"
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended.

    Attributes:
      finished: False where it was asked to stop before; starting again continues.
      step: the updates made in all.
      progress: the loop's own record.
      error: why it cannot be finished, where it diverged.
    """

    finished: bool
    step: int
    progress: Progress
    error: DivergedError | None = None


class OneRun:
    """A run of a call of `train_seeds`; the loop tells it what the device has done."""

    predict: Predictor
    suites: dict[str, Suite]

    def __init__(
        self,
        experiment: Experiment,
        checkpoints: Checkpoints,
        writer: MetricWriter,
        say: Callable[[str], None],
        progress: Progress,
        workdir: Path,
        step: int,
    ) -> None:
        self.experiment = experiment
        self.settings = experiment.config.train
        self.checkpoints = checkpoints
        self.writer = writer
        self.say = say
        self.progress = progress
        self.workdir = workdir
        self.folder = HeldFolder(workdir)
        self.step = step  # that the dispatches so far lead to
        self.on_validation: Callable[[int, dict[str, Any]], None] = lambda step, values: None
        self.error: DivergedError | None = None
        self.last_loss: float | None = None
        self.warned: set[str] = set()

    def is_over(self) -> bool:
        """Whether no more steps are to be made: all are, or it stopped early, or it diverged."""
        finished = self.step >= self.experiment.total_steps or self._patience_is_over()
        return finished or self.error is not None

    def outcome(self) -> Outcome:
        """How it ended, or that it can go on."""
        finished = self.is_over() and self.error is None
        return Outcome(finished, self.step, self.progress, self.error)

    def log(self, step: int, token: jax.Array, sums: dict[str, jax.Array] | None) -> None:
        """Looks at how a dispatch ended, and writes the log line that is due."""
        self.folder.check()
        reached, skipped_in_a_row = token
        if skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            self._give_up(int(reached))
        if sums is not None:
            values = mean_metrics(sums)
            self.writer.write("train", step, self.experiment.samples_seen(step), values)
            self.last_loss = values["loss"]
            self._look_at(step, values)

    def validate(self, state: TrainState) -> None:
        """Measures the validation loss, notes whether it is the best, and saves a checkpoint."""
        step = self.step
        variables = self.predict.fitted(state.variables)
        values = evaluate.metrics(self.predict(variables, "validation"))
        self._check_finite(values["loss"], f"validation loss at step {step}")
        for name, suite in self.suites.items() if self.experiment.objective.answers else ():
            answers = self.predict(variables, "validation", name)
            for ending, value in evaluate.suite_curve(suite, answers).items():
                values[f"suites.{name}{ending}"] = value
        samples = self.experiment.samples_seen(step)
        self.writer.write("validation", step, samples, values)
        best = self.experiment.objective.best
        judged = -float(step) if best is None else values[best]  # without a metric: the last
        gained = bool(distributed.agree([judged < self.progress.best_loss])[0])
        if gained:
            self.progress.best_loss, self.progress.best_step = judged, step
            self.progress.validations_without_gain = 0
        else:
            self.progress.validations_without_gain += 1
        self.save(state, judged)
        self._warn_of_chance(step, values)
        self.on_validation(step, values)
        self.say(
            f"{samples:>9,} samples: validation loss {values['loss']:.4f}"
            f"{' (best)' if gained else ''}, {evaluate.in_words(values)}"
        )
        if self._patience_is_over():
            self.say(
                f"Stopped after {self.progress.validations_without_gain} validations without a "
                f"lower loss, at step {step}."
            )

    def save(self, state: TrainState, loss: float | None = None) -> None:
        """Begins to save a checkpoint; the metrics of all its steps are written already."""
        self.folder.check()
        beside = {"rows": list(self.writer.rows), "config": self.experiment.config.to_dict()}
        progress = dataclasses.asdict(self.progress)
        self.checkpoints.save(self.step, state, progress | beside, loss)

    def look_at_warmup(self) -> None:
        """Says where the learning rate rises for a large part of the run; before its first step."""
        warmup, total = self.settings.warmup_steps, self.experiment.total_steps
        if self.step == 0 and warmup > LONGEST_WARMUP * total:
            self._warn(
                "warm-up",
                f"the learning rate rises over {warmup} of {total} steps (train.warmup_steps), "
                f"more than {LONGEST_WARMUP:.0%} of the run: little is left to learn in. Take "
                f"--config.train.warmup_steps={max(1, total // 10)}, or a longer run.",
            )

    def _look_at(self, step: int, values: dict[str, Any]) -> None:
        """Says what is suspicious in a log line."""
        if values["skipped_steps"]:
            self.progress.skipped_steps += values["skipped_steps"]
            self.say(
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
        if not self.experiment.objective.answers:
            return
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
            self.say(f"Warning: {text}")

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

    def _patience_is_over(self) -> bool:
        patience = self.settings.patience
        return 0 < patience <= self.progress.validations_without_gain
