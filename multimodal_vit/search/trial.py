"""A trial that a worker holds: its seeds, one after the other, and how it ended."""

import contextlib
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optuna
from ml_collections import ConfigDict
from optuna.trial import TrialState

from multimodal_vit import config as configuration
from multimodal_vit.data import Splits, load_splits
from multimodal_vit.errors import DivergedError, is_out_of_memory
from multimodal_vit.foils import level
from multimodal_vit.mending import mend
from multimodal_vit.run import finished, run
from multimodal_vit.search import storage as storage_lib
from multimodal_vit.search.definition import Condition
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.progress import Display
from multimodal_vit.workdir import Workdir

_splits = functools.cache(load_splits)


class TrialDisplay:
    """What is told of a trial; this one shows nothing."""

    def line(self, text: str) -> None:
        """Is told what deserves a line."""

    def begin_run(self, name: str) -> Display:
        """What shows the run that begins."""
        return Display()


@dataclasses.dataclass(frozen=True)
class Taken:
    """A trial that this worker holds.

    Attributes:
      condition: the trial's.
      study: the condition's.
      trial: Optuna's handle of it.
      config: its experiment.
      search: the configuration of the search.
      folder: where its seeds lie.
      lock: closed to set the trial free.
    """

    condition: Condition
    study: optuna.Study
    trial: optuna.Trial
    config: ConfigDict
    search: ConfigDict
    folder: Path
    lock: contextlib.ExitStack

    @property
    def title(self) -> str:
        """The condition and the number."""
        return f"{self.condition.name}, trial {self.trial.number}"

    def run(self, display: TrialDisplay, should_stop: Callable[[], bool]) -> None:
        """Runs the seeds that are missing and tells the study how the trial ended.

        Where it is asked to stop, the trial stays open for the next worker, and the stop does not
        count among the attempts.
        """
        trial, study = self.trial, self.study
        validations: list[dict[str, Any]] = []
        try:
            for place in range(self.search.num_seeds):
                results = self._run_seed(place, display, should_stop)
                if results is None:
                    self._leave()
                    return
                validations.append(results["validation"])
                for metric in {"match_accuracy", "class_accuracy"} & validations[0].keys():
                    trial.set_user_attr(metric, [values[metric] for values in validations])
                for name, values in beside(validations).items():
                    trial.set_user_attr(name, values)
        except KeyboardInterrupt:
            self._leave()
            raise
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            display.line(f"{self.title} pruned: below the median of the trials so far")
            return
        except DivergedError as error:
            reason = f"seed {self.config.seed + len(validations)}: {error}".partition(";")[0]
            fail(study, trial, reason)
            display.line(f"{self.title} failed: {reason}")
            return
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            fail(study, trial, "out of memory on the device")
            display.line(f"{self.title} failed: out of memory on the device")
            return
        accuracies = [values["match_accuracy"] for values in validations]
        mean = statistics.fmean(accuracies)
        study.tell(trial, mean)
        spread = f" ± {statistics.stdev(accuracies):.2%}" if len(accuracies) > 1 else ""
        display.line(
            f"{self.title} done: validation true/false {mean:.2%}{spread} "
            f"({len(accuracies)} seeds); best so far {study.best_value:.2%}, trial "
            f"{study.best_trial.number}"
        )

    def _run_seed(
        self, place: int, display: TrialDisplay, should_stop: Callable[[], bool]
    ) -> dict[str, Any] | None:
        """The results of one seed, computed unless they are there; None where it was stopped."""
        trial = self.trial
        seed = self.config.seed + place
        folder = self.folder / f"seed_{seed}"
        workdir = Workdir(folder)
        experiment = Experiment.create(
            configuration.changed(self.config, {"seed": seed}), data_of(self.config)
        )
        mend(workdir, display.line)
        if (results := finished(experiment, workdir)) is not None:
            return results
        if should_stop():
            return None
        name = f"{self.title}, seed {place + 1} of {self.search.num_seeds}"
        before, began = trial.user_attrs.get("hours", 0.0), time.monotonic()

        def count_hours() -> None:
            seconds = time.monotonic() - began
            trial.set_user_attr("hours", before + seconds * jax.device_count() / 3600)

        def on_validation(step: int, values: dict[str, Any]) -> None:
            # Training goes on while the database is away; only the end of a run must be told.
            with contextlib.suppress(*storage_lib.ERRORS):
                count_hours()
                report(step, values)

        def report(step: int, values: dict[str, Any]) -> None:
            if place == 0 and self.search.pruner != "none":
                frozen = self.study.get_trials(deepcopy=False)[trial.number]
                if step not in frozen.intermediate_values:  # a lost worker may have reported it
                    trial.report(values["match_accuracy"], step)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            _, results = run(
                experiment, workdir, display.begin_run(name), should_stop, on_validation, test=False
            )
        finally:
            count_hours()
        return results

    def _leave(self) -> None:
        self.trial.set_user_attr("attempts", self.trial.user_attrs["attempts"] - 1)


def fail(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """Tells a study that a trial has no outcome, and why."""
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.FAIL)


def beside(validations: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """What the accuracies of a trial's seeds must be read beside, by name.

    "chance": of always giving the commoner answer; "above_chance": whether the accuracy's interval
    lies above it; "order_auroc", and "reads_order", by `foils.level`: of order foils.
    """
    order = "suites.order_foil.auroc"
    found = {
        "chance": [values["chance"]["match_accuracy"] for values in validations],
        "above_chance": [
            values["intervals"]["match_accuracy"][0] > values["chance"]["match_accuracy"]
            for values in validations
        ],
    }
    if all(order in values for values in validations):
        found["order_auroc"] = [values[order] for values in validations]
        found["reads_order"] = [
            level(values[order], [values[f"{order}_low"], 1.0]) == "yes" for values in validations
        ]
    return found


def data_of(config: ConfigDict) -> Splits:
    """The data of an experiment, read once."""
    return _splits(*configuration.data_arguments(config))
