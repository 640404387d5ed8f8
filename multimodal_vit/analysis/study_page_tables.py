"""The tables of a study's page: results, cost, bias and certainty, tests, models, class shares."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from multimodal_vit.analysis.cells import PageTable, cell
from multimodal_vit.analysis.page_parts import by_data
from multimodal_vit.analysis.pages import p_value, percent
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_results import ConditionResults, class_shares
from multimodal_vit.evaluate import FAR_APART
from multimodal_vit.study.definition import seeds_of
from multimodal_vit.train.progress import duration

MOST_CLASSES = 20  # whose shares are listed


def results(
    config: ConfigDict, conditions: Sequence[ConditionResults], published: Mapping[str, Summary]
) -> PageTable:
    """The accuracies, how many runs read in order, what was published, chance."""
    classifies = conditions[0].task.classifies
    second = "macro_f1" if classifies else "class_accuracy"
    planned = seeds_of(config)
    columns = {
        "accuracy" if classifies else "true/false accuracy": _accuracy,
        "95 % interval": _interval,
        "runs": lambda c: _runs(c, planned[c.name]),
        "read in order": lambda c: (
            f"{sum(c.reads_order)} of {len(c.reads_order)}" if c.reads_order else ""
        ),
        "published": lambda c: _published(published.get(c.name)),
        "chance": lambda c: percent(c.chance, 1),
        "macro F1" if classifies else "per class": lambda c: (
            percent(Summary.of(known).mean) if (known := c.probed("test", second)) else ""
        ),
    }
    cells = {heading: [of(c) for c in conditions] for heading, of in columns.items()}
    cells = {heading: mine for heading, mine in cells.items() if any(mine)}
    rows = [(c.name, "", [mine[i] for mine in cells.values()]) for i, c in enumerate(conditions)]
    caption = (
        "On the test split, mean ± standard deviation over seeds; the interval is over seeds, of a "
        "single run over images; chance: the same answer to every pair"
    )
    return PageTable(caption, list(cells), rows)


def _accuracy(c: ConditionResults) -> str:
    """Mean and standard deviation, or each seed where they lie far apart."""
    values, summary = c.accuracies, Summary.of(c.accuracies)
    if summary.n == 1:
        return percent(summary.mean)
    if max(values) - min(values) > FAR_APART:
        return cell(values, "percent")
    return f"{100 * summary.mean:.2f} ± {100 * summary.std:.2f} %"


def _interval(c: ConditionResults) -> str:
    low, high = c.interval
    return f"{100 * low:.2f} to {percent(high)}{' (chance)' if c.at_chance else ''}"


def _runs(c: ConditionResults, planned: int) -> str:
    return f"{len(c.runs)}" if len(c.runs) == planned else f"{len(c.runs)} of {planned}"


def _published(known: Summary | None) -> str:
    return "" if known is None else f"{100 * known.mean:.2f} ± {100 * known.std:.2f} %"


def cost(conditions: Sequence[ConditionResults]) -> PageTable:
    """What a run of each condition cost."""
    rows = [
        (
            c.name,
            "",
            [
                f"{np.mean(c.values('samples_seen')):,.0f}",
                duration(float(np.mean(c.values("train_seconds")))),
                f"{np.mean(c.values('pflop')):.3g}",
                f"{np.mean(c.values('examples_per_second')):,.0f}",
            ],
        )
        for c in conditions
    ]
    columns = ["training pairs", "time", "PFLOP", "examples/s"]
    return PageTable("What a run cost, mean over seeds", columns, rows)


def judgement(conditions: Sequence[ConditionResults]) -> PageTable | None:
    """How readily each condition says "false", how sure it is, and where it stands."""
    if not all(c.probed("test", "called_false") for c in conditions):
        return None
    rows = []
    for c in conditions:
        places = [v["scale"]["place"] if v["scale"] else None for v in c.verdicts]
        cells = [
            cell(c.values("test", "called_false"), "percent"),
            cell(c.values("test", "false_share"), "percent"),
            cell(c.probed("test", "ece"), "percent"),
            " · ".join("–" if place is None else f"{place:.2f}" for place in places),
        ]
        rows.append((c.name, "", cells))
    columns = ["called false", "false", "calibration error (ECE)", "place on the scale, each run"]
    return PageTable("Bias and certainty, on the test pairs", columns, rows)


def tests(found: Sequence[Mapping[str, Any]]) -> PageTable:
    """The differences of accuracies and their tests, in points."""
    rows = []
    for test in found:
        student, welch = test["student"], test["welch"]
        cells = [
            f"{100 * test['difference']:+.2f}",
            _ends(test["interval"], "+.2f", 100),
            f"t({student['df']:.0f}) = {student['t']:.4f}\n{p_value(test['holm']['student'])}",
            f"t({welch['df']:.1f}) = {welch['t']:.4f}\n{p_value(test['holm']['welch'])}",
            f"{test['effect']:.2f}",
            _ends(test["effect_interval"], ".2f"),
            f"{100 * test['detectable']:.2f}",
        ]
        rows.append((f"{test['first']} – {test['second']}", test["source"], cells))
    columns = [
        "difference", "95 % interval", "Student’s t-test", "Welch’s t-test", "Hedges' g",
        "95 % interval", "would be found",
    ]  # fmt: skip
    caption = (
        "Two-sided t-tests on the runs' accuracies; p-values corrected by Holm's method within "
        "each source"
    )
    return PageTable(caption, columns, rows)


def suite_tests(found: Sequence[Mapping[str, Any]]) -> PageTable:
    """The same on what leads of every suite and check."""
    rows = [
        (
            test["suite"],
            "",
            [
                f"{test['first']} – {test['second']}",
                f"{test['difference']:+.3f}",
                _ends(test["interval"], "+.3f"),
                p_value(test["holm"]),
                f"{test['detectable']:.3f}",
            ],
        )
        for test in found
    ]
    caption = (
        "The same on what leads of every suite and check (AUROC, or the share of right answers): "
        "Welch’s t-tests, p-values corrected by Holm's method over all of these rows; the surest "
        "first"
    )
    columns = ["", "difference", "95 % interval", "p, corrected", "would be found"]
    return PageTable(caption, columns, rows)


def _ends(interval: Sequence[float], form: str, scale: float = 1) -> str:
    return " to ".join(format(scale * end, form) for end in interval)


def by_condition(
    values: Mapping[str, Mapping[str, Any]], names: Sequence[str], caption: str = ""
) -> PageTable:
    """Words: a row for each field, a column for each condition."""
    rows = [(field, "", [str(of.get(name, "–")) for name in names]) for field, of in values.items()]
    return PageTable(caption, list(names), rows, text=True)


def shapes(conditions: Sequence[ConditionResults]) -> PageTable:
    """The models in words and numbers."""
    of = {c.name: c.shapes() for c in conditions}
    rows = {row: {name: mine[row] for name, mine in of.items()} for row in next(iter(of.values()))}
    return by_condition(rows, list(of))


def shares(conditions: Sequence[ConditionResults]) -> list[PageTable]:
    """Table D.1 of each data set with few classes."""
    tables = []
    for data, c in by_data(conditions).items():
        if c.task.num_classes > MOST_CLASSES:
            continue
        found = class_shares(c.experiment)  # (K, n)
        expected = c.experiment.splits.train.class_frequencies / c.task.num_positions
        rows = [
            (name, "", [f"{100 * share:.2f}" for share in (*mine, known)])
            for name, mine, known in zip(c.class_names, found, expected, strict=True)
        ]
        columns = [*(f"position {i + 1}" for i in range(found.shape[1])), "expected"]
        tables.append(PageTable(f"{data}, percent of all positions", columns, rows))
    return tables
