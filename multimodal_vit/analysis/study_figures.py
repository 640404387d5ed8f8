"""The figures of a study's report, each drawn from the files of its runs.

Every function returns a `Figure` in matplotlib's current style, so that `pages.themed` can draw it
for a light and for a dark page. Conditions differ in colour, line style and marker: colour-blind
readers and grey prints tell them apart.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from multimodal_vit.analysis.drawing import (
    BLUE,
    HALF,
    RED,
    TINY,
    WIDE,
    short_number,
    shortened,
    styles,
)
from multimodal_vit.analysis.sheets import sample_sheet
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_results import ConditionResults, Mistake


def panel_width(groups: int) -> float:
    """Inches of a panel where so many stand side by side."""
    return HALF if groups <= 2 else WIDE / groups


MOST_INSIDE = 4  # conditions whose legend leaves room for the lines beside it


def key_height(conditions: Sequence[ConditionResults]) -> float:
    """Inches below a figure that the legend of many conditions takes."""
    return 0.2 * len(conditions) if len(conditions) > MOST_INSIDE else 0.0


def add_key(figure: Figure, panels: Sequence[Axes], loc: str = "best") -> None:
    """Adds legends: within the panels, or of many conditions one below all, each name once."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) > MOST_INSIDE:
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=1)
    else:
        for axes in panels:
            axes.legend(loc=loc)


def accuracies(
    conditions: Sequence[ConditionResults], published: Mapping[str, Summary], source: str
) -> Figure:
    """Each run's test accuracy, its interval or that of the mean, and the published figure.

    The interval of a single run is that over images, of several that of their mean over seeds.
    """
    longest = max(len(c.name) for c in conditions)
    figure = Figure(
        figsize=(HALF if longest <= 18 else WIDE * 0.65, 1.5 + 0.5 * len(conditions)),
        layout="constrained",
    )
    axes = figure.subplots()
    labelled: set[str] = set()

    def once(text: str) -> str | None:
        return None if text in labelled else labelled.add(text) or text

    for i, condition in enumerate(conditions):
        values = condition.accuracies
        mean, (low, high) = float(np.mean(values)), condition.interval
        single = len(values) == 1
        axes.plot(
            values, [i] * len(values), "o", color=BLUE, markersize=5, alpha=0.75,
            label=once("a run"),
        )  # fmt: skip
        axes.errorbar(
            mean, i if single else i + 0.22, xerr=[[mean - low], [high - mean]],
            fmt="none" if single else "|", color=BLUE, markersize=11, capsize=3, linewidth=1.6,
            label=once("its 95 % interval, by image" if single else "mean and its 95 % interval"),
        )  # fmt: skip
        if condition.name in published:
            known = published[condition.name]
            axes.errorbar(
                known.mean, i - 0.22, xerr=known.std, fmt="D", color=RED, markersize=6,
                markerfacecolor="none", capsize=3, linestyle="none",
                label=once(f"{source or 'published'} (mean ± s.d.)"),
            )  # fmt: skip
    axes.set_yticks(range(len(conditions)), [c.name for c in conditions])
    axes.set_ylim(len(conditions) - 0.5, -0.5)
    kind = "accuracy" if conditions[0].task.classifies else "true/false accuracy"
    axes.set_xlabel(f"{kind} on the test split")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=1)
    return figure


def losses(conditions: Sequence[ConditionResults]) -> Figure:
    """Validation loss over the pairs seen, like the thesis's Figure 4.1; a panel for each data set.

    The line is the mean over seeds, the band their range, the thin line the mean training loss.
    """
    unit = (
        "cross entropy (nats)"
        if conditions[0].task.classifies
        else "binary cross entropy\n(mean over the outputs)"
    )

    def with_training(axes: Axes, c: ConditionResults, style: tuple[str, str, str]) -> None:
        samples, values = c.curve("train", "loss")
        axes.plot(samples, np.nanmean(values, axis=0), style[1], color=style[0], linewidth=0.7)

    figure, panels = _over_training(conditions, "loss", with_training)
    panels[0].set_ylabel(unit)
    panels[0].set_ylim(bottom=0)
    return figure


def validation_accuracies(conditions: Sequence[ConditionResults]) -> Figure:
    """Validation accuracy over the pairs seen, as `losses`."""
    classifies = conditions[0].task.classifies
    figure, panels = _over_training(conditions, "accuracy" if classifies else "match_accuracy")
    for axes in panels if not classifies else ():
        axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle=(0, (1, 3)))
    panels[0].set_ylabel(f"{'' if classifies else 'true/false '}accuracy, validation")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def _over_training(
    conditions: Sequence[ConditionResults],
    metric: str,
    more: Callable[[Axes, ConditionResults, tuple[str, str, str]], None] | None = None,
) -> tuple[Figure, Sequence[Axes]]:
    """A metric over training: a panel for each data set, a line for each condition."""
    groups = by_data(conditions)
    height = 3.4 + key_height(conditions)
    figure = Figure(figsize=(panel_width(len(groups)) * len(groups), height), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (data, members) in zip(panels, groups.items(), strict=True):
        axes.set_title(data)
        for style, condition in zip(styles(), members, strict=False):
            seeds = len(condition.runs)
            label = f"{condition.name} ({seeds} seed{'s' if seeds > 1 else ''})"
            curve(axes, condition, metric, style, label)
            if more is not None:
                more(axes, condition, style)
        pairs_seen(axes)
    add_key(figure, panels)
    return figure, panels


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
    height = 3.6 + key_height(conditions)
    figure = Figure(figsize=(panel_width(len(groups)) * len(groups), height), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (data, members) in zip(panels, groups.items(), strict=True):
        axes.set_title(data)
        for (colour, line, marker), condition in zip(styles(), members, strict=False):
            by_number = condition.accuracy_by_replaced()
            summaries = [Summary.of(values) for values in by_number.values()]
            means = [s.mean for s in summaries]
            if len(condition.runs) > 1:
                spread = np.array([[s.std, s.std] for s in summaries])
            else:
                ends = intervals_by_replaced(condition)
                spread = np.array([
                    [mean - ends[n][0], ends[n][1] - mean] if n in ends else [0.0, 0.0]
                    for n, mean in zip(by_number, means, strict=True)
                ])  # fmt: skip
            axes.errorbar(
                list(by_number), means, yerr=np.maximum(spread, 0).T, linestyle=line,
                color=colour, marker=marker, markersize=5, capsize=3, label=condition.name,
            )  # fmt: skip
            numbers = list(by_number)
        axes.set_xticks(numbers, ["0\n(true pair)", *map(str, numbers[1:])])
        axes.set_xlabel("labels that are wrong")
    add_key(figure, panels, "lower right")
    several = max(len(c.runs) for c in conditions) > 1
    panels[0].set_ylabel(
        "answered rightly"
        + ("\n(mean ± s.d. of seeds)" if several else "\n(95 % interval, by image)")
    )
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def intervals_by_replaced(condition: ConditionResults) -> dict[int, tuple[float, float]]:
    """The first run's 95 % intervals, by image, of the shares by the number of wrong labels."""
    between = condition.results[0]["test"]["intervals"]
    known = dict(between.get("match_accuracy_by_replaced", {}))
    if (of_true := between.get("match_accuracy_true")) is not None:
        known["0"] = of_true
    return {int(number): (low, high) for number, (low, high) in known.items()}


def confusions(conditions: Sequence[ConditionResults]) -> Figure:
    """How often a single wrong label passes for right, by the class shown and the class named.

    Of classifiers, how often a class is taken for another.
    """
    classifies = conditions[0].task.classifies
    columns = min(2, len(conditions))
    rows = -(-len(conditions) // columns)
    figure = Figure(figsize=(HALF * columns, 4.7 * rows), layout="constrained")
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
        else "pairs with this one wrong\nlabel that were taken for true",
    )  # fmt: skip
    return figure


def _write_shares(axes: Axes, share: np.ndarray, highest: float) -> None:
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.005:
            axes.text(
                column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=TINY,
                color="black" if value > 0.55 * highest else "white",
            )  # fmt: skip


def mistakes(condition: ConditionResults, found: Sequence[Mistake]) -> Figure:
    """The wrong answers that the seeds together are surest of."""
    notes = [
        f"says {'true' if m.probability > 0.5 else 'false'}, p = {m.certainty:.3f} ✗ wrong"
        for m in found
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
