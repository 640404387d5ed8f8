"""The report of a study: a self-contained HTML page, the same in Markdown, figures as files.

Everything is read from the runs' folders. Strings from data and configurations are escaped.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit.analysis import study_figures as figures
from multimodal_vit.analysis.figures import task_sheet
from multimodal_vit.analysis.probe_report import probe_section
from multimodal_vit.analysis.statistics import Summary, compare, holm
from multimodal_vit.analysis.study_results import ConditionResults, class_shares
from multimodal_vit.files import replacing
from multimodal_vit.study.definition import SUMMARY, StudyRun, runs_of, study
from multimodal_vit.study.runner import load_data
from multimodal_vit.train.progress import duration
from multimodal_vit.workdir import Workdir

NUM_EXAMPLES = NUM_MISTAKES = 8


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure in the page.

    Attributes:
      name: of its files in `figures/`.
      light: a data address for light pages.
      dark: a data address for dark pages.
      text: what a reader who cannot see it is told, and the caption.
    """

    name: str
    light: str
    dark: str
    text: str


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
      What `study.json` holds: summaries and tests.
    """
    conditions = _finished(config, runs_of(config, folder))
    summaries = {c.name: Summary.of(c.accuracies) for c in conditions}
    tests = _tests(config, summaries)
    content = {
        "name": config.name,
        "title": config.title,
        "conditions": {
            c.name: dataclasses.asdict(summaries[c.name]) | {"values": c.accuracies}
            for c in conditions
        },
        "tests": tests,
        "failed": dict(failed),
    }
    Workdir(folder).save_json(SUMMARY, _without_nan(content))
    _write_pages(folder, _page(config, folder, conditions, summaries, tests, command, failed))
    return content


def write_run_report(config: ConfigDict, workdir: Workdir, command: str) -> Path:
    """Writes the same page for one finished run into its folder, and returns the page's path.

    Args:
      config: the run's.
      workdir: its folder.
      command: that made it.
    """
    name = re.sub(r"[^\w-]", "_", config.name)
    study_config = study(f"{config.name}, seed {config.seed}", {name: config})
    study_config.num_seeds, study_config.first_seed = 1, config.seed
    conditions = _finished(study_config, [StudyRun(name, config, workdir)])
    summaries = {name: Summary.of(conditions[0].accuracies)}
    folder = workdir.path
    _write_pages(folder, _page(study_config, folder, conditions, summaries, [], command, {}))
    return folder / "report.html"


def _write_pages(folder: Path, page: Mapping[str, Any]) -> None:
    loader = jinja2.PackageLoader("multimodal_vit.analysis")
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    html = jinja2.Environment(loader=loader, autoescape=True, **options)
    markdown = jinja2.Environment(loader=loader, autoescape=False, **options)
    markdown.finalize = _escape_markdown
    for environment, name in ((html, "report.html"), (markdown, "report.md")):
        environment.filters |= {"percent": percent, "p": p_value}
        _write(folder / name, environment.get_template(f"{name}.j2").render(page))


def _finished(config: ConfigDict, all_runs: Sequence[StudyRun]) -> list[ConditionResults]:
    runs: dict[str, list[StudyRun]] = {}
    for run in all_runs:
        if run.workdir.results() is not None:
            runs.setdefault(run.condition, []).append(run)
    ordered = {name: runs[name] for name in config.conditions if name in runs}
    splits_of = load_data(mine[0].config for mine in ordered.values())
    return [ConditionResults(n, mine, splits_of(mine[0].config)) for n, mine in ordered.items()]


def _tests(config: ConfigDict, summaries: Mapping[str, Summary]) -> list[dict[str, Any]]:
    """The study's comparisons, here and as published, each family with Holm's correction."""
    published = published_summaries(config)
    found = []
    for source, known in (("this study", summaries), (config.published_source, published)):
        family = []
        for first, second in config.comparisons:
            if first in known and second in known:
                result = compare(known[first], known[second])
                if result is not None:
                    family.append((first, second, result))
        student = holm([result.student.p for *_, result in family])
        welch = holm([result.welch.p for *_, result in family])
        for (first, second, result), p, welch_p in zip(family, student, welch, strict=True):
            found.append(
                {"source": source or "published", "first": first, "second": second}
                | dataclasses.asdict(result)
                | {"holm": {"student": p, "welch": welch_p}}
            )
    return found


def published_summaries(config: ConfigDict) -> dict[str, Summary]:
    """The published mean, standard deviation and number of runs of a study's conditions."""
    return {n: Summary(p.mean, p.std, p.runs) for n, p in config.published.items()}


def _page(
    config: ConfigDict,
    folder: Path,
    conditions: Sequence[ConditionResults],
    summaries: Mapping[str, Summary],
    tests: Sequence[Mapping[str, Any]],
    command: str,
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """What the templates show; draws the figures into the folder."""
    (folder / "figures").mkdir(exist_ok=True)
    published = published_summaries(config)
    classifies = conditions[0].task.classifies  # and so do the others: study.definition.problems
    main, second = ("accuracy", "macro_f1") if classifies else ("match_accuracy", "class_accuracy")
    by_data = {_task_name(c, conditions): c for c in reversed(conditions)}

    def figure(name: str, draw: Any, text: str) -> ReportFigure:
        name = re.sub(r"[^\w-]", "_", name)  # names of data sets can hold anything
        return ReportFigure(name, *figures.themed(draw, folder / "figures", name), text)

    shares = {name: class_shares(c.experiment) for name, c in reversed(by_data.items())}
    planned = dict.fromkeys(config.conditions, config.num_seeds)
    rows = [
        {
            "name": c.name,
            "summary": summaries[c.name],
            "interval": summaries[c.name].interval(),
            "chance": np.mean(c.values("test", "chance", main)),
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
    found_mistakes = [] if classifies else [(c, c.mistakes(NUM_MISTAKES)) for c in conditions]
    return {
        "classifies": classifies,
        "config": config,
        "answers": [answer(t) for t in tests if t["source"] == "this study"],
        "examples": [
            figure(
                f"examples_{data}",
                lambda c=c: task_sheet(c.experiment, NUM_EXAMPLES),
                f"Examples of the task on {data}. Above each its text; below whether the text is "
                "true of it. The green lines are not in the data. Where the words are spoken, "
                "their spectrograms stand beside the image."
                if c.task.audio_shape is not None
                else f"Examples of the task on {data}. Above each its text; below whether the text "
                "is true of it. The green lines are not in the data.",
            )
            for data, c in reversed(by_data.items())
        ],
        "splits": {
            data: (c.experiment.splits.origin, _sizes(c)) for data, c in reversed(by_data.items())
        },
        "shapes": {c.name: c.shapes() for c in conditions},
        "rows": rows,
        "tests": tests,
        "accuracies": figure(
            "accuracies",
            lambda: figures.accuracies(conditions, published, config.published_source),
            f"{'Accuracy' if classifies else 'True/false accuracy'} of every run on the test "
            "split.",
        ),
        "probes": probe_section(conditions, figure),
        "curves": figure(
            "curves",
            lambda: figures.curves(conditions),
            "Validation loss and accuracy over training: mean over seeds, the band from the lowest "
            "to the highest seed; the thin line is the training loss.",
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
            "How often a class is taken for another (percent of the class, all seeds)."
            if classifies
            else "How often a single wrong label passed for right (percent of such pairs, all "
            "seeds), by what the image shows and what the text says.",
        ),
        "mistakes": [
            figure(
                f"mistakes_{c.name}",
                lambda c=c, found=found: figures.mistakes(c, found),
                f"{c.name}: the wrong answers with the highest mean certainty over the seeds.",
            )
            for c, found in found_mistakes
            if found
        ],
        "no_mistakes": [c.name for c, found in found_mistakes if not found],
        "shares": {
            data: {
                "names": c.class_names,
                "shares": shares[data].tolist(),
                "expected": (
                    c.experiment.splits.train.class_frequencies / c.task.num_positions
                ).tolist(),
            }
            for data, c in reversed(by_data.items())
            if c.task.num_classes <= 20
        },
        "budget": _budget(config),
        "differing": _differing(config),
        "common": _common(config),
        "versions": _versions(conditions),
        "total_seconds": duration(sum(sum(c.values("train_seconds")) for c in conditions)),
        "total_pflop": sum(sum(c.values("pflop")) for c in conditions),
        "command": command.replace("\n", " "),
        "rules": _rules(conditions),
        "failed": failed,
        "duration": duration,
    }


def _task_name(condition: ConditionResults, conditions: Sequence[ConditionResults]) -> str:
    """The data's name; with the condition's where conditions on these data differ in their task."""
    data = condition.config.data.name
    tasks = [c for c in conditions if c.config.data.name == data]
    if all(c.task == condition.task for c in tasks):
        return data
    first = next(c for c in tasks if c.task == condition.task)
    return f"{data}, {first.name}"


def _rules(conditions: Sequence[ConditionResults]) -> dict[str, list[str]]:
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


def _versions(conditions: Sequence[ConditionResults]) -> dict[str, str]:
    """The versions and devices of all runs."""
    found = [results["versions"] for c in conditions for results in c.results]
    return {name: ", ".join(dict.fromkeys(v[name] for v in found)) for name in found[0]}


def _sizes(condition: ConditionResults) -> tuple[int, int, int]:
    splits = condition.experiment.splits
    return len(splits.train), len(splits.validation), len(splits.test)


def answer(test: Mapping[str, Any]) -> str:
    """A comparison in a sentence, as it was found; the interval is of the difference it names."""
    first, second, difference = test["first"], test["second"], test["difference"]
    low, high = test["interval"]
    if difference < 0:
        first, second, difference, low, high = second, first, -difference, -high, -low
    interval = (
        f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f}; Welch's t-test, Holm-corrected "
        f"{p_value(test['holm']['welch'])})"
    )
    if test["holm"]["welch"] < 0.05:
        return f"{first} is {100 * difference:.2f} points better than {second} {interval}."
    return (
        f"Between {first} and {second} no sure difference was found: "
        f"{100 * difference:+.2f} points {interval}."
    )


def _budget(config: ConfigDict) -> str:
    samples = {name: c.train.num_samples for name, c in config.conditions.items()}
    if len(set(samples.values())) == 1:
        return (
            f"Every condition had the same budget: {config.num_seeds} seeds, each with at most "
            f"{next(iter(samples.values())):,} training pairs (rounded to whole epochs)."
        )
    listed = "; ".join(f"{name} {number:,}" for name, number in samples.items())
    return f"The budgets differ. Training pairs at most, for each of {config.num_seeds} seeds: {listed}."  # noqa: E501


def _differing(config: ConfigDict) -> dict[str, dict[str, Any]]:
    """The fields in which the conditions differ: values by field and condition."""
    fields = {name: configuration.fields(c) for name, c in config.conditions.items()}
    names = next(iter(fields.values())).keys()
    return {
        field: {name: mine[field] for name, mine in fields.items()}
        for field in names
        if len({repr(mine[field]) for mine in fields.values()}) > 1
    }


def _common(config: ConfigDict) -> dict[str, Any]:
    differing = _differing(config)
    fields = configuration.fields(next(iter(config.conditions.values())))
    hidden = ("name", "seed", "data.directory")
    return {k: v for k, v in fields.items() if k not in differing and k not in hidden}


def percent(value: float, digits: int = 2) -> str:
    """A fraction as "97.73 %"; a dash for NaN."""
    return "–" if np.isnan(value) else f"{100 * value:.{digits}f} %"


def p_value(p: float) -> str:
    """A p-value as "p = 0.012" or "p < 0.0001"."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}" if p < 0.1 else f"p = {p:.2f}"


def _escape_markdown(value: object) -> object:
    """Text from data or configuration cannot become markup, unless a template says |safe."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", value.replace("\n", " "))
    return value


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text)
