"""The figures of a search's page, from `search.results.summary`, and what each shows as rows."""

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from optuna.distributions import CategoricalDistribution

from multimodal_vit.analysis.drawing import BLUE, HALF, SMALL, WIDE, styles
from multimodal_vit.analysis.search_report import (
    TRIALS_FOR_IMPORTANCES,
    fields_of,
    finished,
    label,
)
from multimodal_vit.foils import SURE


def readings(conditions: dict[str, dict[str, Any]]) -> Figure:
    """Each finished trial's accuracy, and how far it tells texts in another order from true ones.

    The bars are from the lowest to the highest seed.
    """
    figure = Figure(figsize=(HALF, 3.4), layout="constrained")
    axes = figure.subplots()
    for (colour, _, marker), (name, condition) in zip(styles(), conditions.items(), strict=False):
        asked = [row for row in finished(condition) if row["order_auroc"]]
        places = [
            np.array([[np.mean(row[metric]), min(row[metric]), max(row[metric])] for row in asked])
            for metric in ("match_accuracy", "order_auroc")
        ]
        if not asked:
            continue
        (x, x_low, x_high), (y, y_low, y_high) = (place.T for place in places)
        axes.errorbar(
            x, y, xerr=[x - x_low, x_high - x], yerr=[y - y_low, y_high - y], fmt=marker,
            color=colour, markersize=5, linewidth=1, label=name,
        )  # fmt: skip
    axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle=(0, (1, 3)))
    axes.axhline(SURE, color="0.5", linewidth=0.8, linestyle=(0, (6, 3)))
    axes.set_xlabel("true/false accuracy, validation")
    axes.set_ylabel("AUROC of order foils")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend()
    return figure


def reading_rows(conditions: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What `readings` shows: a row for each seed of each finished trial."""
    for name, condition in conditions.items():
        for row in finished(condition):
            for accuracy, auroc in zip(row["match_accuracy"], row["order_auroc"], strict=False):
                told = {"condition": name, "trial": row["trial"]}
                yield told | {"accuracy": accuracy, "order_foil_auroc": auroc}


def trial_rows(condition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What `parallel_coordinate` shows."""
    for row in finished(condition):
        told = {"trial": row["trial"], "match_accuracy_mean": row["match_accuracy_mean"]}
        yield told | row["setting"]


def parallel_coordinate(done: list[dict[str, Any]], fields: list[str]) -> Figure:
    """A line for each trial through its value of each field to its accuracy, which colours it."""
    width = max(HALF, min(WIDE, 2.5 + 1.5 * len(fields)))
    figure = Figure(figsize=(width, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=False)
    accuracy = np.array([row["match_accuracy_mean"] for row in done])
    low, high = accuracy.min(), max(accuracy.max(), accuracy.min() + 1e-3)
    colours = matplotlib.colormaps["viridis_r"]  # its middle: seen on light and on dark pages
    columns = []
    for place, field in enumerate(fields):
        values = sorted({row["setting"][field] for row in done}, key=_order)
        heights = np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
        columns.append([heights[values.index(row["setting"][field])] for row in done])
        axes.axvline(place, color="0.6", linewidth=0.8)
        for height, value in zip(heights, values, strict=True):
            axes.text(
                place + 0.04, height, f"{value}", va="center", fontsize=SMALL, color="black",
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}, zorder=5,
            )  # fmt: skip
    columns.append(list((accuracy - low) / (high - low)))
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, (len(fields) + 1, len(done)))
    jitter[-1] = 0  # equal lines are told apart by a little; the accuracy is exact
    heights = np.array(columns) + jitter
    for i in np.argsort(accuracy):
        best = i == accuracy.argmax()
        axes.plot(
            heights[:, i], color=colours(0.15 + 0.55 * (accuracy[i] - low) / (high - low)),
            linewidth=2.5 if best else 1.1, alpha=1 if best else 0.75,
        )  # fmt: skip
    axes.set_xticks(
        range(len(fields) + 1), [*map(_two_lines, fields), "mean true/false\naccuracy,\nvalidation"]
    )
    axes.set_xlim(-0.1, len(fields))
    axes.set_ylim(-0.06, 1.06)
    axes.yaxis.tick_right()
    ticks = np.linspace(0, 1, 6)
    axes.set_yticks(ticks, [f"{low + t * (high - low):.2%}" for t in ticks])
    for side in ("top", "bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(f"{len(done)} finished trials; the thick line is the winner")
    return figure


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _two_lines(field: str) -> str:
    return label(field).replace(", ", "\n").replace(" ", "\n", 1)


def importances(condition: dict[str, Any]) -> dict[str, float]:
    """Each field's share of the variance that the fields explain one by one (fANOVA)."""
    fields, done = fields_of(condition), finished(condition)
    distributions = {
        field: CategoricalDistribution(
            sorted({row["setting"][field] for row in condition["trials"]}, key=_order)
        )
        for field in fields
    }
    study = optuna.create_study(direction="maximize")
    for row in done:
        study.add_trial(
            optuna.trial.create_trial(
                params=row["setting"],
                distributions=distributions,
                value=row["match_accuracy_mean"],
            )  # fmt: skip
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def bars(shares: dict[str, float], num_trials: int) -> Figure:
    """The importances as bars, with a warning where the trials are few for the fields."""
    enough = num_trials >= TRIALS_FOR_IMPORTANCES * len(shares)
    figure = Figure(figsize=(HALF, 1.7 + 0.4 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = [label(field) for field in reversed(shares)]
    drawn = axes.barh(names, list(reversed(shares.values())), color=BLUE)
    axes.bar_label(drawn, fmt=lambda share: f"{share:.0%}", padding=3)
    axes.set_xlim(0, 1.15)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(
        "share of the explained variance of the mean\n"
        f"validation accuracy (fANOVA, {num_trials} finished trials)"
        + ("" if enough else "\ntoo few trials for these fields: they say little")
    )
    axes.grid(visible=False, axis="y")
    return figure
