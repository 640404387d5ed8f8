"""One of any number of processes that work on a search, until its budget is spent.

A worker takes over a trial whose worker is lost before it begins a new one: the same settings in
the same folder, so finished seeds stay and an interrupted one continues from its checkpoint.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import optuna
from ml_collections import ConfigDict
from optuna.trial import FrozenTrial, TrialState

from multimodal_vit import config as configuration
from multimodal_vit.errors import UserError
from multimodal_vit.search import storage as storage_lib
from multimodal_vit.search.definition import Condition, SearchDir, conditions_of
from multimodal_vit.search.sampler import make_sampler
from multimodal_vit.search.trial import Taken, TrialDisplay, data_of, fail

SECONDS_BETWEEN_LOOKS = 1.0  # at the trials of others, when nothing else is left to do
STATUS = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


def status(trial: FrozenTrial) -> str:
    """One of "done", "pruned", "failed", "running" and "skipped": an impossible combination."""
    return "skipped" if "skipped" in trial.user_attrs else STATUS[trial.state]


class SearchDisplay(TrialDisplay):
    """What a worker tells of its search; this one shows nothing."""

    def look(self, search: "Search") -> None:
        """May read how far the search is: a trial has begun or ended, here or elsewhere."""

    def waits(self) -> None:
        """Is told, once, that all that is left is with other workers."""


class Search:
    """A search as one worker sees it; build it with `Search.open`.

    Attributes:
      config: of the search.
      directory: its folder.
      studies: by condition.
    """

    def __init__(
        self,
        config: ConfigDict,
        directory: SearchDir,
        locks: storage_lib.Locks,
        studies: list[tuple[Condition, optuna.Study]],
    ) -> None:
        self.config = config
        self.directory = directory
        self.studies = studies
        self._locks = locks

    @classmethod
    @contextlib.contextmanager
    def open(cls, config: ConfigDict, directory: SearchDir) -> Iterator["Search"]:
        """Begins a search that was checked, or joins it.

        Raises:
          UserError: the data, the workdir or the storage cannot be used.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directory.check(config)
        for condition in conditions_of(config):
            data_of(condition.experiment)
        url = storage_lib.parse_url(config.storage) if config.storage else None
        with storage_lib.storage_errors(url), contextlib.ExitStack() as stack:
            if url is not None:
                storage_lib.try_connection(url)
            locks = storage_lib.Locks(url)
            stack.callback(locks.close)
            with locks.mutex(directory.path, config.name):
                mark = directory.begin(config)
                storage = storage_lib.open_storage(directory.journal, url)
                studies = [
                    (c, _open_study(config, directory, c, storage, mark))
                    for c in conditions_of(config)
                ]
            yield cls(config, directory, locks, studies)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the other workers from taking trials meanwhile."""
        with self._locks.mutex(self.directory.path, self.config.name):
            yield

    def hours(self, study: optuna.Study) -> float:
        """The accelerator hours that all workers spent on a condition."""
        return sum(t.user_attrs.get("hours", 0.0) for t in study.get_trials(deepcopy=False))

    def work(self, display: SearchDisplay, should_stop: Callable[[], bool]) -> bool:
        """Takes and runs trials until none is left, or until asked to stop.

        Where others still work on the last trials, waits: should one be lost, its trial is taken.

        Returns:
          Whether every trial of the search is over.
        """
        waiting = False
        while not should_stop():
            taken = self._take(display)
            display.look(self)
            if taken is not None:
                waiting = False
                with taken.lock:
                    taken.run(display, should_stop)
                jax.clear_caches()  # the next setting has programs of its own
            elif not any(_count(study, "running") for _, study in self.studies):
                return True
            else:
                if not waiting:
                    display.waits()
                waiting = True
                time.sleep(SECONDS_BETWEEN_LOOKS)
        return False

    def _take(self, display: SearchDisplay) -> Taken | None:
        """A lost trial, else a new one of the condition that has the fewest, else None."""
        with self.alone():
            for condition, study in self.studies:
                for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    if taken := self._adopt(condition, study, frozen, display):
                        return taken
            for condition, study in sorted(self.studies, key=lambda pair: _begun(pair[1])):
                while self._has_budget(condition, study):
                    trial = study.ask()
                    lock = self._lock(condition, study, trial.number)
                    if taken := self._prepare(condition, study, trial, lock, display):
                        return taken
        return None

    def left(self) -> int:
        """How many trials may still begin or are under way, by the number of trials."""
        return sum(
            min(self.config.num_trials, condition.num_settings)
            - _count(study, "done", "pruned", "failed")
            for condition, study in self.studies
        )

    def _has_budget(self, condition: Condition, study: optuna.Study) -> bool:
        spent = self.config.max_hours and self.hours(study) >= self.config.max_hours
        exhausted = len(study.get_trials(deepcopy=False)) >= condition.num_settings
        return not spent and not exhausted and _begun(study) < self.config.num_trials

    def _lock(
        self, condition: Condition, study: optuna.Study, number: int
    ) -> contextlib.ExitStack | None:
        """The lock of a trial, held; None where another worker holds it."""
        stack = contextlib.ExitStack()
        folder = self.directory.trial(condition, number)
        if stack.enter_context(self._locks.held(folder, f"{study.study_name}/{number}")):
            return stack
        stack.close()
        return None

    def _adopt(
        self, condition: Condition, study: optuna.Study, frozen: FrozenTrial, display: SearchDisplay
    ) -> Taken | None:
        """A running trial, where its worker is lost and it is not given up."""
        lock = self._lock(condition, study, frozen.number)
        if lock is None:
            return None
        if study.get_trials(deepcopy=False)[frozen.number].state != TrialState.RUNNING:
            lock.close()  # its worker has just finished it
            return None
        trial = optuna.Trial(study, frozen._trial_id)
        attempts = trial.user_attrs.get("attempts", 0)
        if attempts >= self.config.max_attempts:
            reason = f"given up: {attempts} workers were lost in it (max_attempts)"
            fail(study, trial, reason)
            display.line(f"{condition.name}, trial {trial.number} {reason}")
            lock.close()
            return None
        return self._prepare(condition, study, trial, lock, display)

    def _prepare(
        self,
        condition: Condition,
        study: optuna.Study,
        trial: optuna.Trial,
        lock: contextlib.ExitStack | None,
        display: SearchDisplay,
    ) -> Taken | None:
        """Gives a trial its setting; None where it is impossible, which is noted."""
        folder = self.directory.trial(condition, trial.number)
        if lock is None:  # a new trial's folder is in use: it is left to whoever uses it
            raise UserError(
                f"{folder} is in use by another process; end it, then start the same command again"
            )
        values = {
            field: trial.suggest_categorical(field, options)
            for field, options in condition.space.items()
        }
        config = condition.setting(values)
        if reason := _impossible(config):
            trial.set_user_attr("skipped", reason)
            study.tell(trial, state=TrialState.PRUNED)
            lock.close()
            return None
        attempts = trial.user_attrs.get("attempts", 0)
        trial.set_user_attr("attempts", attempts + 1)
        taken = Taken(condition, study, trial, config, self.config, folder, lock)
        verb = "goes on with" if attempts or "hours" in trial.user_attrs else "begins"
        display.line(f"{taken.title} {verb} {describe(values)}")
        return taken


def describe(values: dict[str, Any]) -> str:
    """A setting in a line: "dropout_rate 0.1, num_heads 4"."""
    return ", ".join(f"{field.rpartition('.')[2]} {value}" for field, value in values.items())


def _impossible(config: ConfigDict) -> str:
    """Why a combination cannot be run; "" where it can. Nothing is built."""
    try:
        configuration.check(config)
        task = configuration.make_task(config, data_of(config).train)
        configuration.check_with_data(config, task, jax.device_count())
    except UserError as error:
        return " ".join(str(error).split())
    return ""


def _count(study: optuna.Study, *statuses: str) -> int:
    return sum(status(trial) in statuses for trial in study.get_trials(deepcopy=False))


def _begun(study: optuna.Study) -> int:
    """The trials that count against the budget: all but the impossible ones."""
    return _count(study, "done", "pruned", "failed", "running")


def _open_study(
    config: ConfigDict,
    directory: SearchDir,
    condition: Condition,
    storage: optuna.storages.BaseStorage,
    mark: str,
) -> optuna.Study:
    name = f"{config.name}-{mark}/{condition.name}"
    known = name in optuna.get_all_study_names(storage)
    if not known and directory.trials(condition).exists():
        raise UserError(
            f"{directory.trials(condition)} holds trials that the storage does not know; give "
            "--config.storage=… as before, or choose another --workdir"
        )
    pruner = (
        optuna.pruners.MedianPruner() if config.pruner == "median" else optuna.pruners.NopPruner()
    )
    return optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        load_if_exists=True,
        sampler=make_sampler(config.sampler, condition.space, config.seed),
        pruner=pruner,
    )
