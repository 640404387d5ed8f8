"""The page of a search: the best setting of each condition, what it reads, what the search cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_vit.analysis import search_figures as figures
from multimodal_vit.analysis.cells import PageTable
from multimodal_vit.analysis.pages import MakeFigure, figures_in, write_pages
from multimodal_vit.analysis.search_report import (
    fields_of,
    finished,
    label,
    no_importances,
    remarks,
    spread,
)
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.probes.verdict import percent


def write_search_report(found: dict[str, Any], folder: Path, command: str) -> None:
    """Writes `report.html`, `report.md` and `figures/` into a search's folder.

    Args:
      found: as `multimodal_vit.search.results.summary` returns it.
      folder: its workdir.
      command: that made it.
    """
    figure = figures_in(folder)
    conditions = found["conditions"]
    asked = any(row["order_auroc"] for c in conditions.values() for row in c["trials"])
    page = {
        "title": found["title"],
        "fields": list(dict.fromkeys(label(f) for c in conditions.values() for f in fields_of(c))),
        "answers": [_answer(name, c) for name, c in conditions.items()],
        "readings": figure(
            "readings",
            lambda: figures.readings(conditions),
            "Each finished trial on the validation split; the bars are from the lowest to the "
            "highest seed. Above the upper line a model reads in order; the lower line is chance.",
            lambda: figures.reading_rows(conditions),
        )
        if asked
        else None,
        "cost": _cost(found),
        "parts": [_part(name, c, figure) for name, c in conditions.items()],
        "remarks": [line.strip() for line in remarks(found)],
        "budget": found["budget"],
        "winners": [name for name, c in conditions.items() if c["winner"]],
        "folder": str(folder),
        "command": command.replace("\n", " "),
    }
    write_pages(folder, "search", page)


def _answer(name: str, condition: dict[str, Any]) -> str:
    """The best setting of a condition, in a sentence or two."""
    winner, done = condition["winner"], len(finished(condition))
    if winner is None:
        return f"{name}: no trial is finished."
    summary = Summary.of(winner["match_accuracy"])
    low, high = summary.interval()
    over = (
        f"95 % interval over {summary.n} seeds {100 * low:.1f} to {percent(high)}"
        if summary.n > 1
        else "one seed, so no interval"
    )
    said = f"{name}: {_setting(winner)} is best, {percent(summary.mean)} of the validation pairs "
    said += f"({over}), of {done} finished trial{'s' if done != 1 else ''}"
    if winner["above_chance"] and not any(winner["above_chance"]):
        said += f"; it cannot be told from chance, {percent(winner['chance'][0])}"
    if winner["reads_order"]:
        said += (
            f"; {sum(winner['reads_order'])} of {len(winner['reads_order'])} seeds read in order"
        )
    return f"{said}."


def _setting(row: dict[str, Any]) -> str:
    return ", ".join(f"{label(f).partition(',')[0]} {value}" for f, value in row["setting"].items())


def _cost(found: dict[str, Any]) -> str:
    conditions, budget = found["conditions"], found["budget"]
    trials = sum(len(finished(c)) for c in conditions.values())
    hours = sum(c["hours"] for c in conditions.values())
    return (
        f"{hours:.3f} accelerator hours for {trials} finished trial{'s' if trials != 1 else ''} of "
        f"{budget['num_seeds']} seed{'s' if budget['num_seeds'] != 1 else ''} each; the budget was "
        f"the same for every condition: {budget['num_trials']} trials"
        + (f", {budget['max_hours']:g} hours." if budget["max_hours"] else ".")
    )


def _part(name: str, condition: dict[str, Any], figure: MakeFigure) -> dict[str, Any]:
    """What the page says of a condition."""
    done, fields = finished(condition), fields_of(condition)
    reason = no_importances(done, fields)
    shares = {} if reason else figures.importances(condition)
    return {
        "name": name,
        "table": PageTable(
            "Finished trials, the best first; accuracies on the validation split, mean ± standard "
            "deviation of the seeds",
            [*map(label, fields), "true/false", "per class", "read in order", "seeds", "hours"],
            list(_rows(done, fields)),
        ),
        "figures": [
            figure(
                f"{name}_parallel_coordinate",
                lambda: figures.parallel_coordinate(done, fields),
                f"{name}: a line for each finished trial, from its setting to its accuracy.",
                lambda: figures.trial_rows(condition),
            )
            if done
            else None,
            figure(
                f"{name}_importances",
                lambda: figures.bars(shares, len(done)),
                f"{name}: how much each field matters among these trials.",
                lambda: ({"field": f, "share": share} for f, share in shares.items()),
            )
            if shares
            else None,
        ],
        "no_importances": reason,
    }


def _rows(done: list[dict[str, Any]], fields: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    for row in sorted(done, key=lambda row: -row["match_accuracy_mean"]):
        order = row["reads_order"]
        cells = [str(row["setting"][field]) for field in fields]
        cells += [spread(row, "match_accuracy"), spread(row, "class_accuracy")]
        cells += [f"{sum(order)} of {len(order)}" if order else "–", str(row["seeds"])]
        yield f"trial {row['trial']}", "", [*cells, f"{row['hours']:.3f}"]
