"""The tables of README and of the results in docs/, in Markdown, from a study's folder.

Reads the `results.json` and `metrics.jsonl` of its runs; no data and no model are needed. What runs
were not asked is a dash; the study's own command asks them, and so does `--mode=evaluate
--workdir=… --suites=all`, also where an older version gave no intervals.

    python benchmarks/study_tables.py runs/study_probes_small
    python benchmarks/study_tables.py runs/study_probes_small --conditions mnist_conv mnist_patch
    python benchmarks/study_tables.py runs/study_tokens --training order_foil
    python benchmarks/study_tables.py runs --into docs/probe_results.md
"""

import argparse
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import objective_tables
from run_figures import Runs, figure, get, read, row

from multimodal_vit.analysis.cells import PageTable, cell
from multimodal_vit.analysis.drawing import short_number
from multimodal_vit.foils import SURE, level
from multimodal_vit.probes.verdict import verdict
from multimodal_vit.train.writer import read_metrics

FOILS = ("single_foil", "count_foil", "order_foil", "swap_adjacent", "near_foil")


def summary(runs: Runs) -> PageTable:
    """A row for each condition: what it can do, and how many of its runs read in order."""
    rows = []
    for name, mine in runs.items():
        said = [verdict(r) for r in mine]
        asked = [v["reads_order"] for v in said if v["reads_order"] is not None]
        places = [get(v, "scale", "place") for v in said]
        rows.append(
            (
                f"`{name}`", "",
                [
                    figure(mine, "percent", "test", "match_accuracy"),
                    f"{sum(asked)} of {len(asked)}" if asked else "–",
                    figure(mine, "auroc", "suites", "order_foil", "auroc"),
                    figure(mine, "points", "suites", "order_foil", "rejection_difference"),
                    " · ".join("–" if place is None else f"{place:.2f}" for place in places),
                    figure(mine, "percent", "test", "ece"),
                ],
            )
        )  # fmt: skip
    columns = ["right", "read in order", "AUROC of order foils", "order foils rejected more",
               "place, each seed", "ECE"]  # fmt: skip
    return PageTable("What each condition can do and uses", columns, rows)


PARTS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {  # caption, part, kind, place
    "auroc": ("Foils told from true texts: AUROC", "foils", "auroc", ("auroc",)),
    "rejected_more": (
        "Foils rejected less true texts rejected, points", "foils", "points",
        ("rejection_difference",),
    ),
    "same_grid": (
        "Same grid: how often the true text gets the higher logit", "foils", "percent",
        ("paired", "text_score"),
    ),
    "rejected": ("Foils rejected", "foils", "percent", ("rejection_rate",)),
    "true_rejected": ("True texts rejected", "foils", "percent", ("true_rejection_rate",)),
    "others": ("Other suites: right answers", "others", "percent", ("match_accuracy",)),
    "checks": ("Checks: AUROC", "checks", "auroc", ("auroc",)),
    "fails": ("Checks: how often each fails", "checks", "percent", ("failure_rate",)),
}  # fmt: skip


def suites_table(name: str, runs: Runs) -> PageTable:
    """A table of `PARTS`: a row for each suite or check, a column for each condition."""
    caption, part, kind, place = PARTS[name]
    suites = {name: s for mine in runs.values() for r in mine for name, s in r["suites"].items()}
    foils = [name for name, s in suites.items() if "rejection_rate" in s]
    foils.sort(key=lambda name: FOILS.index(name) if name in FOILS else len(FOILS))
    checks = dict.fromkeys(n for mine in runs.values() for r in mine for n in r.get("checks", {}))
    names = {
        "foils": foils,
        "others": [name for name in suites if name not in foils],
        "checks": list(checks),
    }[part]
    where = "checks" if part == "checks" else "suites"
    rows = [row(f"`{name}`", runs, kind, where, name, *place) for name in names]
    return PageTable(caption, [f"`{name}`" for name in runs], rows)


def oracles(runs: Runs) -> PageTable | None:
    """The oracles as they are and at their best temperature; None where there is none."""
    mine = {n: rs for n, rs in runs.items() if all("tempered" in r for r in rs)}
    if not mine:
        return None
    figures = {
        "right": ("percent", "test", "match_accuracy"),
        "`single_foil`": ("auroc", "suites", "single_foil", "auroc"),
        "`near_foil`": ("auroc", "suites", "near_foil", "auroc"),
        "`order_foil`": ("auroc", "suites", "order_foil", "auroc"),
        "ECE": ("percent", "test", "ece"),
    }
    rows = []
    for name, results in mine.items():
        at_best = [r["tempered"] for r in results]
        temperatures = cell([r["temperature"] for r in at_best], "logit").replace("+", "")
        for said, found, t in ((name, results, "1"), (name, at_best, temperatures)):
            cells = [
                cell([get(r, *place) for r in found], kind) for kind, *place in figures.values()
            ]
            rows.append((f"`{said}`", "", [t, *cells]))
    return PageTable("The oracles and their temperature", ["temperature", *figures], rows)


def attention(runs: Runs) -> PageTable:
    """The range over seeds of attention and occlusion."""

    def layers(name: str, first: int, last: int) -> Callable[[dict[str, Any]], list[float]]:
        def values(r: dict[str, Any]) -> list[float]:
            shares = (get(r, "attention", name) or [])[first:last]
            return [100 * sum(heads) / len(heads) for heads in shares]

        return values

    def one(*place: str) -> Callable[[dict[str, Any]], list[float]]:
        return lambda r: [v for v in [get(r, "attention", *place)] if v is not None]

    wanted = {
        "quadrant i → word i, layer 1, mean of heads (chance 25 %), %": (
            layers("own_word_share", 0, 1), ".0f"),
        "the same, later layers, %": (layers("own_word_share", 1, None), ".0f"),
        "word i → quadrant i, layer 1, mean of heads, %": (
            layers("own_quadrant_share", 0, 1), ".0f"),
        "one wrong word: its quadrant hidden, less another, logit": (
            one("occlusion", "single_foil", "logit", "difference"), ".1f"),
        "**swapped words: their quadrants, less others, logit**": (
            one("occlusion", "swap_adjacent", "logit", "difference"), ".1f"),
        "rank correlation of rollout with the size of the effect, within a pair": (
            one("rollout_occlusion", "within_pairs"), ".2f"),
    }  # fmt: skip
    rows = []
    for name, (values, digits) in wanted.items():
        cells = []
        for mine in runs.values():
            found = [value for r in mine for value in values(r)]
            cells.append(f"{min(found):{digits}} – {max(found):{digits}}" if found else "–")
        rows.append((name, "", cells))
    return PageTable("Attention and occlusion, range over seeds", [f"`{n}`" for n in runs], rows)


def training(folder: Path, suite: str, conditions: Sequence[str]) -> PageTable:
    """Right answers, and the suite's AUROC with its level, over the pairs seen; on validation."""
    found: dict[str, dict[int, str]] = {}
    for path in sorted(folder.glob("runs/*/seed_*/metrics.jsonl")):
        name = path.parent.parent.name
        if conditions and name not in conditions:
            continue
        label = f"`{name}`, {path.parent.name.replace('_', ' ')}"
        for line in read_metrics(path):
            if line["split"] != "validation":
                continue
            auroc = line.get(f"suites.{suite}.auroc")
            said = f"{100 * line['match_accuracy']:.1f} / "
            if auroc is None:
                said += "–"
            else:
                sure = level(auroc, [line[f"suites.{suite}.auroc_low"], 1.0]) == "yes"
                said += f"**{auroc:.3f}**" if sure else f"{auroc:.3f}"
            found.setdefault(label, {})[line["samples"]] = said
    samples = sorted({at for mine in found.values() for at in mine})
    rows = [(name, "", [mine.get(at, "–") for at in samples]) for name, mine in found.items()]
    caption = f"Right answers in percent / AUROC of `{suite}` (bold: {SURE} and more)"
    return PageTable(caption, [short_number(at) for at in samples], rows)


def markdown(table: PageTable) -> str:
    """A table in Markdown, its caption as a sentence before it."""
    lines = [f"{table.caption}:", "", f"| | {' | '.join(table.columns)} |"]
    lines.append(f"| --- |{' --- |' * len(table.columns)}")
    lines += [f"| {name} | {' | '.join(cells)} |" for name, _, cells in table.rows]
    return "\n".join(lines) + "\n"


TABLES: dict[str, Callable[[Runs], PageTable | None]] = {
    "summary": summary,
    **{name: functools.partial(suites_table, name) for name in PARTS},
    "attention": attention,
    "oracles": oracles,
    **objective_tables.TABLES,
}
BLOCK = re.compile(
    r"(<!-- table (\w+) of ([\w/.-]+):([\w ]*) -->\n).*?(<!-- end of table -->)", re.S
)


def table_of(name: str, folder: Path, conditions: Sequence[str]) -> str | None:
    """A table by its name, in Markdown; None where nothing of it is known."""
    if name.startswith("training_"):
        found = training(folder, name.removeprefix("training_"), conditions)
        return markdown(found) if found.rows else None
    runs = read(folder, conditions)
    found = TABLES[name](runs) if runs else None
    return markdown(found) if found is not None and found.rows else None


def write_into(page: Path, root: Path) -> Iterator[str]:
    """Makes the tables of a page anew, and yields what was done.

    They stand between `<!-- table NAME of FOLDER: CONDITIONS -->` and `<!-- end of table -->`; the
    folder of the study is looked for in `root`. A table of which nothing is known stays.
    """
    said = []

    def anew(block: re.Match[str]) -> str:
        begins, name, folder, conditions, ends = block.groups()
        found = table_of(name, root / folder, conditions.split())
        said.append(f"{name} of {folder}: {'made anew' if found else 'nothing known, left'}")
        return f"{begins}\n{found}\n{ends}" if found else block[0]

    page.write_text(BLOCK.sub(anew, page.read_text()))
    yield from said


def main() -> None:
    """Prints the tables, or writes them into a page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a study's workdir; with --into, where they lie")
    parser.add_argument("--conditions", nargs="*", default=(), help="which; by default all")
    parser.add_argument("--tables", nargs="*", default=(), choices=TABLES, help="by default all")
    parser.add_argument("--training", metavar="SUITE", help="a suite over training instead")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="make a page's tables anew")
    given = parser.parse_args()
    if given.into:
        for line in write_into(given.into, given.folder):
            print(line)
        return
    names = [f"training_{given.training}"] if given.training else given.tables or list(TABLES)
    found = [table_of(name, given.folder, given.conditions) for name in names]
    if not any(found):
        parser.exit(2, f"error: no finished run in {given.folder}/runs\n")
    for table in filter(None, found):
        print(table)


if __name__ == "__main__":
    main()
