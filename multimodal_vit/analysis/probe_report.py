"""What the models of a study use: the tables and figures of a page."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from multimodal_vit.analysis import attention_figures, probe_tables
from multimodal_vit.analysis.figures import sample_sheet
from multimodal_vit.analysis.pages import MakeFigure
from multimodal_vit.analysis.study_figures import by_data, curve, pairs_seen, styles
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.foils import SURE
from multimodal_vit.probes.attention import AttentionExample, AttentionResult
from multimodal_vit.suites import all_checks, suites_for


def probe_section(conditions: Sequence[ConditionResults], figure: MakeFigure) -> dict[str, Any]:
    """What the page says about probes; parts that no run was asked are empty.

    Args:
      conditions: of the study.
      figure: draws a figure for the page, from a name, a function and a caption.
    """
    calibrated = [c for c in conditions if c.probed("suites", "standard", "reliability")]
    followed = [c for c in conditions if c.config.evaluation.suites_in_training]
    # All of them for each of many conditions would make a page of tens of megabytes.
    few = ATTENTION_FIGURES if len(conditions) <= 2 else OF_MANY
    shown_figures = {name: ATTENTION_FIGURES[name] for name in few}
    single = len(conditions) == 1 and len(conditions[0].runs) == 1
    tables = probe_tables.tables_of_a_run if single else probe_tables.tables_of_a_study
    suites, checks = tables(conditions)
    return {
        "suites": suites,
        "referred": probe_tables.referred(conditions),
        "checks": checks,
        "attention": probe_tables.attention(conditions),
        "attention_figures": {
            c.name: [
                figure(f"{name}_{c.name}", lambda draw=draw, shown=shown: draw(shown), text)
                for name, (draw, text) in shown_figures.items()
            ]
            for c in conditions
            if (shown := _attention_of(c)) is not None
        },
        "reliability": figure(
            "reliability",
            lambda: reliability(calibrated),
            "Of the answers with a certainty, the share that is right, on the standard suite"
            f"{'' if single else ' (mean over seeds)'}; on the dotted line a model knows how sure "
            "it may be. ECE: the mean distance from it.",
        )
        if calibrated
        else None,
        "in_training": figure(
            "suites_in_training",
            lambda: in_training(followed),
            "Suites over training, on the validation split: of foils the AUROC against true texts "
            f"(a model reads in order from {SURE} on, of order foils), else the share of right "
            "answers."
            + ("" if single else " Mean over seeds; the band from the lowest to the highest."),
        )
        if followed
        else None,
        "failures": [
            figure(
                f"failures_{c.name}",
                lambda c=c: failures(c),
                f"{c.name}, seed {c.runs[0].config.seed}: pairs that fail the checks, before and "
                "after the change. Below each whether its text is true, and the model's answer.",
            )
            for c in conditions
            if any(not name.startswith("attention/") for name in c.evidence)
        ],
    }


ATTENTION_FIGURES: dict[str, tuple[Callable[[AttentionResult], Figure], str]] = {
    "true_and_false": (
        attention_figures.true_and_false,
        "One image with a true text and with one wrong word: what hiding parts of it does to "
        "the answer, and the attention between words and image.",
    ),
    "own_shares": (
        attention_figures.own_shares,
        "Attention between word i and quadrant i, by layer and head, over 1,000 pairs.",
    ),
    "patch_to_word": (
        lambda result: attention_figures.attention(result, "patch_to_word"),
        "How much each part of the image looks at each word of its true text, by layer.",
    ),
    "word_to_patch": (
        lambda result: attention_figures.attention(result, "word_to_patch"),
        "Where each word of the true text looks in the image, by layer.",
    ),
    "word_to_patch_by_head": (
        lambda result: attention_figures.attention(result, "word_to_patch", by_head=True),
        "The same, by head, in the layer that looks at its own quadrants most.",
    ),
    "rollout": (
        attention_figures.rollout_and_occlusion,
        "Attention rollout from the class token, and what hiding quadrants and windows does.",
    ),
}

OF_MANY = ("true_and_false", "own_shares")  # where there are more than two conditions


def _attention_of(condition: ConditionResults) -> AttentionResult | None:
    """The first run's attention, as far as it was asked and has any."""
    begins = "attention/"
    arrays = {
        name.removeprefix(begins): array
        for name, array in condition.evidence.items()
        if name.startswith(begins)
    }
    numbers = condition.results[0].get("attention")
    if not arrays or not numbers:
        return None
    example = AttentionExample.of(arrays)
    return AttentionResult(numbers, example, condition.task.grid, condition.class_names)


def reliability(conditions: Sequence[ConditionResults]) -> Figure:
    """Reliability diagrams (Guo et al. 2017), a panel for each data set."""
    groups = by_data(conditions)
    figure = Figure(figsize=(4.8 * len(groups), 4.4), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (data, members) in zip(panels, groups.items(), strict=True):
        axes.set_title(data)
        axes.plot([0.5, 1], [0.5, 1], color="0.5", linewidth=0.9, linestyle=(0, (1, 3)))
        for (colour, line, marker), condition in zip(styles(), members, strict=False):
            bins = condition.probed("suites", "standard", "reliability")
            count, sums = 0, [0, 0]
            for found in bins:
                n = np.array(found["count"])
                parts = [np.array(found[name], float) for name in ("certainty", "right")]
                sums = [
                    s + np.where(n > 0, n * np.nan_to_num(x), 0)
                    for s, x in zip(sums, parts, strict=True)
                ]
                count = count + n
            enough = count >= 20
            ece = np.mean(condition.probed("suites", "standard", "ece"))
            axes.plot(
                sums[0][enough] / count[enough], sums[1][enough] / count[enough], line,
                color=colour, marker=marker, markersize=4,
                label=f"{condition.name} (ECE {100 * ece:.1f} %)",
            )  # fmt: skip
        axes.set_xlabel("certainty of the answer")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    panels[0].set_ylabel("share that is right")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def in_training(conditions: Sequence[ConditionResults]) -> Figure:
    """Suites over training: a row for each suite, a column for each data set."""
    groups = by_data(conditions)
    names = list(
        dict.fromkeys(n for c in conditions for n in c.config.evaluation.suites_in_training)
    )
    known = {name: s for c in conditions for name, s in suites_for(c.task).items()}
    foils = {name: name in known and known[name].foil for name in names}
    metrics = {name: _metric_of(name, foils[name], conditions) for name in names}
    figure = Figure(figsize=(5.6 * len(groups), 3.3 * len(names) + 0.4), layout="constrained")
    panels = figure.subplots(len(names), len(groups), squeeze=False, sharex="col", sharey="row")
    for column, (data, members) in enumerate(groups.items()):
        panels[0, column].set_title(data)
        for row, name in enumerate(names):
            axes = panels[row, column]
            for style, condition in zip(styles(), members, strict=False):
                if name in condition.config.evaluation.suites_in_training:
                    curve(axes, condition, metrics[name], style, condition.name)
            if metrics[name].endswith(".auroc"):
                axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle=(0, (1, 3)))
                axes.axhline(SURE, color="0.5", linewidth=0.8, linestyle=(0, (6, 3)))
            else:
                axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            if column == 0:
                axes.set_ylabel(f"{name}\n{_measured(metrics[name], foils[name])}")
            if row == 0:
                axes.legend(fontsize=8, frameon=False)
        pairs_seen(panels[-1, column])
    return figure


def _metric_of(name: str, foil: bool, conditions: Sequence[ConditionResults]) -> str:
    """What a suite's curve shows: of foils AUROC, where every run that was asked has logged it."""
    asked = [c for c in conditions if name in c.config.evaluation.suites_in_training]
    auroc = f"suites.{name}.auroc"
    logged = all(c.curve("validation", auroc)[0].size for c in asked)
    return auroc if foil and logged else f"suites.{name}"


def _measured(metric: str, foil: bool) -> str:
    if metric.endswith(".auroc"):
        return "AUROC against true texts"
    return "rejected (bias and all)" if foil else "right answers"


def failures(condition: ConditionResults) -> Figure:
    """Up to two failed pairs of every check, before and after its change."""
    evidence = condition.evidence
    shown: dict[str, list[np.ndarray]] = {"image": [], "words": [], "labels": []}
    notes = []
    for check in [*all_checks(), "consistent"]:
        for i in range(2):
            for when in ("before", "after"):
                place = f"{check}/{when}"
                if f"{place}/image" not in evidence or i >= len(evidence[f"{place}/image"]):
                    continue
                for name, arrays in shown.items():
                    arrays.append(evidence[f"{place}/{name}"][i])
                p = float(evidence[f"{place}/probability"][i])
                says = f"model: {'true' if p > 0.5 else 'false'}, p = {max(p, 1 - p):.3f}"
                both = f"{check}/before/image" in evidence
                notes.append(f"{check}{', ' + when if both else ''}\n{says}")
    return sample_sheet(
        np.stack(shown["image"]), np.stack(shown["words"]), np.stack(shown["labels"]),
        condition.task.grid, condition.class_names, notes=notes,
    )  # fmt: skip
