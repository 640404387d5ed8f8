"""The figures of a study's finished runs, as its tables say them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multimodal_vit.analysis.cells import cell

Runs = dict[str, list[dict[str, Any]]]  # the results of each condition's runs


def read(folder: Path, conditions: Sequence[str]) -> Runs:
    """The results of the finished runs, by condition and seed, each with its "folder"."""
    found: Runs = {}
    for path in sorted(folder.glob("runs/*/seed_*/results.json")):
        results = json.loads(path.read_text()) | {"folder": path.parent}
        found.setdefault(path.parent.parent.name, []).append(results)
    known = conditions or tuple(found)
    return {name: sorted(found[name], key=lambda r: r["seed"]) for name in known if name in found}


def get(results: dict[str, Any], *place: str) -> Any:
    """What lies at a place; None where it was not asked."""
    found: Any = results
    for name in place:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def figure(mine: list[dict[str, Any]], kind: str, *place: str) -> str:
    """A figure of a condition's runs; of a single one with its interval."""
    between = (*place[:-1], "intervals", place[-1])
    interval = get(mine[0], *between) if len(mine) == 1 else None
    return cell([get(r, *place) for r in mine], kind, interval)


def row(name: str, runs: Runs, kind: str, *place: str) -> tuple[str, str, list[str]]:
    """A row of a table: a figure of every condition."""
    return name, "", [figure(mine, kind, *place) for mine in runs.values()]
