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
from multimodal_vit.analysis import design_figure, study_control, study_tests
from multimodal_vit.analysis import study_figures as figures
from multimodal_vit.analysis.cells import FAR_APART, PageTable, cell
from multimodal_vit.analysis.page_parts import (
    by_data,
    common_fields,
    finished_conditions,
    pictures_of,
    rules_of,
    strip_of,
    versions_of,
)
from multimodal_vit.analysis.pages import figures_in, percent, write_pages
from multimodal_vit.analysis.probe_report import probe_section
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_results import ConditionResults, class_shares
from multimodal_vit.study.definition import SUMMARY, runs_of, seeds_of
from multimodal_vit.train.progress import duration
from multimodal_vit.workdir import Workdir


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
    page = _page(config, folder, conditions, summaries, content, command)
    write_pages(folder, "report", page)
    return content


def _accuracy(values: Sequence[float]) -> str:
    """Mean and standard deviation, or each seed where they lie far apart."""
    summary = Summary.of(values)
    if summary.n == 1:
        return percent(summary.mean)
    if max(values) - min(values) > FAR_APART:
        return cell(values, "percent")
    return f"{percent(summary.mean)} ± {100 * summary.std:.2f}"


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
    summaries: Mapping[str, Summary],
    content: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """What the templates show; draws the figures into the folder."""
    published = study_tests.published_summaries(config)
    classifies = conditions[0].task.classifies  # and so do the others: study.definition.problems
    second = "macro_f1" if classifies else "class_accuracy"
    figure = figures_in(folder)
    planned = seeds_of(config)
    rows = [
        {
            "name": c.name,
            "summary": summaries[c.name],
            "accuracy": _accuracy(c.accuracies),
            "interval": c.interval,
            "chance": c.chance,
            "at_chance": c.at_chance,
            "order": f"{sum(c.reads_order)} of {len(c.reads_order)}" if c.reads_order else "–",
            "second": Summary.of(known) if (known := c.probed("test", second)) else None,
            "published": published.get(c.name),
            "planned": planned[c.name],
            "samples": np.mean(c.values("samples_seen")),
            "seconds": np.mean(c.values("train_seconds")),
            "pflop": np.mean(c.values("pflop")),
            "examples_per_second": np.mean(c.values("examples_per_second")),
        }
        for c in conditions
    ]
    # A condition at chance is said before anything is called better.
    by_chance = sorted(conditions, key=lambda c: not c.at_chance)
    said = {name: known["sentence"] for name, known in content["conditions"].items()}
    differing = _differing(config)
    return {
        "classifies": classifies,
        "single": False,
        "config": config,
        "verdicts": [said[c.name] for c in by_chance],
        "answers": content["answers"],
        "suite_answer": study_tests.suite_answer(content["suite_tests"]),
        "suite_tests": content["suite_tests"],
        "strip": strip_of(conditions, figure),
        "designs": figure(
            "designs",
            lambda: design_figure.designs(conditions),
            "Which tokens take from which by attention, layer by layer, read off the untrained "
            "models; red: what the summary takes.",
        )
        if len({c.config.model.fusion for c in conditions}) > 1
        else None,
        "shapes": {c.name: c.shapes() for c in conditions},
        "rows": rows,
        "tests": content["tests"],
        "control": study_control.control_table(content["control"], conditions),
        "judgement": _judgement(conditions),
        "accuracies": figure(
            "accuracies",
            lambda: figures.accuracies(conditions, published, config.published_source),
            f"{'Accuracy' if classifies else 'True/false accuracy'} of every run on the test "
            "split.",
        ),
        "probes": probe_section(conditions, figure),
        **pictures_of(conditions, figure),
        "shares": _class_shares(conditions),
        "budget": _budget(config),
        "differing": differing,
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
        "duration": duration,
    }


def _judgement(conditions: Sequence[ConditionResults]) -> PageTable | None:
    """How readily each condition says "false", how sure it is, and where it stands."""
    if not all(c.probed("test", "called_false") for c in conditions):
        return None
    rows = []
    for c in conditions:
        places = [v["scale"]["place"] if v["scale"] else None for v in c.verdicts]
        cells = [
            cell(c.values("test", "called_false"), "percent"),
            cell(c.values("test", "false_share"), "percent"),
            cell(c.probed("test", "ece"), "percent"),
            " · ".join("–" if place is None else f"{place:.2f}" for place in places),
        ]
        rows.append((c.name, "", cells))
    columns = ["called false", "false", "calibration error (ECE)", "place on the scale, each run"]
    return PageTable("Bias and certainty, on the test pairs", columns, rows)


def _class_shares(conditions: Sequence[ConditionResults]) -> dict[str, Any]:
    """Table D.1 of each data set with few classes."""
    return {
        data: {
            "names": c.class_names,
            "shares": class_shares(c.experiment).tolist(),
            "expected": (
                c.experiment.splits.train.class_frequencies / c.task.num_positions
            ).tolist(),
        }
        for data, c in by_data(conditions).items()
        if c.task.num_classes <= 20
    }


def _sizes(condition: ConditionResults) -> tuple[int, int, int]:
    splits = condition.experiment.splits
    return len(splits.train), len(splits.validation), len(splits.test)


def _budget(config: ConfigDict) -> str:
    samples = {name: c.train.num_samples for name, c in config.conditions.items()}
    if len(set(samples.values())) == 1:
        return (
            f"Every condition had the same budget: {_seeds(config.num_seeds)}{_more(config)}, each "
            f"with at most {next(iter(samples.values())):,} training pairs (rounded to whole "
            "epochs)."
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
