"""Runs a study to the end, whatever interrupts it, and writes its results as one tidy table.

Every run is an ordinary run in `runs/<condition>/seed_<seed>` of the study's workdir, so a finished
one is never computed again, an interrupted one continues, and more seeds or conditions add what is
missing. Any number of processes may work on one study: each takes the runs that nobody holds.
"""

import contextlib
import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from multimodal_vit.config import data_arguments
from multimodal_vit.data import Splits, load_splits
from multimodal_vit.errors import is_out_of_memory
from multimodal_vit.files import replacing
from multimodal_vit.mending import mend
from multimodal_vit.run import finished, run_seeds
from multimodal_vit.study.definition import StudyRun, runs_of
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.flop import flop_per_example
from multimodal_vit.train.progress import Display

TABLE = "results.csv"
SECONDS_BETWEEN_LOOKS = 2.0  # at runs that other processes hold


def load_data(configs: Iterable[ConfigDict]) -> Callable[[ConfigDict], Splits]:
    """Reads the data of some experiments, each set once; returns a function that looks it up.

    Raises:
      UserError: data that is missing or damaged.
    """
    loaded: dict[tuple[Any, ...], Splits] = {}
    for config in configs:
        if (key := data_arguments(config)) not in loaded:
            loaded[key] = load_splits(*key)
    return lambda config: loaded[data_arguments(config)]


class StudyDisplay:
    """What is told of a study while it runs; this one shows nothing."""

    def line(self, text: str) -> None:
        """Is told what deserves a line."""

    def begin(self, runs: Sequence[StudyRun], flop: Mapping[str, float]) -> None:
        """Is told all runs and, by condition, the floating-point operations of a whole run."""

    def starts(self, which: StudyRun, *others: StudyRun) -> Display:
        """Is told that a run starts here, with others of its condition; returns its display."""
        return Display()

    def ended(self, which: StudyRun, results: dict[str, Any]) -> None:
        """Is told of a run that is finished, here, elsewhere or earlier."""

    def failed(self, which: StudyRun, reason: str) -> None:
        """Is told of a run that cannot be finished."""

    def elsewhere(self, which: StudyRun) -> None:
        """Is told of a run that another process holds."""

    def waits(self) -> None:
        """Is told that all that is left is with other processes."""


class Plan:
    """The runs of a study with their data.

    Args:
      config: valid.
      workdir: the study's folder.

    Attributes:
      config: the study's.
      workdir: its folder.
      runs: all of them, in the order in which they are begun.

    Raises:
      UserError: data that is missing or damaged.
    """

    def __init__(self, config: ConfigDict, workdir: Path) -> None:
        self.config, self.workdir = config, workdir
        self.runs = runs_of(config, workdir)
        self._splits_of = load_data(which.config for which in self.runs)

    def experiment(self, which: StudyRun) -> Experiment:
        """A run's experiment."""
        return Experiment.create(which.config, self._splits_of(which.config))

    def check(self, display: StudyDisplay) -> None:
        """Checks the folders of all runs, and makes anew what is damaged of finished ones.

        Raises:
          UserError: a folder holds another configuration's run.
        """
        for which in self.runs:
            which.workdir.check(which.config)
            mend(which.workdir, display.line)

    def flop(self) -> dict[str, float]:
        """By condition, the floating-point operations of a run; of a finished one where one is."""
        known: dict[str, float] = {}
        for which in self.runs:
            results = which.workdir.results()
            if results is not None and "pflop" in results:
                known.setdefault(which.condition, results["pflop"] * 1e15)
        found: dict[str, float] = {}
        for which in self.runs:
            if which.condition in known:
                found[which.condition] = known[which.condition]
            elif which.condition not in found:
                experiment = self.experiment(which)
                samples = experiment.samples_seen(experiment.total_steps)
                found[which.condition] = flop_per_example(experiment) * samples
        return found


def run_all(
    config: ConfigDict,
    workdir: Path,
    display: StudyDisplay | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, str] | None:
    """Runs what is missing of a study; see `Plan`, its `check` and `complete`."""
    display = display or StudyDisplay()
    plan = Plan(config, workdir)
    plan.check(display)
    display.begin(plan.runs, plan.flop())
    return complete(plan, display, should_stop)


def complete(
    plan: Plan, display: StudyDisplay, should_stop: Callable[[], bool]
) -> dict[str, str] | None:
    """Runs what is missing of a study that was checked.

    Args:
      plan: of the study.
      display: is told what happens.
      should_stop: asked often; True saves the run that is under way and returns.

    Returns:
      Why runs failed (they diverged, or the device had too little memory), by their folder in the
      study's; None where it was stopped before the end. A failed run is not tried again.

    Raises:
      UserError: data that is not what a finished run saw.
    """

    def train(group: Sequence[StudyRun]) -> None:
        experiments = [plan.experiment(which) for which in group]
        folders = [which.workdir for which in group]
        try:
            found = run_seeds(experiments, folders, display.starts(*group), should_stop)
            for folder, (outcome, _) in zip(folders, found, strict=True):
                if outcome.error is not None:
                    folder.save_failure(str(outcome.error).partition(";")[0])
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            for folder in folders:
                folder.save_failure("out of memory on the device")
        jax.clear_caches()  # each run compiles its own programs; free this one's

    left, failed = plan.runs, {}
    while left:
        busy = []
        for which in left:
            if should_stop():
                return None
            if not which.workdir.is_over() and (before := which.starts_from) is not None:
                if before.failure() is not None:
                    reason = f"the run of {before.path.parent.name} that it starts from failed"
                    failed[str(which.workdir.path.relative_to(plan.workdir))] = reason
                    display.failed(which, reason)
                    continue
                if not before.is_over():
                    busy.append(which)  # another process trains it
                    continue
            if not which.workdir.is_over():
                with which.workdir.locked() as free:
                    if not free:
                        busy.append(which)
                        display.elsewhere(which)
                        continue
                    if not which.workdir.is_over():  # nor has it ended elsewhere just now
                        with contextlib.ExitStack() as stack:
                            others = left if plan.config.seeds_together else ()
                            train([which, *_free_seeds(which, others, stack)])
            if (reason := which.workdir.failure()) is not None:
                failed[str(which.workdir.path.relative_to(plan.workdir))] = reason
                display.failed(which, reason)
            elif (results := finished(plan.experiment(which), which.workdir)) is not None:
                display.ended(which, results)
            else:
                return None  # it was stopped
        if len(busy) == len(left):
            display.waits()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        left = busy
    return failed


def _free_seeds(
    which: StudyRun, left: Sequence[StudyRun], stack: contextlib.ExitStack
) -> Iterator[StudyRun]:
    """Other seeds of a run's condition that are not over and that nobody holds; locks them."""
    for other in left:
        if other is not which and other.condition == which.condition:
            before = other.starts_from
            if before is not None and not before.is_over():
                continue
            free = not other.workdir.is_over() and stack.enter_context(other.workdir.locked())
            if free and not other.workdir.is_over():
                yield other


def write_table(runs: Sequence[StudyRun], path: Path) -> None:
    """Writes the results of the finished runs as CSV, one row for each run and metric.

    The columns are condition, seed, metric and value; a metric is named by its place in
    `results.json`, such as `test.match_accuracy`.
    """
    with replacing(path, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("condition", "seed", "metric", "value"))
        for which in runs:
            for metric, value in _numbers(which.workdir.results() or {}):
                writer.writerow((which.condition, which.config.seed, metric, repr(value)))


def _numbers(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, int | float]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and prefix + name != "seed":
            yield prefix + name, int(value) if isinstance(value, bool) else value
