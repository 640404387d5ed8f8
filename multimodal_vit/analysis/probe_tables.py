"""What the models of a study, or one model, use: as tables for a page."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multimodal_vit.analysis.cells import PageTable, cell, number
from multimodal_vit.analysis.probe_screens import REFERRED
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.suites import all_checks, suites_for

READERS = {
    "text_only": "reads the text alone",
    "label_set": "compares which classes occur",
    "label_multiset": "compares which classes occur and how often, not where",
}


def _asked(conditions: Sequence[ConditionResults]) -> tuple[dict[str, str], dict[str, str]]:
    """What the foil suites and the other suites ask that all runs of some condition were asked."""
    known = {name: s for c in conditions for name, s in suites_for(c.task).items()}
    asked = [name for name in known if any(c.probed("suites", name) for c in conditions)]
    judges = not conditions[0].task.classifies
    kinds: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for name in asked:
        kinds[not (known[name].foil and judges)][name] = known[name].about
    return kinds


def _checks_asked(conditions: Sequence[ConditionResults]) -> dict[str, str]:
    about = {name: f"{check.kind}: {check.about}" for name, check in all_checks().items()}
    about["consistent"] = (
        "consistency: of what is called true, the class outputs see other classes than the text "
        "names"
    )
    return {name: text for name, text in about.items()
            if any(c.probed("checks", name) for c in conditions)}  # fmt: skip


def tables_of_a_study(
    conditions: Sequence[ConditionResults],
) -> tuple[list[PageTable], list[PageTable]]:
    """Of suites and of checks, a column for each condition."""
    foils, others = _asked(conditions)
    checks = _checks_asked(conditions)
    right = "accuracy" if conditions[0].task.classifies else "match_accuracy"

    def table(part: str, about: dict[str, str], place: Sequence[str], kind: str, caption: str,
              explained: bool = False) -> PageTable:  # fmt: skip
        values = {n: [c.probed(part, n, *place) for c in conditions] for n in about}
        rows = [
            (name, about[name] if explained else "", [cell(mine, kind) for mine in values[name]])
            for name in sorted(about, key=lambda n: -_range(values[n]))
        ]
        if len(conditions) > 1:
            caption += "; the rows in which the conditions differ most stand first"
        return PageTable(caption, [c.name for c in conditions], rows)

    suite_tables, check_tables = [], []
    if foils:
        suite_tables = [
            table("suites", foils, ["auroc"], "auroc",
                  "Foils told from true texts: AUROC, chance 0.5", explained=True),
            table("suites", foils, ["rejection_difference"], "points",
                  "The same at the model's own threshold: foils rejected less true texts rejected, "
                  "in points, chance 0"),
            table("suites", foils, ["paired", "text_score"], "percent",
                  "Both texts of the same grid: how often the true one gets the higher logit, "
                  "chance 50 %"),
            table("suites", foils, ["rejection_rate"], "percent",
                  "Foils rejected; says nothing without the next table"),
            table("suites", foils, ["true_rejection_rate"], "percent",
                  "True texts of the same suites rejected"),
        ]  # fmt: skip
    if others:
        suite_tables.append(
            table("suites", others, [right], "percent", "Other suites: right answers",
                  explained=True)
        )  # fmt: skip
    if checks:
        check_tables = [
            table("checks", checks, ["auroc"], "auroc",
                  "Checks (after CheckList, Ribeiro et al. 2020): AUROC of true against false "
                  "texts after the change, chance 0.5", explained=True),
            table("checks", checks, ["failure_rate"], "percent",
                  "How often each check fails; a model that always answers the same fails little"),
        ]  # fmt: skip
    empty = [t for t in suite_tables + check_tables if all(set(r[2]) == {"–"} for r in t.rows)]
    return tuple([t for t in found if t not in empty] for found in (suite_tables, check_tables))


def _range(values: Sequence[Sequence[float | None]]) -> float:
    """How far the conditions' means lie apart."""
    means = [np.mean(mine) for mine in values if mine and None not in mine]
    return float(max(means) - min(means)) if len(means) > 1 else 0.0


def tables_of_a_run(
    conditions: Sequence[ConditionResults],
) -> tuple[list[PageTable], list[PageTable]]:
    """Of suites and of checks, a column for each figure, with intervals."""
    (c,) = conditions
    foils, others = _asked(conditions)
    right = "accuracy" if c.task.classifies else "match_accuracy"

    def rows(part: str, about: dict[str, str], figures: Sequence[tuple[str, str]]) -> list[Any]:
        found = c.results[0][part] if about else {}
        return [
            (name, text, [_of_run(found[name], *figure) for figure in figures])
            for name, text in about.items()
        ]

    suite_tables, check_tables = [], []
    if foils:
        columns = {
            "AUROC": ("auroc", "auroc"),
            "rejected more": ("rejection_difference", "points"),
            "true text higher, same grid": ("paired.text_score", "percent"),
            "both right, same grid": ("paired.pair_accuracy", "percent"),
            "foils rejected": ("rejection_rate", "percent"),
            "true texts rejected": ("true_rejection_rate", "percent"),
        }
        suite_tables.append(
            PageTable(
                "Foils told from true texts, with 95 % intervals by image. Chance: AUROC 0.5, "
                "rejected more (foils less true texts, points) 0, true text higher 50 %",
                list(columns), rows("suites", foils, list(columns.values())),
            )
        )  # fmt: skip
    if others:
        columns = {
            "right": (right, "percent"),
            "on true texts": ("match_accuracy_true", "percent"),
            "on false texts": ("match_accuracy_false", "percent"),
            "AUROC": ("auroc", "auroc"),
            "ECE": ("ece", "percent"),
        }
        columns = {"right": columns["right"]} if c.task.classifies else columns
        suite_tables.append(
            PageTable("Other suites", list(columns), rows("suites", others, list(columns.values())))
        )
    if checks := _checks_asked(conditions):
        columns = {
            "AUROC": ("auroc", "auroc"),
            "rejected more": ("rejection_difference", "points"),
            "fails": ("failure_rate", "percent"),
        }
        check_tables.append(
            PageTable(
                "Checks (after CheckList, Ribeiro et al. 2020): are true and false texts told "
                "apart after the change, and how often does the answer fail to do what it must?",
                list(columns), rows("checks", checks, list(columns.values())),
            )
        )  # fmt: skip
    return suite_tables, check_tables


def _of_run(found: dict[str, Any], name: str, kind: str) -> str:
    """A figure of a suite or check with its interval."""
    *inside, name = name.split(".")
    for part in inside:
        found = found.get(part) or {}
    return cell([found.get(name)], kind, found.get("intervals", {}).get(name))


def referred(conditions: Sequence[ConditionResults]) -> PageTable | None:
    """Models and references in one table: a row each, a column for each telling suite."""
    references = [r for c in conditions for r in c.results if r.get("reference_auroc")]
    if not references:
        return None
    columns = [
        name
        for name in REFERRED
        if any(name in r["reference_auroc"] for r in references)
        and any(c.probed("suites", name) for c in conditions)
    ]
    if not columns:
        return None

    def kind(name: str) -> str:
        return "percent" if name == "standard" else "auroc"

    rows = []
    for c in conditions:
        cells = []
        for name in columns:
            figure = "match_accuracy" if name == "standard" else "auroc"
            values = c.probed("suites", name, figure)
            interval = c.probed("suites", name, "intervals", figure)
            cells.append(cell(values, kind(name), interval[0] if len(values) == 1 else None))
        rows.append((c.name, "", [*cells, ""]))
        if all("tempered" in results for results in c.results):
            rows.append(_tempered(c, columns))
    readers = dict.fromkeys(
        reader for r in references for asked in r["reference_auroc"].values() for reader in asked
    )
    for reader in readers:
        cells = []
        for name in columns:
            shares = "references" if name == "standard" else "reference_auroc"
            values = [r[shares][name][reader] for r in references if name in r[shares]]
            mean = np.mean(values) if values and None not in values else None
            unit = " %" if name == "standard" else ""
            cells.append("–" if mean is None else number(float(mean), kind(name)) + unit)
        exact = [r["expected"][reader] for r in references if reader in r.get("expected", {})]
        cells.append(f"{100 * np.mean(exact):.2f} %" if exact else "")
        about = READERS.get(reader) or f"reads {reader.removeprefix('quadrants_')} of the positions"
        rows.append((about, "", cells))
    headings = [f"{name}, {'right' if name == 'standard' else 'AUROC'}" for name in columns]
    caption = "Beside readers that make no mistake but use only a part"
    if not any(cells[-1] for *_, cells in rows):
        return PageTable(caption, headings, [(*row, cells[:-1]) for *row, cells in rows])
    return PageTable(caption, [*headings, "published task, exactly"], rows)


def _tempered(c: ConditionResults, columns: Sequence[str]) -> tuple[str, str, list[str]]:
    """An oracle whose classifier is as sure as it may be; see `probes.temperature`."""
    cells = []
    for name in columns:
        figure = "match_accuracy" if name == "standard" else "auroc"
        found = [r["tempered"]["suites"].get(name, {}) for r in c.results]
        interval = found[0].get("intervals", {}).get(figure) if len(found) == 1 else None
        kind = "percent" if name == "standard" else "auroc"
        cells.append(cell([known.get(figure) for known in found], kind, interval))
    temperatures = ", ".join(f"{r['tempered']['temperature']:.2f}" for r in c.results)
    return f"{c.name} at its best temperature", f"temperature {temperatures}", [*cells, ""]


def attention(conditions: Sequence[ConditionResults]) -> PageTable | None:
    """Rows of numbers on attention and occlusion, for the conditions whose runs have them."""
    found = {c.name: c.probed("attention") for c in conditions}
    found = {name: runs for name, runs in found.items() if runs}
    if not found:
        return None
    layers = max(len(run["own_word_share"]) for runs in found.values() for run in runs)

    def share(name: str, layer: int) -> Callable[[dict[str, Any]], float | None]:
        return lambda run: float(np.mean(run[name][layer])) if layer < len(run[name]) else None

    def effect(kind: str) -> Callable[[dict[str, Any]], float | None]:
        return lambda run: ((run["occlusion"][kind] or {}).get("logit") or {}).get("difference")

    rows: list[tuple[str, bool, Callable[[dict[str, Any]], float | None]]] = []
    for name, about in (
        ("own_word_share", "from quadrant i to word i"),
        ("own_quadrant_share", "from word i to quadrant i"),
    ):
        rows += [(f"attention {about}, layer {i + 1}", True, share(name, i)) for i in range(layers)]
    rows += [
        ("one wrong word: its quadrant hidden, less another (logit)", False, effect("single_foil")),
        ("two words swapped: theirs hidden, less others (logit)", False, effect("swap_adjacent")),
        (
            "rank correlation of rollout with the effect of hiding, within a pair", False,
            lambda run: run["rollout_occlusion"].get("within_pairs"),
        ),
    ]  # fmt: skip
    chance = next(iter(found.values()))[0]["chance"]
    table = []
    for about, is_share, get in rows:
        kind = "percent" if is_share else "logit"
        cells = [
            cell([get(run) for run in found[c.name]], kind) if c.name in found else "–"
            for c in conditions
        ]
        table.append((about, "", [*cells, f"{100 * chance:.1f} %" if is_share else "0"]))
    return PageTable("", [*(c.name for c in conditions), "chance"], table)
