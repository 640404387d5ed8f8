"""The tables of the studies of objectives, pre-training and depth: a catalogue of four.

`study_tables.py` prints them, and writes them into docs/objectives.md.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run_figures import Runs, figure, get

from multimodal_vit.analysis.cells import PageTable, cell
from multimodal_vit.train.writer import read_metrics

SIZES = (100, 1_000, 10_000)  # labelled pairs, at the end of a condition's name
MONITORS = ("spread", "target_deviation", "clusters_used", "varied_error")


def _order(mine: list[dict[str, Any]]) -> str:
    said = [get(r, "verdict", "reads_order") for r in mine]
    return f"{sum(map(bool, said))} of {len(said)}" if None not in said else "–"


def _cost(mine: list[dict[str, Any]]) -> str:
    return f"{statistics.fmean(r['pflop'] for r in mine):.4f}"


def objectives(runs: Runs) -> PageTable | None:
    """A row for each objective: its own verdict, foils, order, reading out, cost."""
    runs = {name: mine for name, mine in runs.items() if "readouts" in mine[0]}
    runs = {name: mine for name, mine in runs.items() if "match_accuracy" in mine[0]["test"]}
    places: dict[str, tuple[str, ...]] = {
        "right": ("percent", "test", "match_accuracy"),
        "one label replaced, AUROC": ("auroc", "suites", "single_foil", "auroc"),
        "one counted otherwise, AUROC": ("auroc", "suites", "count_foil", "auroc"),
        "other order, AUROC": ("auroc", "suites", "order_foil", "auroc"),
        "text of a grid, exactly": ("percent", "readouts", "zero_shot", "exact"),
        "in any order": ("percent", "readouts", "zero_shot", "multiset"),
        "R@1 of 1,000": ("percent", "readouts", "retrieval", "text_of_image", "r@1"),
    }
    rows = []
    for name, mine in runs.items():
        # Where an objective cannot score all texts it chooses among few, which is easier.
        among_all = get(mine[0], "readouts", "zero_shot", "candidates") == "all"
        cells = [
            figure(mine, *place) if among_all or "zero_shot" not in place else "–"
            for place in places.values()
        ]
        seen = f"{mine[0]['samples_seen']:,}"
        rows.append((f"`{name}`", "", [seen, _order(mine), *cells, _cost(mine)]))
    columns = ["pairs seen", "read in order", *places, "PFLOP"]
    return PageTable("What each objective teaches at equal FLOP, over seeds", columns, rows)


def _by_size(place: tuple[str, ...], caption: str) -> Callable[[Runs], PageTable | None]:
    def table(runs: Runs) -> PageTable | None:
        starts = [name.removesuffix("_100") for name in runs if name.endswith("_100")]
        rows = []
        for start in starts:
            mine = [runs.get(f"{start}_{size}") for size in SIZES]
            cells = [figure(found, *place) if found else "–" for found in mine]
            known = next(filter(None, mine))
            before = [get(r, "initial", "pflop") for r in known]
            cost = "–" if None in before else f"{statistics.fmean(before):.4f}"
            rows.append((f"`{start}`", "", [*cells, cost]))
        columns = [f"{size:,} pairs" for size in SIZES]
        return PageTable(caption, [*columns, "pre-training, PFLOP"], rows)

    return table


def pretraining(runs: Runs) -> PageTable | None:
    """Each pre-training: its loss, its monitor of collapse, and a linear read-out."""
    rows = []
    for name, mine in runs.items():
        if get(mine[0], "readouts", "linear") is None:
            continue
        monitors = [
            f"{kind} {statistics.fmean(r['test'][kind] for r in mine):.3g}"
            for kind in MONITORS
            if kind in mine[0]["test"]
        ]
        parts = [
            figure(mine, "percent", "readouts", "linear", part)
            for part in ("quadrant", "quadrant_random", "quadrant_pixels", "summary")
        ]
        loss = figure(mine, "auroc", "test", "loss")
        rows.append((f"`{name}`", "", [loss, ", ".join(monitors) or "–", *parts, _cost(mine)]))
    columns = [
        "loss", "monitor, mean", "a quadrant's class, linear", "random parameters", "pixels",
        "the first's from the summary", "PFLOP",
    ]  # fmt: skip
    return PageTable("The pre-trainings themselves", columns, rows)


def _training_loss(folder: Path) -> float:
    """The last that was logged."""
    rows = read_metrics(folder / "metrics.jsonl")
    return [row["loss"] for row in rows if row["split"] == "train"][-1]


def depth(runs: Runs) -> PageTable | None:
    """Stems with and without shortcuts: the loss in training and on the test pairs."""
    rows = []
    for name, mine in runs.items():
        if name.split("_")[0] not in ("residual", "plain"):
            continue
        losses = [
            cell([_training_loss(r["folder"]) for r in mine], "auroc"),
            figure(mine, "auroc", "test", "loss"),
        ]
        words = figure(mine, "percent", "test", "word_accuracy")
        rows.append((f"`{name}`", "", [*losses, words, _cost(mine)]))
    columns = ["training loss, the last 27 steps", "test loss", "words named, test", "PFLOP"]
    return PageTable("Stems by their number of convolutions", columns, rows)


TABLES: dict[str, Callable[[Runs], PageTable | None]] = {
    "objectives": objectives,
    "few_labels": _by_size(
        ("percent", "test", "match_accuracy"), "True/false, right answers to test pairs"
    ),
    "few_labels_classes": _by_size(
        ("percent", "test", "class_exact_match"), "All classes of a grid right, test"
    ),
    "pretraining": pretraining,
    "depth": depth,
}
