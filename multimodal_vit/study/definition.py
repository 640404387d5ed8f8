"""What a study is: conditions, each a whole experiment, and how many seeds each gets.

A study is a file in `configs/` whose `get_config` returns what `study` returns.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import bounds
from multimodal_vit import config as configuration
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import check_writable, read_json
from multimodal_vit.suites import ALL
from multimodal_vit.train import initial
from multimodal_vit.train.initial import OF_CONDITION
from multimodal_vit.workdir import FOLDER_NAME, Workdir

SUMMARY = "study.json"


def study(
    title: str,
    conditions: Mapping[str, ConfigDict],
    comparisons: Sequence[tuple[str, str]] = (),
    published: Mapping[str, tuple[float, float, int]] | None = None,
) -> ConfigDict:
    """The configuration of a study.

    Every run is asked all evaluation suites and checks, unless its condition says otherwise.

    Args:
      title: what is asked, as the report's heading.
      conditions: experiments by name; letters, digits, "_" and "-".
      comparisons: pairs of conditions to test against each other.
      published: for conditions with a published result, its mean and standard deviation of the
        true/false accuracy (fractions) and its number of runs.
    """
    config = ConfigDict()
    config.kind = "study"
    config.name = ""  # by default, on the command line, the file's name and the preset
    config.title = title
    config.question = ""  # a sentence or two under the heading
    config.num_seeds = 5
    config.first_seed = 0
    config.seeds_together = False  # train the seeds of a condition as one program
    config.conditions = ConfigDict(
        {name: _asked_all(c).to_dict() for name, c in conditions.items()}, sort_keys=False
    )
    config.comparisons = tuple(tuple(pair) for pair in comparisons)
    config.published = ConfigDict(
        {
            name: {"mean": mean, "std": std, "runs": runs}
            for name, (mean, std, runs) in (published or {}).items()
        }
    )
    config.published_source = ""
    config.control = ""  # a condition that all others are compared with, as one family
    config.control_seeds = 0  # its seeds; 0: as many as the others have
    config.apart = ()  # conditions that are not in that family, such as those that must fail
    config.margin = 0.005  # of accuracy, up to which a condition counts as not worse
    config.order_margin = 0.05  # the same of the AUROC of order foils
    return config


def _asked_all(condition: ConfigDict) -> ConfigDict:
    if condition.evaluation.suites == configuration.thesis().evaluation.suites:
        return configuration.changed(condition, {"evaluation.suites": ALL})
    return condition


def cross(base: ConfigDict, **factors: Mapping[str, Mapping[str, Any]]) -> dict[str, ConfigDict]:
    """Every combination of the levels of some factors.

    Args:
      base: the experiment that is changed.
      factors: for each factor, its levels by name: the fields that a level sets. For example
        `cross(small(), decay={"on": {}, "off": {"train.weight_decay": 0.0}})`.

    Returns:
      Experiments by name: the levels' names joined by "_".

    Raises:
      UserError: no such field, a value of another type, or two combinations of one name.
    """
    crossed = {}
    for levels in itertools.product(*(factor.items() for factor in factors.values())):
        config = base
        for _, changes in levels:
            config = configuration.changed(config, changes)
        name = "_".join(name for name, _ in levels)
        if name in crossed:
            raise UserError(f"two combinations of levels are both named {name!r}; rename a level")
        crossed[name] = config
    return crossed


@dataclasses.dataclass(frozen=True, eq=False)  # told apart by identity
class StudyRun:
    """One run of a study.

    Attributes:
      condition: its name.
      config: the experiment, with its seed.
      workdir: its folder.
    """

    condition: str
    config: ConfigDict
    workdir: Workdir

    @property
    def starts_from(self) -> Workdir | None:
        """The folder of the run whose parameters it starts from, in the same study."""
        if not parent(self.config):
            return None
        return Workdir(initial.place(self.config.model.initial, self.workdir.path))


def runs_of(config: ConfigDict, workdir: Path) -> list[StudyRun]:
    """The runs of a study, the first seed of every condition first; one before those it starts."""
    found = []
    planned = seeds_of(config)
    for number in range(max(planned.values(), default=0)):
        seed = config.first_seed + number
        for condition in in_order(config.conditions):
            if number >= planned[condition]:
                continue
            experiment = config.conditions[condition]
            changes = {"name": condition, "seed": seed}
            own = configuration.changed(experiment, changes)
            folder = workdir / "runs" / condition / f"seed_{seed}"
            found.append(StudyRun(condition, own, Workdir(folder)))
    return found


def seeds_of(config: ConfigDict) -> dict[str, int]:
    """How many seeds each condition gets."""
    more = {config.control: config.control_seeds or config.num_seeds}
    return {name: more.get(name, config.num_seeds) for name in config.conditions}


def parent(experiment: ConfigDict) -> str:
    """The condition whose run an experiment starts from, by `model.initial`; "" for none."""
    start = experiment.get("model", {}).get("initial", "")
    return start.removeprefix(OF_CONDITION) if start.startswith(OF_CONDITION) else ""


def in_order(conditions: Mapping[str, ConfigDict]) -> list[str]:
    """The names of conditions, each behind the one that it starts from; else as they stand.

    Those that wait for one another, or for one that is not there, come last.
    """
    left, found = list(conditions), []
    while left:
        ready = [name for name in left if parent(conditions[name]) in ("", *found)]
        if not ready:
            return found + left
        found += ready
        left = [name for name in left if name not in ready]
    return found


def check(config: ConfigDict) -> None:
    """Raises one `UserError` that lists every mistake that `problems` finds."""
    configuration.raise_all(list(problems(config)))


def check_folder(config: ConfigDict, folder: Path) -> None:
    """Checks that a study may run in a folder, whose own study has the same name.

    Raises:
      UserError: the folder holds a single run, a search, or another study.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--workdir={folder} is a file; name a folder")
    check_writable(folder, f"--workdir={folder}")
    for name, what in (("config.json", "a single run"), ("search.json", "a search")):
        if (folder / name).exists():
            raise UserError(f"--workdir={folder} holds {what}; name a new folder for the study")
    path = folder / SUMMARY
    known = config.name
    with contextlib.suppress(DamagedError):  # it is set aside when it is written anew
        known = read_json(path).get("name") if path.exists() else known
    if known != config.name:
        raise UserError(
            f"--workdir={folder} holds the study {known!r}, this one is {config.name!r}; name a "
            "new folder, or the study with --config.name=…"
        )


def problems(config: ConfigDict) -> Iterator[str]:
    """Yields a line for every mistake in a study's configuration."""
    free = ("conditions", "published")
    if wrong := list(configuration.type_problems(config, study("", {}), free)):
        yield from wrong
        return
    if not config.conditions:
        yield "conditions is empty; name at least one experiment"
    top = {name: value for name, value in config.items() if not isinstance(value, ConfigDict)}
    yield from bounds.study_problems(top)
    for name, experiment in config.conditions.items():
        if not FOLDER_NAME.fullmatch(name):
            yield f"conditions: {name!r} names a folder; use letters, digits, - and _"
        for problem in configuration.problems(experiment):
            yield f"conditions.{name}.{problem}"
        if experiment.get("train", {}).get("num_seeds", 1) != 1:
            yield (
                f"conditions.{name}.train.num_seeds={experiment.train.num_seeds}: a study has "
                "num_seeds of its own, and seeds_together to train them as one program"
            )
    ordered: list[str] = []
    for name in in_order(config.conditions):
        start = parent(config.conditions[name])
        if start and start not in config.conditions:
            known = ", ".join(config.conditions)
            yield (
                f"conditions.{name}.model.initial: {start!r} is no condition; there are: {known}"
            )
        elif start and start not in ordered:
            yield (
                f"conditions.{name}.model.initial='@{start}' leads back to itself; let one of them "
                "start anew"
            )
        elif start and seeds_of(config)[start] < seeds_of(config)[name]:
            yield (
                f"conditions.{name} has more seeds than {start}, from whose runs it starts; give "
                "them as many"
            )
        ordered.append(name)
    kinds = {c.model.num_match_outputs == 0 for c in config.conditions.values()}
    if len(kinds) > 1:
        yield "conditions: classifiers and true/false models cannot be in one study"
    pairs = [pair if isinstance(pair, (tuple, list)) else (pair,) for pair in config.comparisons]
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1]:
            yield f"comparisons: {tuple(pair)} must be two different conditions"
        elif all(name in config.conditions for name in pair):
            first, second = (config.conditions[name].evaluation for name in pair)
            for field in ("batch_size", "num_passes", "seed"):
                if first[field] != second[field]:
                    yield (
                        f"comparisons: {pair[0]} and {pair[1]} differ in evaluation.{field} "
                        f"({first[field]} and {second[field]}), so they answer different pairs"
                    )
    named = {*itertools.chain(*pairs), *config.published, *config.apart, config.control} - {""}
    for name in sorted(map(str, named)):
        if name not in config.conditions:
            known = ", ".join(config.conditions)
            yield (
                f"comparisons, published, control and apart: {name!r} is no condition; there are: "
                f"{known}"
            )
    yield from _control_problems(config)


def _control_problems(config: ConfigDict) -> Iterator[str]:
    """What does not fit the condition that the others are compared with."""
    if not config.control and (config.control_seeds or config.apart):
        yield "control_seeds and apart are for a study with a control; name it"
    if config.control and config.control in config.apart:
        yield f"apart: {config.control!r} is the control"
    for field in ("margin", "order_margin"):
        if not 0 <= config[field] < 1:
            yield f"{field}={config[field]} must be at least 0 and below 1"
