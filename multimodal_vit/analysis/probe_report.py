"""What the models of a study use: tables and figures of suites, references and checks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from multimodal_vit.analysis import attention_figures
from multimodal_vit.analysis.figures import sample_sheet
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_figures import by_data, curve, pairs_seen, styles
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.analysis.tables import REFERRED
from multimodal_vit.probes.attention import AttentionExample, AttentionResult
from multimodal_vit.suites import all_checks, suites_for

MakeFigure = Callable[[str, Callable[[], Figure], str], Any]

READERS = {
    "text_only": "reads the text alone",
    "label_set": "compares which classes occur",
    "label_multiset": "compares which classes occur and how often, not where",
}


def probe_section(conditions: Sequence[ConditionResults], figure: MakeFigure) -> dict[str, Any]:
    """What the page says about probes; parts that no run was asked are empty.

    Args:
      conditions: of the study.
      figure: draws a figure for the page, from a name, a function and a caption.
    """
    calibrated = [c for c in conditions if c.probed("suites", "standard", "reliability")]
    followed = [c for c in conditions if c.config.evaluation.suites_in_training]
    # All of them for each of many conditions would make a page of tens of megabytes.
    few = ATTENTION_FIGURES if len(conditions) <= 2 else OF_MANY
    shown_figures = {name: ATTENTION_FIGURES[name] for name in few}
    return {
        "suites": _suites(conditions),
        "referred": _referred(conditions),
        "checks": _checks(conditions),
        "attention": _attention(conditions),
        "attention_figures": {
            c.name: [
                figure(f"{name}_{c.name}", lambda draw=draw, shown=shown: draw(shown), text)
                for name, (draw, text) in shown_figures.items()
            ]
            for c in conditions
            if (shown := _attention_of(c)) is not None
        },
        "reliability": figure(
            "reliability",
            lambda: reliability(calibrated),
            "Of the answers with a certainty, the share that is right, on the standard suite "
            "(mean over seeds); on the dotted line a model knows how sure it may be. ECE: the mean "
            "distance from it.",
        )
        if calibrated
        else None,
        "in_training": figure(
            "suites_in_training",
            lambda: in_training(followed),
            "Suites over training, on the validation split: of foils the share that is rejected, "
            "else of right answers. Mean over seeds; the band from the lowest to the highest.",
        )
        if followed
        else None,
        "failures": [
            figure(
                f"failures_{c.name}",
                lambda c=c: failures(c),
                f"{c.name}, seed {c.runs[0].config.seed}: pairs that fail the checks, before and "
                "after the change. Below each whether its text is true, and the model's answer.",
            )
            for c in conditions
            if any(not name.startswith("attention/") for name in c.evidence)
        ],
    }


def _suites(conditions: Sequence[ConditionResults]) -> list[dict[str, Any]]:
    """A row for each suite that all runs of some condition were asked."""
    known = {name: s for c in conditions for name, s in suites_for(c.task).items()}
    shares = {c.name: c.suites() for c in conditions}
    names = [name for name in known if any(name in found for found in shares.values())]
    return [
        {
            "name": name,
            "about": known[name].about,
            "foil": known[name].foil,
            "shares": {
                c: Summary.of(found[name]) if name in found else None for c, found in shares.items()
            },
        }
        for name in names
    ]


def _referred(conditions: Sequence[ConditionResults]) -> dict[str, Any]:
    """Models and references in one table: a row each, a column for each telling suite."""
    shares = {c.name: c.suites() for c in conditions}
    columns = [name for name in REFERRED if any(name in found for found in shares.values())]
    references = [r["references"] for c in conditions for r in c.results if r.get("references")]
    if not references:
        return {}
    exact = [r["expected"] for c in conditions for r in c.results if r.get("expected")]
    readers = dict.fromkeys(
        reader for found in references for asked in found.values() for reader in asked
    )
    rows = []
    for reader in readers:
        at = {
            name: [f[name][reader] for f in references if reader in f.get(name, {})]
            for name in columns
        }
        values = {name: float(np.mean(found)) if found else None for name, found in at.items()}
        about = READERS.get(reader) or f"reads {reader.removeprefix('quadrants_')} of the positions"
        known = [e[reader] for e in exact if reader in e]
        rows.append({"about": about, "values": values, "exact": np.mean(known) if known else None})
    models = {
        c.name: {
            name: Summary.of(shares[c.name][name]) if name in shares[c.name] else None
            for name in columns
        }
        for c in conditions
    }
    return {"columns": columns, "models": models, "readers": rows}


def _checks(conditions: Sequence[ConditionResults]) -> list[dict[str, Any]]:
    """A row for each check that all runs of some condition were asked."""
    about = {name: (check.kind, check.about) for name, check in all_checks().items()}
    about["consistent"] = (
        "consistency",
        "of what is called true, the class outputs see other classes than the text names",
    )
    rates = {
        c.name: {name: c.probed("checks", name, "failure_rate") for name in about}
        for c in conditions
    }
    return [
        {
            "name": name,
            "kind": kind,
            "about": text,
            "rates": {c: Summary.of(found[name]) if found[name] else None
                      for c, found in rates.items()},
        }
        for name, (kind, text) in about.items()
        if any(found[name] for found in rates.values())
    ]  # fmt: skip


ATTENTION_FIGURES: dict[str, tuple[Callable[[AttentionResult], Figure], str]] = {
    "true_and_false": (
        attention_figures.true_and_false,
        "One image with a true text and with one wrong word: what hiding parts of it does to "
        "the answer, and the attention between words and image.",
    ),
    "own_shares": (
        attention_figures.own_shares,
        "Attention between word i and quadrant i, by layer and head, over 1,000 pairs.",
    ),
    "patch_to_word": (
        lambda result: attention_figures.attention(result, "patch_to_word"),
        "How much each part of the image looks at each word of its true text, by layer.",
    ),
    "word_to_patch": (
        lambda result: attention_figures.attention(result, "word_to_patch"),
        "Where each word of the true text looks in the image, by layer.",
    ),
    "word_to_patch_by_head": (
        lambda result: attention_figures.attention(result, "word_to_patch", by_head=True),
        "The same, by head, in the layer that looks at its own quadrants most.",
    ),
    "rollout": (
        attention_figures.rollout_and_occlusion,
        "Attention rollout from the class token, and what hiding quadrants and windows does.",
    ),
}

OF_MANY = ("true_and_false", "own_shares")  # where there are more than two conditions


def _attention_of(condition: ConditionResults) -> AttentionResult | None:
    """The first run's attention, as far as it was asked and has any."""
    begins = "attention/"
    arrays = {
        name.removeprefix(begins): array
        for name, array in condition.evidence.items()
        if name.startswith(begins)
    }
    numbers = condition.results[0].get("attention")
    if not arrays or not numbers:
        return None
    example = AttentionExample.of(arrays)
    return AttentionResult(numbers, example, condition.task.grid, condition.class_names)


def _attention(conditions: Sequence[ConditionResults]) -> list[dict[str, Any]]:
    """Rows of numbers on attention and occlusion, for the conditions whose runs have them."""
    found = {c.name: c.probed("attention") for c in conditions}
    found = {name: runs for name, runs in found.items() if runs}
    if not found:
        return []
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
        values = {name: [get(run) for run in runs] for name, runs in found.items()}
        table.append(
            {
                "about": about,
                "share": is_share,
                "chance": chance if is_share else 0.0,
                "values": {
                    name: None if None in numbers else Summary.of(numbers)
                    for name, numbers in values.items()
                },
            }
        )
    return table


def reliability(conditions: Sequence[ConditionResults]) -> Figure:
    """Reliability diagrams (Guo et al. 2017), a panel for each data set."""
    groups = by_data(conditions)
    figure = Figure(figsize=(4.8 * len(groups), 4.4), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (data, members) in zip(panels, groups.items(), strict=True):
        axes.set_title(data)
        axes.plot([0.5, 1], [0.5, 1], color="0.5", linewidth=0.9, linestyle=(0, (1, 3)))
        for (colour, line, marker), condition in zip(styles(), members, strict=False):
            bins = condition.probed("suites", "standard", "reliability")
            count, sums = 0, [0, 0]
            for found in bins:
                n = np.array(found["count"])
                parts = [np.array(found[name], float) for name in ("certainty", "right")]
                sums = [
                    s + np.where(n > 0, n * np.nan_to_num(x), 0)
                    for s, x in zip(sums, parts, strict=True)
                ]
                count = count + n
            enough = count >= 20
            ece = np.mean(condition.probed("suites", "standard", "ece"))
            axes.plot(
                sums[0][enough] / count[enough], sums[1][enough] / count[enough], line,
                color=colour, marker=marker, markersize=4,
                label=f"{condition.name} (ECE {100 * ece:.1f} %)",
            )  # fmt: skip
        axes.set_xlabel("certainty of the answer")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    panels[0].set_ylabel("share that is right")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def in_training(conditions: Sequence[ConditionResults]) -> Figure:
    """Suites over training: a row for each suite, a column for each data set."""
    groups = by_data(conditions)
    names = list(
        dict.fromkeys(n for c in conditions for n in c.config.evaluation.suites_in_training)
    )
    figure = Figure(figsize=(5.6 * len(groups), 3.3 * len(names) + 0.4), layout="constrained")
    panels = figure.subplots(len(names), len(groups), squeeze=False, sharex="col", sharey="row")
    for column, (data, members) in enumerate(groups.items()):
        panels[0, column].set_title(data)
        for row, name in enumerate(names):
            axes = panels[row, column]
            for style, condition in zip(styles(), members, strict=False):
                if name in condition.config.evaluation.suites_in_training:
                    curve(axes, condition, f"suites.{name}", style, condition.name)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            if column == 0:
                axes.set_ylabel(name)
            if row == 0:
                axes.legend(fontsize=8, frameon=False)
        pairs_seen(panels[-1, column])
    return figure


def failures(condition: ConditionResults) -> Figure:
    """Up to two failed pairs of every check, before and after its change."""
    evidence = condition.evidence
    shown: dict[str, list[np.ndarray]] = {"image": [], "words": [], "labels": []}
    notes = []
    for check in [*all_checks(), "consistent"]:
        for i in range(2):
            for when in ("before", "after"):
                place = f"{check}/{when}"
                if f"{place}/image" not in evidence or i >= len(evidence[f"{place}/image"]):
                    continue
                for name, arrays in shown.items():
                    arrays.append(evidence[f"{place}/{name}"][i])
                p = float(evidence[f"{place}/probability"][i])
                says = f"model: {'true' if p > 0.5 else 'false'}, p = {max(p, 1 - p):.3f}"
                both = f"{check}/before/image" in evidence
                notes.append(f"{check}{', ' + when if both else ''}\n{says}")
    return sample_sheet(
        np.stack(shown["image"]), np.stack(shown["words"]), np.stack(shown["labels"]),
        condition.task.grid, condition.class_names, notes=notes,
    )  # fmt: skip
