"""A search's results for people: tables and remarks on screen, and a tidy CSV file."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from multimodal_vit.files import replacing

LABELS = {
    "model.dropout_rate": "dropout rate",
    "train.learning_rate": "learning rate",
    "model.num_conv_layers": "N_c, convolutions",
    "model.num_encoder_layers": "N_e, encoder layers",
    "model.embedding_dim": "D_e, embedding size",
    "model.num_heads": "heads, of attention",
}
LEAST_TRIALS = 10  # of which importances are drawn at all
TRIALS_FOR_IMPORTANCES = 10  # for each field, below which a warning stands beside them
MOST_ROWS = 10  # on screen; the files hold all


def label(field: str) -> str:
    """A field in words."""
    return LABELS.get(field, field.rpartition(".")[2].replace("_", " "))


def fields_of(condition: dict[str, Any]) -> list[str]:
    """The fields that a condition searches, in the order of its grid."""
    return list(dict.fromkeys(field for row in condition["trials"] for field in row["setting"]))


def finished(condition: dict[str, Any]) -> list[dict[str, Any]]:
    """The trials of a condition that are done."""
    return [row for row in condition["trials"] if row["status"] == "done"]


def table(found: dict[str, Any], name: str) -> Table:
    """The best trials of a condition.

    Args:
      found: as `multimodal_vit.search.results.summary` returns it.
      name: of the condition.
    """
    condition = found["conditions"][name]
    done = sorted(finished(condition), key=lambda row: -row["match_accuracy_mean"])
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
            spread(row, "match_accuracy"),
            spread(row, "class_accuracy"),
            f"{sum(row['reads_order'])} of {len(row['reads_order'])}" if row["reads_order"] else "",
            str(row["seeds"]),
            f"{row['hours']:.3f}",
        )
    return drawn


def spread(row: dict[str, Any], metric: str) -> str:
    """Mean and standard deviation of a metric over a trial's seeds."""
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
    done, fields = finished(condition), fields_of(condition)
    enough = TRIALS_FOR_IMPORTANCES * len(fields)
    if done and (reason := no_importances(done, fields)):
        yield f"    no importances of the fields are drawn: {reason}"
    elif LEAST_TRIALS <= len(done) < enough:
        yield (
            f"    Warning: {len(done)} finished trials for {len(fields)} fields: their importances "
            f"say little; {enough} or more would"
        )


def no_importances(done: list[dict[str, Any]], fields: list[str]) -> str:
    """Why importances of some finished trials are not drawn; "" where they are."""
    if len(done) < LEAST_TRIALS:
        return (
            f"{len(done)} finished {'trial says' if len(done) == 1 else 'trials say'} too little; "
            f"{TRIALS_FOR_IMPORTANCES * len(fields)} would do for {len(fields)} "
            f"field{'s' if len(fields) > 1 else ''}"
        )
    if len({row["match_accuracy_mean"] for row in done}) < 2:
        return "all trials reached the same accuracy"
    if all(len({row["setting"][f] for row in done}) < 2 for f in fields):
        return "all trials have the same setting"
    return ""


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
