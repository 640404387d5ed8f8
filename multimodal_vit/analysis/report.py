"""The report of a study: a self-contained HTML page, the same in Markdown, figures as files.

Everything is read from the runs' folders.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit.analysis import design_figure, figure_data, study_control, study_tests
from multimodal_vit.analysis import study_figures as figures
from multimodal_vit.analysis import study_page_tables as page_tables
from multimodal_vit.analysis.page_parts import (
    by_data,
    common_fields,
    finished_conditions,
    pictures_of,
    rules_of,
    strip_of,
    versions_of,
)
from multimodal_vit.analysis.pages import MakeFigure, figures_in, write_pages
from multimodal_vit.analysis.probe_report import probe_section
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.study.definition import SUMMARY, runs_of
from multimodal_vit.train.progress import duration
from multimodal_vit.workdir import Workdir

FEW, FEW_COMPARISONS = 4, 3  # conditions and comparisons that each have a sentence at the top


def write_report(
    config: ConfigDict, folder: Path, command: str, failed: Mapping[str, str]
) -> dict[str, Any]:
    """Writes `report.html`, `report.md`, `study.json` and `figures/` into a study's folder.

    Args:
      config: the study's.
      folder: its workdir; at least one run is finished.
      command: that made it.
      failed: reasons by run.

    Returns:
      What `study.json` holds: summaries, verdicts and tests.
    """
    conditions = finished_conditions(config, runs_of(config, folder))
    summaries = {c.name: Summary.of(c.accuracies) for c in conditions}
    tests = study_tests.accuracy_tests(config, summaries)
    content = {
        "name": config.name,
        "title": config.title,
        "conditions": {
            c.name: dataclasses.asdict(summaries[c.name])
            | {"values": c.accuracies, "chance": c.chance, "at_chance": c.at_chance}
            | {"sentence": study_tests.condition_sentence(c), "reads_order": c.reads_order}
            | {"places": [v["scale"]["place"] for v in c.verdicts if v["scale"]]}
            for c in conditions
        },
        "answers": _answers(conditions, tests),
        "tests": tests,
        "suite_tests": study_tests.suite_tests(config, conditions),
        "control": study_control.control_tests(config, conditions),
        "failed": dict(failed),
    }
    content["answers"] += study_control.control_sentences(content["control"])
    Workdir(folder).save_json(SUMMARY, _without_nan(content))
    page = _page(config, folder, conditions, content, command)
    write_pages(folder, "report", page)
    return content


def _answers(
    conditions: Sequence[ConditionResults], tests: Sequence[Mapping[str, Any]]
) -> list[str]:
    nowhere = {c.name for c in conditions if c.at_chance}
    own = [test for test in tests if test["source"] == study_tests.OWN]
    return [study_tests.answer(test, nowhere) for test in own]


def _page(
    config: ConfigDict,
    folder: Path,
    conditions: Sequence[ConditionResults],
    content: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """What the templates show; draws the figures into the folder."""
    published = study_tests.published_summaries(config)
    classifies = conditions[0].task.classifies  # and so do the others: study.definition.problems
    figure = figures_in(folder)
    # A condition at chance is said before anything is called better.
    by_chance = sorted(conditions, key=lambda c: not c.at_chance)
    said = {name: known["sentence"] for name, known in content["conditions"].items()}
    differing = _differing(config)
    return {
        "classifies": classifies,
        "single": False,
        "config": config,
        "verdicts": [said[c.name] for c in by_chance],
        "few": len(conditions) <= FEW,
        **_leading(content, conditions),
        "suite_answer": study_tests.suite_answer(content["suite_tests"]),
        "suite_tests": page_tables.suite_tests(content["suite_tests"])
        if content["suite_tests"]
        else None,
        "strip": strip_of(conditions, figure),
        "designs": _designs(conditions, figure),
        "shapes": page_tables.shapes(conditions),
        "results": page_tables.results(config, conditions, published),
        "cost": page_tables.cost(conditions),
        "num_runs": sum(len(c.runs) for c in conditions),
        "tests": page_tables.tests(content["tests"]) if content["tests"] else None,
        "control": study_control.control_table(content["control"], conditions),
        "judgement": page_tables.judgement(conditions),
        "accuracies": figure(
            "accuracies",
            lambda: figures.accuracies(conditions, published, config.published_source),
            f"{'Accuracy' if classifies else 'True/false accuracy'} of every run on the test "
            "split.",
            lambda: figure_data.accuracies(conditions, published),
        ),
        "probes": probe_section(conditions, figure),
        **pictures_of(conditions, figure),
        "shares": page_tables.shares(conditions),
        "budget": _budget(config),
        "differing": page_tables.by_condition(differing, list(config.conditions)),
        "common": common_fields(config, differing),
        "versions": versions_of(conditions),
        "total_seconds": duration(sum(sum(c.values("train_seconds")) for c in conditions)),
        "total_pflop": sum(sum(c.values("pflop")) for c in conditions),
        "command": command.replace("\n", " "),
        "rules": rules_of(conditions),
        "splits": {
            data: (c.experiment.splits.origin, _sizes(c)) for data, c in by_data(conditions).items()
        },
        "failed": content["failed"],
    }


def _leading(
    content: Mapping[str, Any], conditions: Sequence[ConditionResults]
) -> dict[str, list[str]]:
    """The sentences that lead, and those that are folded where there are many comparisons."""
    own = [test for test in content["tests"] if test["source"] == study_tests.OWN]
    if len(own) <= FEW_COMPARISONS:
        return {"answers": content["answers"], "more_answers": []}
    said = [study_tests.answers_in_short(own)]
    said += study_control.control_sentences(content["control"])
    nowhere = [c.name for c in conditions if c.at_chance]
    if nowhere:
        which = "any condition" if len(nowhere) == len(conditions) else ", ".join(nowhere)
        said.insert(0, f"Cannot be told from chance: {which}.")
    return {"answers": said, "more_answers": content["answers"][: len(own)]}


def _designs(conditions: Sequence[ConditionResults], figure: MakeFigure) -> Any:
    """The designs, where the conditions' fusions differ."""
    if len({c.config.model.fusion for c in conditions}) < 2:
        return None
    found = design_figure.flows_of(conditions)
    return figure(
        "designs",
        lambda: design_figure.designs(found),
        "Which tokens take from which by attention, layer by layer, read off the untrained "
        "models; red: what the summary takes.",
        lambda: figure_data.designs(found),
    )


def _sizes(condition: ConditionResults) -> tuple[int, int, int]:
    splits = condition.experiment.splits
    return len(splits.train), len(splits.validation), len(splits.test)


def _budget(config: ConfigDict) -> str:
    samples = {name: c.train.num_samples for name, c in config.conditions.items()}
    if len(set(samples.values())) == 1:
        exact = all(c.train.steps_per_validation for c in config.conditions.values())
        return (
            f"Every condition had the same budget: {_seeds(config.num_seeds)}{_more(config)}, each "
            f"with at most {next(iter(samples.values())):,} training pairs (rounded to whole "
            f"{'batches' if exact else 'epochs'})."
        )
    listed = "; ".join(f"{name} {number:,}" for name, number in samples.items())
    return f"The budgets differ. Training pairs at most, for each of {_seeds(config.num_seeds)}: {listed}."  # noqa: E501


def _more(config: ConfigDict) -> str:
    if not config.control_seeds:
        return ""
    return f" ({_seeds(config.control_seeds)} for {config.control})"


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def _differing(config: ConfigDict) -> dict[str, dict[str, Any]]:
    """The fields in which the conditions differ: values by field and condition.

    An option that a condition's components do not have is "–" there.
    """
    fields = {name: configuration.fields(c) for name, c in config.conditions.items()}
    values = {
        field: {name: mine.get(field, "–") for name, mine in fields.items()}
        for field in dict.fromkeys(field for mine in fields.values() for field in mine)
    }
    return {
        field: of
        for field, of in values.items()
        if field != "name" and len({repr(value) for value in of.values()}) > 1
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value
