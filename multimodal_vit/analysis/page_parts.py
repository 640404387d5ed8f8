"""What the pages of studies and of single runs share: their runs, the strip, pictures, rules."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit.analysis import figure_data, scale_figure
from multimodal_vit.analysis import study_figures as figures
from multimodal_vit.analysis.figures import task_sheet
from multimodal_vit.analysis.pages import MakeFigure
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.evaluate import has_verdict
from multimodal_vit.study.definition import StudyRun
from multimodal_vit.study.runner import load_data

NUM_EXAMPLES = NUM_MISTAKES = 8


def finished_conditions(config: ConfigDict, all_runs: Sequence[StudyRun]) -> list[ConditionResults]:
    """The conditions that have a finished run, with these runs.

    Those without a verdict, which only learn for others, are left out.
    """
    runs: dict[str, list[StudyRun]] = {}
    for run in all_runs:
        if has_verdict(run.workdir.results()):
            runs.setdefault(run.condition, []).append(run)
    ordered = {name: runs[name] for name in config.conditions if name in runs}
    splits_of = load_data(mine[0].config for mine in ordered.values())
    return [ConditionResults(n, mine, splits_of(mine[0].config)) for n, mine in ordered.items()]


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
    return figure(
        "scale",
        lambda: scale_figure.strip(known, said),
        about,
        lambda: figure_data.places(conditions),
    )


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
                "true of it, and what is wrong, which is framed. In the data the images touch."
                + (
                    " Where the words are spoken, their spectrograms stand beside the image."
                    if c.task.audio_shape is not None
                    else ""
                ),
                lambda c=c: _examples(c),
            )
            for data, c in by_data(conditions).items()
        ],
        "curves": [
            figure(
                "curves",
                lambda: figures.losses(conditions),
                f"Validation loss over training{over}; the thin line is the training loss.",
                lambda: figure_data.curves(conditions, ["loss"], ["loss"]),
            ),
            figure(
                "curves_accuracy",
                lambda: figures.validation_accuracies(conditions),
                f"Validation accuracy over training{over}.",
                lambda: figure_data.curves(
                    conditions, ["accuracy" if classifies else "match_accuracy"]
                ),
            ),
        ],
        "by_replaced": None
        if classifies
        else figure(
            "by_replaced",
            lambda: figures.by_replaced(conditions),
            "Right answers by how many labels of the text are wrong.",
            lambda: figure_data.by_replaced(conditions),
        ),
        "confusions": figure(
            "confusions",
            lambda: figures.confusions(conditions),
            f"How often a class is taken for another (percent of the class{all_seeds})."
            if classifies
            else "How often a single wrong label passed for right (percent of such pairs"
            f"{all_seeds}), by what the image shows and what the text says.",
            lambda: figure_data.confusions(conditions),
        ),
        "mistakes": [
            figure(
                f"mistakes_{c.name}",
                lambda c=c, found=found: figures.mistakes(c, found),
                f"{c.name}: the wrong answers with the highest "
                f"{'mean certainty over the seeds' if seeds else 'certainty'}.",
                lambda c=c, found=found: figure_data.mistakes(c, found),
            )
            for c, found in found_mistakes
            if found
        ],
        "no_mistakes": [c.name for c, found in found_mistakes if not found],
    }


def _examples(condition: ConditionResults) -> Any:
    """The rows of the examples that `task_sheet` draws."""
    batch = condition.experiment.examples(NUM_EXAMPLES)
    return figure_data.pairs(batch.inputs["words"], batch.labels, condition.class_names)


def by_data(conditions: Sequence[ConditionResults]) -> dict[str, ConditionResults]:
    """A condition of each data set, and of each task on it."""
    by_data = {_task_name(c, conditions): c for c in reversed(conditions)}
    return dict(reversed(by_data.items()))


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


def common_fields(config: ConfigDict, differing: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in which the conditions agree."""
    fields = configuration.fields(next(iter(config.conditions.values())))
    hidden = ("name", "seed", "data.directory")
    return {k: v for k, v in fields.items() if k not in differing and k not in hidden}
