"""The figures of a study's report, each drawn from the files of its runs.

Every function returns a `Figure` in matplotlib's current style, so that `themed` can draw it for a
light and for a dark page. Conditions differ in colour, line style and marker: colour-blind readers
and grey prints tell them apart.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from multimodal_vit.analysis.figures import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    names_as_text,
    sample_sheet,
    short_number,
    shortened,
)
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_results import ConditionResults, Mistake

STYLES = [
    (BLUE, "-", "o"),
    (RED, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (ORANGE, "-", "v"),
    (SKY, "--", "P"),
]
INK_DARK, PAGE_DARK, GRID_DARK = "#e6e6e6", "#1b1d21", "#3a3d44"
DARK = {
    "figure.facecolor": PAGE_DARK,
    "savefig.facecolor": PAGE_DARK,
    "axes.facecolor": PAGE_DARK,
    "legend.facecolor": PAGE_DARK,
    "text.color": INK_DARK,
    "axes.labelcolor": INK_DARK,
    "axes.edgecolor": "#8a8d94",
    "axes.titlecolor": INK_DARK,
    "xtick.color": INK_DARK,
    "ytick.color": INK_DARK,
    "legend.labelcolor": INK_DARK,
    "grid.color": GRID_DARK,
}
LIGHTER = {BLUE: "#56b4e9", RED: "#f5935a", GREEN: "#2fc99b", PURPLE: "#e3a2c6"}  # on dark pages
COMMON = {
    "svg.hashsalt": "multimodal_vit",  # the same figure gives the same file
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
}


def themed(draw: Callable[[], Figure], folder: Path, name: str) -> tuple[str, str]:
    """Draws a figure for light and dark pages; writes the light one as PNG and SVG.

    Args:
      draw: draws in the current style.
      folder: where `name`.png and `name`.svg go.
      name: of the figure.

    Returns:
      The light and the dark SVG as data addresses, to put into a page.
    """
    addresses = []
    for style in ({}, DARK):
        with names_as_text(), mpl.rc_context(COMMON | style):
            figure = draw()
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            svg = buffer.getvalue()
            if style:
                for colour, lighter in LIGHTER.items():
                    svg = svg.replace(colour.lower(), lighter)
            else:
                (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
                figure.savefig(folder / f"{name}.png", dpi=150)
        encoded = base64.b64encode(svg.encode()).decode("ascii")
        addresses.append(f"data:image/svg+xml;base64,{encoded}")
    return addresses[0], addresses[1]


def accuracies(
    conditions: Sequence[ConditionResults], published: Mapping[str, Summary], source: str
) -> Figure:
    """Each seed's test accuracy, the mean with its 95 % interval, and the published figure."""
    figure = Figure(figsize=(7.5, 1.2 + 0.62 * len(conditions)), layout="constrained")
    axes = figure.subplots()
    for i, condition in enumerate(conditions):
        values = condition.accuracies
        axes.plot(
            values, [i] * len(values), "o", color=BLUE, markersize=5, alpha=0.75,
            label="a run" if i == 0 else None,
        )  # fmt: skip
        summary = Summary.of(values)
        low, high = summary.interval()
        if summary.n > 1:
            axes.errorbar(
                summary.mean, i + 0.22, xerr=[[summary.mean - low], [high - summary.mean]],
                fmt="|", color=BLUE, markersize=11, capsize=3, linewidth=1.6,
                label="mean and its 95 % interval" if i == 0 else None,
            )  # fmt: skip
        if condition.name in published:
            known = published[condition.name]
            axes.errorbar(
                known.mean, i - 0.22, xerr=known.std, fmt="D", color=RED, markersize=6,
                markerfacecolor="none", capsize=3, linestyle="none",
                label=f"{source or 'published'} (mean ± s.d.)" if condition is _first(
                    conditions, published) else None,
            )  # fmt: skip
    axes.set_yticks(range(len(conditions)), [c.name for c in conditions])
    axes.set_ylim(len(conditions) - 0.5, -0.5)
    kind = "accuracy" if conditions[0].task.classifies else "true/false accuracy"
    axes.set_xlabel(f"{kind} on the test split")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=3, fontsize=9, frameon=False)
    return figure


def _first(
    conditions: Sequence[ConditionResults], published: Mapping[str, Summary]
) -> ConditionResults:
    return next(c for c in conditions if c.name in published)


def curves(conditions: Sequence[ConditionResults]) -> Figure:
    """Validation loss and accuracy over the pairs seen, like the thesis's Figure 4.1.

    One column for each data set; the line is the mean over seeds, the band their range, the thin
    line the mean training loss.
    """
    groups = by_data(conditions)
    figure = Figure(figsize=(5.2 * len(groups), 7.2), layout="constrained")
    panels = figure.subplots(2, len(groups), squeeze=False, sharex="col", sharey="row")
    for column, (data, members) in enumerate(groups.items()):
        loss, accuracy = panels[:, column]
        loss.set_title(data)
        for (colour, line, marker), condition in zip(styles(), members, strict=False):
            seeds = len(condition.runs)
            label = f"{condition.name} ({seeds} seed{'s' if seeds > 1 else ''})"
            main = "accuracy" if condition.task.classifies else "match_accuracy"
            for axes, metric in ((loss, "loss"), (accuracy, main)):
                curve(axes, condition, metric, (colour, line, marker), label)
            samples, values = condition.curve("train", "loss")
            loss.plot(samples, np.nanmean(values, axis=0), line, color=colour, linewidth=0.7)
        if not members[0].task.classifies:
            accuracy.axhline(0.5, color="0.5", linewidth=0.8, linestyle=(0, (1, 3)))
        pairs_seen(accuracy)
        loss.legend(fontsize=9, frameon=False)
    classifies = conditions[0].task.classifies
    panels[0, 0].set_ylabel(
        "cross entropy (nats)" if classifies else "binary cross entropy (nats per output)"
    )
    panels[0, 0].set_ylim(bottom=0)
    panels[1, 0].set_ylabel(f"{'' if classifies else 'true/false '}accuracy, validation")
    panels[1, 0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def curve(
    axes: Axes, condition: ConditionResults, metric: str, style: tuple[str, str, str], label: str
) -> None:
    """Draws a validation metric over training: the mean over seeds, and the band of their range."""
    colour, line, marker = style
    samples, values = condition.curve("validation", metric)
    axes.plot(
        samples, np.nanmean(values, axis=0), line, color=colour, marker=marker,
        markersize=4, linewidth=1.8, label=label,
    )  # fmt: skip
    axes.fill_between(
        samples, np.nanmin(values, axis=0), np.nanmax(values, axis=0),
        color=colour, alpha=0.2, linewidth=0,
    )  # fmt: skip


def pairs_seen(axes: Axes) -> None:
    """Names and scales the axis of the training pairs seen, from 0."""
    axes.set_xlabel("training pairs seen")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short_number(x)))
    axes.set_xlim(left=0)


def by_replaced(conditions: Sequence[ConditionResults]) -> Figure:
    """The accuracy on true pairs and on false pairs by how many labels are wrong."""
    groups = by_data(conditions)
    figure = Figure(figsize=(4.6 * len(groups), 3.8), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (data, members) in zip(panels, groups.items(), strict=True):
        axes.set_title(data)
        for (colour, line, marker), condition in zip(styles(), members, strict=False):
            by_number = condition.accuracy_by_replaced()
            summaries = [Summary.of(values) for values in by_number.values()]
            spread = [0.0 if np.isnan(s.std) else s.std for s in summaries]
            axes.errorbar(
                list(by_number), [s.mean for s in summaries], yerr=spread, linestyle=line,
                color=colour, marker=marker, markersize=5, capsize=3, label=condition.name,
            )  # fmt: skip
            numbers = list(by_number)
        axes.set_xticks(numbers, ["0\n(true pair)", *map(str, numbers[1:])])
        axes.set_xlabel("labels that are wrong")
        axes.legend(fontsize=9, frameon=False, loc="lower right")
    several = max(len(c.runs) for c in conditions) > 1
    panels[0].set_ylabel(f"answered rightly{' (mean ± s.d. of seeds)' if several else ''}")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def confusions(conditions: Sequence[ConditionResults]) -> Figure:
    """How often a single wrong label passes for right, by the class shown and the class named.

    Of classifiers, how often a class is taken for another.
    """
    classifies = conditions[0].task.classifies
    columns = min(2, len(conditions))
    rows = -(-len(conditions) // columns)
    figure = Figure(figsize=(5.4 * columns, 5.0 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    shares = [condition.confusion() for condition in conditions]
    highest = max(0.01, *(np.nanmax(share, initial=0.0) for share in shares))
    for axes, condition, share in zip(panels, conditions, shares, strict=False):
        picture = axes.imshow(share, cmap="cividis", vmin=0, vmax=highest)
        names = list(map(shortened, condition.class_names))
        if len(names) <= 20:
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.set_yticks(range(len(names)), names)
        if len(names) <= 12:
            _write_shares(axes, share, highest)
        axes.set_title(condition.name)
        axes.set_xlabel("the model says" if classifies else "the text says")
        axes.set_ylabel("the class is" if classifies else "the image shows")
        axes.grid(visible=False)
    for axes in list(figure.axes)[len(conditions) :]:
        axes.set_axis_off()
    figure.colorbar(
        picture, ax=list(figure.axes), format=PercentFormatter(1.0, decimals=0), shrink=0.6,
        label="of the class" if classifies
        else "pairs with this one wrong label that were taken for true",
    )  # fmt: skip
    return figure


def _write_shares(axes: Axes, share: np.ndarray, highest: float) -> None:
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.005:
            axes.text(
                column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7,
                color="black" if value > 0.55 * highest else "white",
            )  # fmt: skip


def mistakes(condition: ConditionResults, found: Sequence[Mistake]) -> Figure:
    """The wrong answers that the seeds together are surest of."""
    notes = [
        f"model: {'true' if m.probability > 0.5 else 'false'}, p = {m.certainty:.3f}" for m in found
    ]
    return sample_sheet(
        np.stack([m.image for m in found]),
        np.stack([m.words for m in found]),
        np.stack([m.labels for m in found]),
        condition.task.grid,
        condition.class_names,
        notes=notes,
    )


def by_data(conditions: Sequence[ConditionResults]) -> dict[str, list[ConditionResults]]:
    """Conditions by the name of their data set, a panel each."""
    groups: dict[str, list[ConditionResults]] = {}
    for condition in conditions:
        groups.setdefault(condition.config.data.name, []).append(condition)
    return groups


def styles() -> list[tuple[str, str, str]]:
    """Colour, line and marker of each condition of a panel."""
    return STYLES * 8
