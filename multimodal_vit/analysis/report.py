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
from multimodal_vit.analysis import scale_figure, study_tests
from multimodal_vit.analysis import study_figures as figures
from multimodal_vit.analysis.cells import FAR_APART, cell
from multimodal_vit.analysis.figures import task_sheet
from multimodal_vit.analysis.pages import MakeFigure, figures_in, percent, write_pages
from multimodal_vit.analysis.probe_report import probe_section
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_results import ConditionResults, class_shares
from multimodal_vit.study.definition import SUMMARY, StudyRun, runs_of
from multimodal_vit.study.runner import load_data
from multimodal_vit.train.progress import duration
from multimodal_vit.workdir import Workdir

NUM_EXAMPLES = NUM_MISTAKES = 8


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
        "failed": dict(failed),
    }
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


def finished_conditions(config: ConfigDict, all_runs: Sequence[StudyRun]) -> list[ConditionResults]:
    """The conditions that have a finished run, with these runs."""
    runs: dict[str, list[StudyRun]] = {}
    for run in all_runs:
        if run.workdir.results() is not None:
            runs.setdefault(run.condition, []).append(run)
    ordered = {name: runs[name] for name in config.conditions if name in runs}
    splits_of = load_data(mine[0].config for mine in ordered.values())
    return [ConditionResults(n, mine, splits_of(mine[0].config)) for n, mine in ordered.items()]


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
    planned = dict.fromkeys(config.conditions, config.num_seeds)
    rows = [
        {
            "name": c.name,
            "summary": summaries[c.name],
            "accuracy": _accuracy(c.accuracies),
            "interval": c.interval,
            "chance": c.chance,
            "at_chance": c.at_chance,
            "order": f"{sum(c.reads_order)} of {len(c.reads_order)}" if c.reads_order else "–",
            "second": Summary.of(c.values("test", second)),
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
        "shapes": {c.name: c.shapes() for c in conditions},
        "rows": rows,
        "tests": content["tests"],
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
            data: (c.experiment.splits.origin, _sizes(c))
            for data, c in _by_data(conditions).items()
        },
        "failed": content["failed"],
        "duration": duration,
    }


def strip_of(conditions: Sequence[ConditionResults], figure: MakeFigure) -> Any:
    """The strip of all conditions whose runs were asked the same steps; None where none was."""
    scales = {c.name: [v["scale"] for v in c.verdicts] for c in conditions}
    known = {name: mine for name, mine in scales.items() if None not in mine}
    marks = [scale["marks"] for mine in known.values() for scale in mine]
    if not marks or any(mine != marks[0] for mine in marks):
        return None
    said = {}
    for c in conditions:
        if len(c.runs) == 1 and c.reads_order:
            said[c.name] = "reads in order" if c.reads_order[0] else "does not read in order"
        elif c.reads_order:
            said[c.name] = f"{sum(c.reads_order)} of {len(c.reads_order)} read in order"
    about = f"{scale_figure.CAPTION}{', the line its 95 % interval' if known else ''}."
    return figure("scale", lambda: scale_figure.strip(known, said), about)


def pictures_of(conditions: Sequence[ConditionResults], figure: MakeFigure) -> dict[str, Any]:
    """The pictures that every page has: examples, curves, errors."""
    classifies = conditions[0].task.classifies
    found_mistakes = [] if classifies else [(c, c.mistakes(NUM_MISTAKES)) for c in conditions]
    seeds = max(len(c.runs) for c in conditions) > 1
    over = ": mean over seeds, the band from the lowest to the highest seed" if seeds else ""
    all_seeds = ", all seeds" if seeds else ""
    return {
        "examples": [
            figure(
                f"examples_{data}",
                lambda c=c: task_sheet(c.experiment, NUM_EXAMPLES),
                f"Examples of the task on {data}. Above each its text; below whether the text is "
                "true of it. The green lines are not in the data."
                + (
                    " Where the words are spoken, their spectrograms stand beside the image."
                    if c.task.audio_shape is not None
                    else ""
                ),
            )
            for data, c in _by_data(conditions).items()
        ],
        "curves": figure(
            "curves",
            lambda: figures.curves(conditions),
            f"Validation loss and accuracy over training{over}; the thin line is the training "
            "loss.",
        ),
        "by_replaced": None
        if classifies
        else figure(
            "by_replaced",
            lambda: figures.by_replaced(conditions),
            "Right answers by how many labels of the text are wrong.",
        ),
        "confusions": figure(
            "confusions",
            lambda: figures.confusions(conditions),
            f"How often a class is taken for another (percent of the class{all_seeds})."
            if classifies
            else "How often a single wrong label passed for right (percent of such pairs"
            f"{all_seeds}), by what the image shows and what the text says.",
        ),
        "mistakes": [
            figure(
                f"mistakes_{c.name}",
                lambda c=c, found=found: figures.mistakes(c, found),
                f"{c.name}: the wrong answers with the highest "
                f"{'mean certainty over the seeds' if seeds else 'certainty'}.",
            )
            for c, found in found_mistakes
            if found
        ],
        "no_mistakes": [c.name for c, found in found_mistakes if not found],
    }


def _by_data(conditions: Sequence[ConditionResults]) -> dict[str, ConditionResults]:
    """A condition of each data set, and of each task on it."""
    by_data = {_task_name(c, conditions): c for c in reversed(conditions)}
    return dict(reversed(by_data.items()))


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
        for data, c in _by_data(conditions).items()
        if c.task.num_classes <= 20
    }


def _task_name(condition: ConditionResults, conditions: Sequence[ConditionResults]) -> str:
    """The data's name; with the condition's where conditions on these data differ in their task."""
    data = condition.config.data.name
    tasks = [c for c in conditions if c.config.data.name == data]
    if all(c.task == condition.task for c in tasks):
        return data
    first = next(c for c in tasks if c.task == condition.task)
    return f"{data}, {first.name}"


def rules_of(conditions: Sequence[ConditionResults]) -> dict[str, list[str]]:
    """How pairs are drawn, in words, and the conditions that are trained so."""
    rules: dict[str, list[str]] = {}
    for c in conditions:
        task = c.task
        if task.classifies:
            rules.setdefault("one image, and a recording of its class", []).append(c.name)
            continue
        replaced = (
            "one label is always replaced by another class, each other one with probability "
            f"{task.replacement_rate:g}"
        )
        how = {
            "replace": replaced,
            "permute": "the labels are put into another order",
            "mixed": f"half of the false texts put the labels into another order; in the rest "
            f"{replaced}",
        }.get(task.corruption, task.corruption)
        grid = f"{task.grid[0]}×{task.grid[1]}"
        rule = f"grid {grid}; false with probability {task.false_rate:g}; in a false text {how}"
        rules.setdefault(rule, []).append(c.name)
    return rules


def versions_of(conditions: Sequence[ConditionResults]) -> dict[str, str]:
    """The versions and devices of all runs."""
    found = [results["versions"] for c in conditions for results in c.results]
    names = dict.fromkeys(name for known in found for name in known)
    return {
        name: ", ".join(dict.fromkeys(str(known.get(name, "not known")) for known in found))
        for name in names
    }


def _sizes(condition: ConditionResults) -> tuple[int, int, int]:
    splits = condition.experiment.splits
    return len(splits.train), len(splits.validation), len(splits.test)


def _budget(config: ConfigDict) -> str:
    samples = {name: c.train.num_samples for name, c in config.conditions.items()}
    if len(set(samples.values())) == 1:
        return (
            f"Every condition had the same budget: {_seeds(config.num_seeds)}, each with at most "
            f"{next(iter(samples.values())):,} training pairs (rounded to whole epochs)."
        )
    listed = "; ".join(f"{name} {number:,}" for name, number in samples.items())
    return f"The budgets differ. Training pairs at most, for each of {_seeds(config.num_seeds)}: {listed}."  # noqa: E501


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def _differing(config: ConfigDict) -> dict[str, dict[str, Any]]:
    """The fields in which the conditions differ: values by field and condition."""
    fields = {name: configuration.fields(c) for name, c in config.conditions.items()}
    names = next(iter(fields.values())).keys()
    return {
        field: {name: mine[field] for name, mine in fields.items()}
        for field in names
        if field != "name" and len({repr(mine[field]) for mine in fields.values()}) > 1
    }


def common_fields(config: ConfigDict, differing: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in which the conditions agree."""
    fields = configuration.fields(next(iter(config.conditions.values())))
    hidden = ("name", "seed", "data.directory")
    return {k: v for k, v in fields.items() if k not in differing and k not in hidden}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value
