"""What a search is: conditions with a grid each, and the budget that every condition gets.

A search is a file in `configs/` whose `get_config` returns what `search` returns.
"""

import contextlib
import dataclasses
import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import bounds, component_files
from multimodal_vit import config as configuration
from multimodal_vit.config.fields import option_slots
from multimodal_vit.errors import DamagedError, UserError, hint
from multimodal_vit.files import UNFINISHED, check_writable, read_json, write_json
from multimodal_vit.workdir import FOLDER_NAME

SAVED = "search.json"
SAMPLERS = ("random", "tpe")
PRUNERS = ("none", "median")
_SETTABLE = (bool, int, float, str)  # what a storage can hold as a value
# They may change between two starts: how far to go on, and where things lie.
_FREE = re.compile(
    r"num_trials|max_hours|storage|"
    r"conditions\.[^.]+\.experiment\.(data\.directory|train\.checkpoint_seconds)"
)
# A setting is compared with others, over its seeds, on the same validation pairs.
_FIXED = re.compile(r"name|seed|evaluation\..*")


def search(
    title: str,
    conditions: Mapping[str, tuple[ConfigDict, Mapping[str, Sequence[Any]]]],
) -> ConfigDict:
    """The configuration of a search. Every field stands here.

    Args:
      title: what is searched, as the heading of tables and figures.
      conditions: by name (letters, digits, "_" and "-"), an experiment and its grid: the values of
        each field that is searched, such as {"model.dropout_rate": (0.0, 0.1)}.
    """
    config = ConfigDict()
    config.kind = "search"
    config.name = ""  # by default, on the command line, the file's name and the preset
    config.title = title
    config.seed = 0  # of the order of the trials; the runs take the experiment's seed and the next
    config.num_seeds = 5  # runs of each trial; its value is the mean of their accuracies
    config.num_trials = 20  # settings tried in each condition; impossible ones do not count
    config.max_hours = 0.0  # accelerator hours, after which a condition begins no trial; 0: any
    config.sampler = "random"  # each setting of the grid once, in random order; or "tpe"
    config.pruner = "none"  # or "median": gives up, in its first seed, what is below the median
    config.storage = ""  # "": a journal in the workdir; else an SQLAlchemy URL
    config.max_attempts = 3  # workers that may die in a trial before it is given up
    config.conditions = ConfigDict(sort_keys=False)
    for name, (experiment, space) in conditions.items():
        config.conditions[name] = ConfigDict({"experiment": experiment, "space": _nested(space)})
    return config


def _nested(space: Mapping[str, Sequence[Any]]) -> ConfigDict:
    """Values by dotted field as groups of fields: names in a ConfigDict hold no dots."""
    nested = ConfigDict(sort_keys=False)
    for field, values in space.items():
        *groups, last = field.split(".")
        inner = nested
        for group in groups:
            if group not in inner:
                inner[group] = ConfigDict(sort_keys=False)
            inner = inner[group]
        inner[last] = tuple(values)
    return nested


@dataclasses.dataclass(frozen=True)
class Condition:
    """One condition of a search.

    Attributes:
      name: names its folder too.
      experiment: what the grid's values are set in.
      space: the values by field.
    """

    name: str
    experiment: ConfigDict
    space: dict[str, tuple[Any, ...]]

    @property
    def num_settings(self) -> int:
        """The settings in the grid, impossible ones included."""
        return math.prod(len(values) for values in self.space.values())

    def setting(self, values: Mapping[str, Any]) -> ConfigDict:
        """The experiment with some fields of the grid set."""
        return configuration.changed(self.experiment, {"name": self.name} | dict(values))


def conditions_of(config: ConfigDict) -> list[Condition]:
    """The conditions of a search."""
    return [
        Condition(name, c.experiment, configuration.fields(c.space))
        for name, c in config.conditions.items()
    ]


def check(config: ConfigDict) -> None:
    """Raises one `UserError` that lists every mistake that `problems` finds."""
    configuration.raise_all(list(problems(config)))


def problems(config: ConfigDict) -> Iterator[str]:
    """Yields a line for every mistake in a search's configuration."""
    if wrong := list(configuration.type_problems(config, search("", {}), ("conditions",))):
        yield from wrong
        return
    top = {name: value for name, value in config.items() if not isinstance(value, ConfigDict)}
    yield from bounds.search_problems(top)
    if math.isnan(config.max_hours):
        yield "max_hours=nan is no number; 0 is no limit"
    for field, allowed in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if config[field] not in allowed:
            close = hint(config[field], allowed)
            yield f"{field}={config[field]!r} is not one of {', '.join(allowed)}{close}"
    if not config.conditions:
        yield "conditions is empty; name at least one experiment and its grid"
    for condition in conditions_of(config):
        where = f"conditions.{condition.name}"
        if not FOLDER_NAME.fullmatch(condition.name):
            yield f"{where}: the name names a folder; use letters, digits, - and _"
        broken = list(configuration.problems(condition.experiment))
        yield from (f"{where}.experiment.{problem}" for problem in broken)
        if condition.experiment.train.num_seeds != 1:
            yield f"{where}.experiment has train.num_seeds; a search has num_seeds of its own"
        if condition.experiment.model.num_match_outputs == 0:
            yield f"{where}.experiment is a classifier; a search maximises true/false accuracy"
        if not configuration.has_verdict(condition.experiment):
            yield (
                f"{where}.experiment: train.objective={condition.experiment.train.objective!r} has "
                "no verdict; a search maximises true/false accuracy"
            )
        if not condition.space:
            yield f"{where}.space is empty; give the values of at least one field"
        for field, values in condition.space.items():
            for problem in _field_problems(condition, field, values, broken):
                yield f"{where}.space.{problem}"


def _field_problems(
    condition: Condition, field: str, values: Any, broken: list[str]
) -> Iterator[str]:
    """The mistakes in the values of one field; an impossible combination of two is none.

    Such a combination is skipped, with its reason, when its turn comes.
    """
    others = configuration.fields(condition.experiment).keys() - {field}
    if _FIXED.fullmatch(field):
        yield f"{field} cannot be searched: it must be the same for all settings"
        return
    if not isinstance(values, tuple) or not values:
        yield f"{field}={values!r} must list values, at least one"
        return
    for value in values:
        if not isinstance(value, _SETTABLE):
            yield f"{field}: {value!r} cannot be searched; take numbers, texts, True or False"
            continue
        if values.count(value) > 1:
            yield f"{field}: {value!r} stands more than once among the values"
            return
        try:
            setting = _with_its_choice(condition, field, value)
            found = configuration.problems(setting)
            for line in found:
                if line not in broken and not any(other in line for other in others):
                    yield line
        except UserError as error:
            yield str(error)


def _with_its_choice(condition: Condition, field: str, value: Any) -> ConfigDict:
    """The experiment with one field set; an option with the component of the grid that has it."""
    slots = [s for s in option_slots() if field.startswith(s.options_field + ".")]
    for choice in condition.space.get(slots[0].field, ()) if slots else ():
        with contextlib.suppress(UserError):
            return condition.setting({slots[0].field: choice, field: value})
    return condition.setting({field: value})


@dataclasses.dataclass(frozen=True)
class SearchDir:
    """The folder of a search.

    search.json                                   its configuration, and a mark of its own
    journal.jsonl                                 all trials, where no database is named
    <condition>/trials/<number>/seed_<seed>/      the workdir of each run

    Attributes:
      path: the folder.
    """

    path: Path

    @property
    def journal(self) -> Path:
        """The file that keeps the trials, where no database does."""
        return self.path / "journal.jsonl"

    def trials(self, condition: Condition) -> Path:
        """The folder of a condition's trials."""
        return self.path / condition.name / "trials"

    def trial(self, condition: Condition, number: int) -> Path:
        """The folder of a trial."""
        return self.trials(condition) / str(number)

    def check(self, config: ConfigDict) -> None:
        """Checks that a search may begin or go on here; writes nothing.

        Raises:
          UserError: not a folder, one with other things in it, or another search's.
        """
        path = self.path / SAVED
        check_writable(self.path, f"--workdir={self.path}")
        if not path.is_file():
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"--workdir={self.path} is a file; name a folder")
            if self.path.exists() and not all(
                entry.name in (".lock", component_files.FOLDER) or entry.name.endswith(UNFINISHED)
                for entry in self.path.iterdir()
            ):
                raise UserError(
                    f"--workdir={self.path} holds other files and no search (no {SAVED}); name a "
                    "new or empty folder"
                )
            return
        found = [
            line
            for line in configuration.differences(self._saved()[0], config)
            if not _FREE.fullmatch(line.partition(":")[0])
        ]
        if found:
            raise UserError(
                "\n  ".join([f"{self.path} holds a search with a different configuration:", *found])
                + "\nContinue it with its own configuration, or choose another --workdir"
            )

    def begin(self, config: ConfigDict) -> str:
        """Saves the configuration, unless it is there already; to be called by one at a time.

        Returns:
          The search's mark: eight hexadecimal digits that tell its studies from those of other
          workdirs in the same database.

        Raises:
          UserError: as `check`.
        """
        self.check(config)
        path = self.path / SAVED
        mark = self._saved()[1] if path.is_file() else secrets.token_hex(4)
        plain = configuration.changed(config, {"storage": ""})  # its URL may hold a password
        content = configuration.to_json(plain) | {"mark": mark}
        for condition in conditions_of(config):
            component_files.keep(condition.experiment.components, self.path)
        if not path.is_file() or read_json(path) != content:
            write_json(path, content)
        return mark

    def _saved(self) -> tuple[ConfigDict, str]:
        path = self.path / SAVED
        try:
            content = read_json(path)
            saved = ConfigDict(content["config"])
            for condition in saved.conditions.values():
                own = condition.experiment.to_dict()
                condition.experiment = configuration.from_json(own, path)
            return saved, content["mark"]
        except (OSError, DamagedError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read as a saved search ({error}); restore it from a copy, or "
                "name a new --workdir"
            ) from error
