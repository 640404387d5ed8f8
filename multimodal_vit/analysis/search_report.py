"""A search's results for people: tables on screen, a tidy CSV file, and figures."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from optuna.distributions import CategoricalDistribution
from rich.table import Table

from multimodal_vit.analysis.figures import BLUE, names_as_text, save
from multimodal_vit.files import replacing

LABELS = {
    "model.dropout_rate": "dropout rate",
    "train.learning_rate": "learning rate",
    "model.num_conv_layers": "N_c, convolutions",
    "model.num_encoder_layers": "N_e, encoder layers",
    "model.embedding_dim": "D_e, embedding size",
    "model.num_heads": "heads, of attention",
}
TRIALS_FOR_IMPORTANCES = 10  # for each field, below which a warning stands beside them
MOST_ROWS = 10  # on screen; the files hold all


def label(field: str) -> str:
    """A field in words."""
    return LABELS.get(field, field.rpartition(".")[2].replace("_", " "))


def fields_of(condition: dict[str, Any]) -> list[str]:
    """The fields that a condition searches, in the order of its grid."""
    return list(dict.fromkeys(field for row in condition["trials"] for field in row["setting"]))


def table(found: dict[str, Any], name: str) -> Table:
    """The best trials of a condition.

    Args:
      found: as `multimodal_vit.search.results.summary` returns it.
      name: of the condition.
    """
    condition = found["conditions"][name]
    done = [row for row in condition["trials"] if row["status"] == "done"]
    done.sort(key=lambda row: -row["match_accuracy_mean"])
    shown = f", the best {MOST_ROWS}" if len(done) > MOST_ROWS else ""
    drawn = Table(title=f"{name}: validation accuracy{shown}", title_justify="left")
    for heading in ("rank", "trial"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("setting")
    for heading in ("true/false", "per class", "order", "seeds", "hours"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for rank, row in enumerate(done[:MOST_ROWS], 1):
        drawn.add_row(
            str(rank),
            str(row["trial"]),
            ", ".join(f"{label(f).partition(',')[0]} {v}" for f, v in row["setting"].items()),
            _spread(row, "match_accuracy"),
            _spread(row, "class_accuracy"),
            f"{sum(row['reads_order'])} of {len(row['reads_order'])}" if row["reads_order"] else "",
            str(row["seeds"]),
            f"{row['hours']:.3f}",
        )
    return drawn


def _spread(row: dict[str, Any], metric: str) -> str:
    deviation = row[f"{metric}_std"]
    if row[f"{metric}_mean"] is None:
        return "–"
    return f"{row[f'{metric}_mean']:.2%}" + ("" if deviation is None else f" ± {deviation:.2%}")


def remarks(found: dict[str, Any]) -> Iterator[str]:
    """Yields lines on the budget, on what each condition used of it, and on what was not run."""
    budget = found["budget"]
    hours = f"{budget['max_hours']:g}" if budget["max_hours"] else "no limit"
    yield (
        f"Every condition had the same budget: trials: {budget['num_trials']}, accelerator hours: "
        f"{hours}, seeds a trial: {budget['num_seeds']}. Used:"
    )
    for name, condition in found["conditions"].items():
        counts = condition["counts"]
        used = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        tried = sum(counts.values())
        whole = ", the whole grid" if tried == condition["num_settings"] else ""
        yield (
            f"  {name}: {condition['hours']:.3f} accelerator hours; {used or 'no trial'}, of "
            f"{condition['num_settings']} settings{whole}"
        )
        yield from _warnings(name, condition)
        for status in ("failed", "skipped"):
            reasons = Counter(r["reason"] for r in condition["trials"] if r["status"] == status)
            for reason, count in reasons.most_common():
                yield f"    {status}, {count} ×: {reason}"


def _warnings(name: str, condition: dict[str, Any]) -> Iterator[str]:
    """What must be known before a winner is taken for one."""
    winner = condition["winner"]
    if winner and winner["above_chance"] and not any(winner["above_chance"]):
        yield (
            f"    Warning: the best trial of {name}, {winner['match_accuracy_mean']:.2%}, cannot "
            f"be told from chance, {winner['chance'][0]:.2%}: nothing was found. Give the trials "
            "more training pairs, or search other fields"
        )
    if winner and winner["reads_order"]:
        seeds = len(winner["reads_order"])
        yield (
            f"    its winner reads in order with {sum(winner['reads_order'])} of {seeds} seeds "
            "(docs/probes.md); it was not ranked by this"
        )
    done = condition["counts"]["done"]
    fields = len(fields_of(condition))
    if 2 <= done < TRIALS_FOR_IMPORTANCES * fields:
        yield (
            f"    Warning: {done} finished trials for {fields} fields: their importances say "
            f"little; {TRIALS_FOR_IMPORTANCES * fields} or more would"
        )


def write_csv(found: dict[str, Any], path: Path) -> None:
    """Writes a line for each trial of every condition; accuracies are fractions from 0 to 1."""
    conditions = found["conditions"]
    fields = list(dict.fromkeys(f for c in conditions.values() for f in fields_of(c)))
    columns = [f"{m}_{s}" for m in ("match_accuracy", "class_accuracy") for s in ("mean", "std")]
    columns += ["order_auroc_mean", "seeds_reading_order"]
    columns = ["trial", "status", "reason", *columns, "seeds", "hours", "attempts"]
    with replacing(path, newline="") as file:
        writer = csv.DictWriter(file, ["condition", *columns, *fields])
        writer.writeheader()
        for name, condition in conditions.items():
            for row in condition["trials"]:
                values = {column: row[column] for column in columns}
                writer.writerow({"condition": name} | values | row["setting"])


def draw(found: dict[str, Any], name: str, folder: Path) -> Iterator[str]:
    """Draws a condition's figures, each as PNG and SVG, and yields why one is left out.

    Args:
      found: as `multimodal_vit.search.results.summary` returns it.
      name: of the condition.
      folder: receives `<condition>_parallel_coordinate` and `<condition>_importances`.
    """
    condition = found["conditions"][name]
    done = [row for row in condition["trials"] if row["status"] == "done"]
    fields = fields_of(condition)
    if not done:
        yield f"{name}: no figures, for no trial is done"
        return
    _save(_parallel_coordinate(done, fields, f"{found['title']}: {name}"), folder, name)
    reason = _no_importances(done)
    if reason:
        yield f"{name}: no importances, for {reason}"
        return
    _save(_importances(condition, done, f"{found['title']}: {name}"), folder, name)


def _save(figure: Figure, folder: Path, name: str) -> None:
    for ending in ("png", "svg"):
        save(figure, folder / f"{name}_{figure.get_label()}.{ending}", dpi=110)


@names_as_text()
def _parallel_coordinate(done: list[dict[str, Any]], fields: list[str], title: str) -> Figure:
    """A line for each trial through its value of each field to its accuracy, which colours it."""
    figure = Figure(
        figsize=(2.5 + 1.7 * len(fields), 5), layout="constrained", label="parallel_coordinate"
    )
    axes = figure.subplots()
    axes.set_title(title)
    accuracy = np.array([row["match_accuracy_mean"] for row in done])
    low, high = accuracy.min(), max(accuracy.max(), accuracy.min() + 1e-3)
    colours = matplotlib.colormaps["viridis_r"]
    columns = []
    for place, field in enumerate(fields):
        values = sorted({row["setting"][field] for row in done}, key=_order)
        heights = np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
        columns.append([heights[values.index(row["setting"][field])] for row in done])
        axes.axvline(place, color="0.6", linewidth=0.8)
        for height, value in zip(heights, values, strict=True):
            axes.text(
                place + 0.04, height, f"{value}", va="center", fontsize=9,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}, zorder=5,
            )  # fmt: skip
    columns.append(list((accuracy - low) / (high - low)))
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, (len(fields) + 1, len(done)))
    jitter[-1] = 0  # equal lines are told apart by a little; the accuracy is exact
    heights = np.array(columns) + jitter
    for i in np.argsort(accuracy):
        best = i == accuracy.argmax()
        axes.plot(
            heights[:, i], color=colours((accuracy[i] - low) / (high - low)),
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


def _no_importances(done: list[dict[str, Any]]) -> str:
    if len(done) < 2:
        return "fewer than two trials are done"
    if len({row["match_accuracy_mean"] for row in done}) < 2:
        return "all trials reached the same accuracy"
    if all(len({row["setting"][f] for row in done}) < 2 for f in done[0]["setting"]):
        return "all trials have the same setting"
    return ""


@names_as_text()
def _importances(condition: dict[str, Any], done: list[dict[str, Any]], title: str) -> Figure:
    """Each field's share of the variance that the fields explain one by one (fANOVA)."""
    fields = fields_of(condition)
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
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    enough = len(done) >= TRIALS_FOR_IMPORTANCES * len(fields)
    figure = Figure(
        figsize=(7, 1.6 + 0.45 * len(shares)), layout="constrained", label="importances"
    )
    axes = figure.subplots()
    axes.set_title(title)
    names = [label(field) for field in reversed(shares)]
    bars = axes.barh(names, list(reversed(shares.values())), color=BLUE)
    axes.bar_label(bars, fmt=lambda share: f"{share:.0%}", padding=3)
    axes.set_xlim(0, 1.08)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(
        "share of the explained variance of the mean validation\n"
        f"true/false accuracy (fANOVA, {len(done)} finished trials)"
        + ("" if enough else "\ntoo few trials for these fields: they say little")
    )
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    return figure
