"""A study with a control: every other condition against it, as one family of contrasts."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from multimodal_vit.analysis.cells import PageTable
from multimodal_vit.analysis.pages import p_value
from multimodal_vit.analysis.statistics import Times, compare_with_control, fisher, holm
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.foils import SURE

ORDER = "order_foil"


def pairs_until_order(condition: ConditionResults) -> Times | None:
    """The training pairs after which each run's order foils are told from true texts for good.

    The first validation with an AUROC of at least `foils.SURE` after which none is below; None
    where the runs were not asked at every validation.
    """
    samples, curves = condition.curve("validation", f"suites.{ORDER}.auroc")
    if not len(samples):
        return None
    times, happened = [], []
    for curve in curves:
        asked = np.isfinite(curve)
        at, sure = samples[asked], curve[asked] >= SURE
        if not len(at):
            return None
        stays = np.logical_and.accumulate(sure[::-1])[::-1]
        happened.append(bool(stays.any()))
        times.append(float(at[stays.argmax()] if stays.any() else at[-1]))
    return Times(tuple(times), tuple(happened))


def control_tests(config: ConfigDict, conditions: Sequence[ConditionResults]) -> dict[str, Any]:
    """What `study.json` holds of the comparison with the control; {} without one, or its runs.

    Returns:
      "control", its name; "margins"; "family", the conditions of the contrasts; "accuracy" and
      "order" (the AUROC of order foils), `statistics.Contrast` by condition; "reads_order" with
      "yes", "of", and "p", "holm" of Fisher's test; "until_order" with the median "pairs", the
      runs "reached", and "p", "holm" of the log-rank test. Of all conditions, those apart without
      p-values.
    """
    by_name = {c.name: c for c in conditions}
    if config.control not in by_name:
        return {}
    control = by_name[config.control]
    family = [c for c in conditions if c is not control and c.name not in config.apart]
    found: dict[str, Any] = {
        "control": control.name,
        "family": [c.name for c in family],
        "margins": {"accuracy": config.margin, "order": config.order_margin},
    }
    accuracies = {c.name: c.accuracies for c in family}
    found["accuracy"] = _as_dicts(
        compare_with_control(control.accuracies, accuracies, config.margin)
    )
    orders = {c.name: c.leading().get(ORDER) for c in (control, *family)}
    found["order"] = {}
    if (own := orders.pop(control.name)) is not None:
        known = {name: values for name, values in orders.items() if values}
        found["order"] = _as_dicts(compare_with_control(own, known, config.order_margin))
    found["reads_order"] = _shares(control, family, conditions)
    found["until_order"] = _times(control, family, conditions)
    return found


def _as_dicts(contrasts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dataclasses.asdict(contrast) for name, contrast in contrasts.items()}


def _shares(
    control: ConditionResults,
    family: Sequence[ConditionResults],
    conditions: Sequence[ConditionResults],
) -> dict[str, dict[str, Any]]:
    found = {
        c.name: {"yes": sum(c.reads_order), "of": len(c.reads_order)}
        for c in conditions
        if c.reads_order
    }
    own = found.get(control.name)
    asked = [c.name for c in family if own and c.name in found]
    p = [fisher(found[n]["yes"], found[n]["of"], own["yes"], own["of"]) for n in asked]
    for name, value, corrected in zip(asked, p, holm(p), strict=True):
        found[name] |= {"p": value, "holm": corrected}
    return found


def _times(
    control: ConditionResults,
    family: Sequence[ConditionResults],
    conditions: Sequence[ConditionResults],
) -> dict[str, dict[str, Any]]:
    times = {c.name: pairs_until_order(c) for c in conditions}
    known = {name: time for name, time in times.items() if time is not None}
    found: dict[str, dict[str, Any]] = {}
    for name, time in known.items():
        median = time.median()
        found[name] = {
            "pairs": None if math.isinf(median) else median,
            "reached": sum(time.happened),
            "of": len(time.happened),
        }
    asked = [c.name for c in family if c.name in known and control.name in known]
    p = [known[name].log_rank(known[control.name]) for name in asked]
    for name, value, corrected in zip(asked, p, holm(p), strict=True):
        found[name] |= {"p": value, "holm": corrected}
    return found


def control_sentences(found: Mapping[str, Any]) -> list[str]:
    """What the contrasts say, in words; nothing where none could be made."""
    if not found or not found["accuracy"]:
        return []
    sentences = []
    for measure, what, unit in (
        ("accuracy", "true/false accuracy", 100),
        ("order", "the AUROC of order foils", 1),
    ):
        contrasts = found[measure]
        if not contrasts:
            continue
        margin = found["margins"][measure]
        shown = f"{100 * margin:g} points" if unit == 100 else f"{margin:g}"
        better = [n for n, c in contrasts.items() if c["holm"] < 0.05 and c["difference"] > 0]
        worse = [n for n, c in contrasts.items() if c["holm"] < 0.05 and c["difference"] < 0]
        enough = [n for n, c in contrasts.items() if c["no_better"]]
        sentences.append(
            f"By {what}, of {len(contrasts)} designs compared with {found['control']}: better "
            f"{_names(better)}; worse {_names(worse)} (Welch's t-tests, Holm-corrected). Not "
            f"better by as much as {shown}, by simultaneous 95 % intervals: {_names(enough)}."
        )
    return sentences


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def control_table(
    found: Mapping[str, Any], conditions: Sequence[ConditionResults]
) -> PageTable | None:
    """The contrasts, what reads in order and after how many pairs; None without a control."""
    if not found:
        return None
    rows = []
    for c in conditions:
        about = "the control" if c.name == found["control"] else ""
        if not about and c.name not in found["family"]:
            about = "apart: not in the family"
        reads, until = found["reads_order"].get(c.name), found["until_order"].get(c.name)
        cells = [
            *_contrast(found["accuracy"].get(c.name), 100),
            *_contrast(found["order"].get(c.name), 1),
            _tested(f"{reads['yes']} of {reads['of']}", reads) if reads else "–",
            _tested(_until(until), until) if until else "–",
            f"{c.results[0]['parameters']:,}",
            f"{c.results[0]['flop_per_example'] / 1e6:,.1f}",
            f"{1e3 / np.mean(c.values('examples_per_second')):.3f}",
        ]
        rows.append((c.name, about, cells))
    columns = [
        "accuracy, points", "simultaneous 95 %", "p, Holm", "p, Dunnett", "within the margin",
        "order foils, AUROC", "simultaneous 95 %", "p, Holm", "p, Dunnett", "within the margin",
        "reads in order", "pairs until order, median", "parameters", "MFLOP an example",
        "ms an example",
    ]  # fmt: skip
    margins = found["margins"]
    caption = (
        f"Differences from {found['control']}. Intervals by Welch's t, all of a column together "
        "95 % (Bonferroni); Dunnett's test beside it. Within the margin, set before the runs "
        f"({100 * margins['accuracy']:g} points, {margins['order']:g}): not worse, no better, or "
        "both. Reads in order: p of Fisher's exact test; pairs until order: Kaplan-Meier median "
        "and p of the log-rank test; each corrected by Holm's method"
    )
    return PageTable(caption, columns, rows)


def _contrast(contrast: Mapping[str, Any] | None, scale: float) -> list[str]:
    if contrast is None:
        return ["–"] * 5
    digits = 2 if scale == 100 else 3
    low, high = (f"{scale * end:+.{digits}f}" for end in contrast["interval"])
    within = [
        text for text in ("not worse", "no better") if contrast[text.replace(" ", "_")]
    ]  # fmt: skip
    return [
        f"{scale * contrast['difference']:+.{digits}f}",
        f"{low} to {high}",
        p_value(contrast["holm"]),
        p_value(contrast["dunnett"]),
        ", ".join(within) or "open",
    ]


def _until(until: Mapping[str, Any]) -> str:
    pairs = f"{until['pairs']:,.0f}" if until["pairs"] is not None else "not reached"
    return f"{pairs} ({until['reached']} of {until['of']} runs)"


def _tested(text: str, tested: Mapping[str, Any]) -> str:
    return f"{text}, {p_value(tested['holm'])}" if "holm" in tested else text
