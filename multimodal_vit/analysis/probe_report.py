"""What the models of a study use: the tables and figures of a page."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from multimodal_vit.analysis import attention_figures, figure_data, probe_tables
from multimodal_vit.analysis.drawing import styles
from multimodal_vit.analysis.failure_sheet import failure_sheet, failures_in
from multimodal_vit.analysis.pages import MakeFigure
from multimodal_vit.analysis.study_figures import (
    add_key,
    by_data,
    curve,
    key_height,
    pairs_seen,
    panel_width,
)
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.foils import SURE
from multimodal_vit.probes.attention import AttentionExample, AttentionResult
from multimodal_vit.suites import suites_for


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
                figure(
                    f"{name}_{c.name}",
                    lambda draw=draw, shown=shown: draw(shown),
                    text,
                    lambda data=data, shown=shown: data(shown),
                )
                for name, (draw, text, data) in shown_figures.items()
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
            lambda: figure_data.reliability(calibrated),
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
            lambda: figure_data.curves(followed, list(_metrics(followed).values())),
        )
        if followed
        else None,
        "failures": [
            figure(
                f"failures_{c.name}",
                lambda c=c, found=found: failure_sheet(found, c.task.grid, c.class_names),
                f"{c.name}, seed {c.runs[0].config.seed}: pairs that fail the checks, before and "
                "after the change. A cross marks a wrong answer, a frame what changed.",
                lambda c=c, found=found: figure_data.failures(found, c.class_names),
            )
            for c in conditions
            if (found := failures_in(c.evidence))
        ],
    }


ATTENTION_FIGURES: dict[
    str,
    tuple[
        Callable[[AttentionResult], Figure],
        str,
        Callable[[AttentionResult], Iterable[dict[str, Any]]],
    ],
] = {
    "true_and_false": (
        attention_figures.true_and_false,
        "One image with a true text and with one wrong word: what hiding parts of it does to "
        "the answer, and the attention between words and image (bright: much).",
        figure_data.true_and_false,
    ),
    "own_shares": (
        attention_figures.own_shares,
        "Attention between word i and quadrant i, by layer and head, over 1,000 pairs.",
        figure_data.own_shares,
    ),
    "patch_to_word": (
        lambda result: attention_figures.attention(result, "patch_to_word"),
        "How much each part of the image looks at each word of its true text, by layer.",
        figure_data.attention("patch_to_word"),
    ),
    "word_to_patch": (
        lambda result: attention_figures.attention(result, "word_to_patch"),
        "Where each word of the true text looks in the image, by layer.",
        figure_data.attention("word_to_patch"),
    ),
    "word_to_patch_by_head": (
        lambda result: attention_figures.attention(result, "word_to_patch", by_head=True),
        "The same, by head, in the layer that looks at its own quadrants most.",
        figure_data.attention("word_to_patch"),
    ),
    "rollout": (
        attention_figures.rollout_and_occlusion,
        "Attention rollout from the class token, and what hiding quadrants and windows does.",
        figure_data.rollout,
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
    height = 4.2 + key_height(conditions)
    figure = Figure(figsize=(panel_width(len(groups)) * len(groups), height), layout="constrained")
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
    add_key(figure, panels, "lower right")
    panels[0].set_ylabel("share that is right")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def in_training(conditions: Sequence[ConditionResults]) -> Figure:
    """Suites over training: a row for each suite, a column for each data set."""
    groups = by_data(conditions)
    metrics = _metrics(conditions)
    names = list(metrics)
    figure = Figure(
        figsize=(
            panel_width(len(groups)) * len(groups),
            2.6 * len(names) + 0.4 + key_height(conditions),
        ),
        layout="constrained",
    )
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
                axes.set_ylabel(f"{name}\n{_measured(metrics[name], _is_foil(name, conditions))}")
        pairs_seen(panels[-1, column])
    add_key(figure, panels[0])
    return figure


def _metrics(conditions: Sequence[ConditionResults]) -> dict[str, str]:
    """The metric of each suite that some condition was asked over training."""
    names = dict.fromkeys(n for c in conditions for n in c.config.evaluation.suites_in_training)
    return {name: _metric_of(name, _is_foil(name, conditions), conditions) for name in names}


def _is_foil(name: str, conditions: Sequence[ConditionResults]) -> bool:
    known = {name: s for c in conditions for name, s in suites_for(c.task).items()}
    return name in known and known[name].foil


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
