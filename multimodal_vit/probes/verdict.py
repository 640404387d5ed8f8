"""What a model can do and what it uses, in words: written by rule from the figures.

The rules stand in docs/probes.md, with the verdicts that made-up models get.
"""

import math
from collections.abc import Mapping
from typing import Any

from multimodal_vit.foils import STEPS, level

START = "text alone"  # where the scale begins
OFTEN = "how often"
SOURCES = {  # the suites whose foils show a step; the first that was asked counts
    "which labels": ("single_foil",),
    OFTEN: ("count_foil", "single_foil"),
    "where": ("order_foil",),
}
USES = {
    "which labels": "which labels occur",
    OFTEN: "how often each occurs",
    "where": "where each stands",
}
FAR_OFF = 0.05  # the bias and the calibration error that are worth a word


def verdict(results: Mapping[str, Any]) -> dict[str, Any]:
    """A model's verdict.

    Args:
      results: of a run, as `results.json` holds them: "test", and "suites" and the cost where they
        are known.

    Returns:
      "sentence", what it can do and what it uses; "reads_order", by `foils.level` of `order_foil`,
      None where that was not asked; "scale", see `scale`, or None; "can", "uses", "bias",
      "calibration" and "cost", a sentence each, or "" where nothing is known.
    """
    test = results["test"]
    found = scale(results.get("suites", {}))
    steps = found["steps"] if found else {}
    order = steps.get("where")
    judged = "match_accuracy" in test
    said = {
        "can": can(test),
        "uses": _uses(steps, _blind_at(results.get("suites", {}))) if judged else "",
        "bias": _bias(test),
        "calibration": _calibration(test),
        "cost": _cost(results),
    }
    return {
        "sentence": " ".join(filter(None, (said["can"], said["uses"]))),
        "reads_order": order["level"] == "yes" if order else None,
        "scale": found,
    } | said


def scale(suites: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where a model stands between text alone, which labels, how often and where.

    Each step is a kind of foil that only it tells from true texts. A model goes as far along it as
    the step's AUROC is above chance: 2 · AUROC - 1, from 0 to 1. Its place is the sum over steps:
    a reader without a mistake that uses just the first k steps stands at k.

    Args:
      suites: of a run's results.

    Returns:
      "place" and its 95 % "interval"; "between", the marks on both sides; "marks", their names in
      order; and for each of the "steps" that were asked "auroc", "interval", "num_foils", "suite",
      "level", as `foils.level` says, and, where that is "no", "trace", whether the true text of a
      grid all the same gets the higher logit more often than not ("same_grid"; its 95 % interval
      lies above 0.5). None where nothing was asked.
    """
    steps: dict[str, Any] = {}
    for name in STEPS:
        for suite in SOURCES[name]:
            known = suites.get(suite, {}).get("by_change", {}).get(name)
            if known:
                found = level(known["auroc"], known["interval"])
                score = suites[suite].get("paired", {}).get("text_score")
                steps[name] = known | {"suite": suite, "level": found, "trace": False}
                if score is not None:
                    between = suites[suite]["paired"]["intervals"]["text_score"]
                    steps[name]["same_grid"] = {"text_score": score, "interval": between}
                    steps[name]["trace"] = found == "no" and between[0] > 0.5
                break
    if not steps:
        return None
    along = [_along(step["auroc"]) for step in steps.values()]
    ends = [[_along(bound) for bound in step["interval"]] for step in steps.values()]
    place = sum(along)
    down = math.hypot(*(a - low for a, (low, _) in zip(along, ends, strict=True)))
    up = math.hypot(*(high - a for a, (_, high) in zip(along, ends, strict=True)))
    marks = [START, *steps]
    below = min(int(place), len(steps) - 1)
    return {
        "place": place,
        "interval": [max(place - down, 0.0), min(place + up, float(len(steps)))],
        "between": marks[below : below + 2],
        "marks": marks,
        "steps": steps,
    }


def _along(auroc: float) -> float:
    return min(max(2 * auroc - 1, 0.0), 1.0)


def percent(value: float, digits: int = 1) -> str:
    """A fraction as "97.7 %"."""
    return f"{100 * value:.{digits}f} %"


def at_chance(value: float, low: float, chance: float) -> bool:
    """Whether an accuracy cannot be told from always giving the commoner answer."""
    return not (low > chance and value > chance)


def can(test: Mapping[str, Any]) -> str:
    """What a model can do: its accuracy, and first of all whether that is chance."""
    name = "match_accuracy" if "match_accuracy" in test else "accuracy"
    if name not in test:
        return f"It was not trained to judge texts; its loss on the test is {test['loss']:.4f}."
    value, (low, high), chance = test[name], test["intervals"][name], test["chance"][name]
    right = (
        f"right on {percent(value)} of the test pairs (95 % interval {100 * low:.1f} to "
        f"{percent(high)}; the same answer to every pair: {percent(chance)})"
    )
    if at_chance(value, low, chance):
        return f"Cannot be told from chance: {right}."
    return f"{right[0].upper()}{right[1:]}."


def _blind_at(suites: Mapping[str, Any]) -> list[str]:
    """The positions, from 1, at which a wrong label is not told from a right one."""
    found = []
    for name, known in suites.items():
        position = name.removeprefix("one_quadrant_")
        between = known.get("intervals", {}).get("auroc")
        if position != name and between and level(known["auroc"], between) == "no":
            found.append(position)
    return found


def _uses(steps: Mapping[str, Any], blind_at: list[str]) -> str:
    """What a model uses, from the levels of the steps."""
    if not steps:
        return "What it uses was not asked: --mode=evaluate --suites=all."
    by_level: dict[str, list[str]] = {"yes": [], "in part": [], "trace": [], "no": []}
    for name, step in steps.items():
        by_level["trace" if step["trace"] else step["level"]].append(USES[name])
    parts = []
    if by_level["yes"]:
        parts.append(f"it uses {_and(by_level['yes'])}")
    if by_level["in part"]:
        parts.append(f"in part {'' if parts else 'it uses '}{_and(by_level['in part'])}")
    if by_level["trace"]:
        parts.append(f"no more than a trace of {_and(by_level['trace'])}")
    if by_level["no"]:
        parts.append(f"no sign that it uses {_and(by_level['no'], 'or')}")
    if blind_at and by_level["no"] != [USES[name] for name in steps]:
        parts.append(f"wrong labels at position {_and(blind_at)} pass")
    order = steps.get("where")
    if order is None:
        begins = "Whether it reads in order was not asked"
    else:
        begins = {
            "yes": "It reads in order",
            "in part": "It reads order only in part",
            "trace": "It does not read in order",
            "no": "No sign that it reads in order",
        }["trace" if order["trace"] else order["level"]]
        low, high = order["interval"]
        begins += (
            f" (texts in another order against true ones: AUROC {order['auroc']:.3f}, 95 % "
            f"interval {low:.3f} to {high:.3f}"
        )
        if order["trace"]:
            low, high = order["same_grid"]["interval"]
            begins += (
                "; of the same grid the true text is preferred in "
                f"{percent(order['same_grid']['text_score'])}, {100 * low:.1f} to {percent(high)}"
            )
        begins += ")"
    return f"{begins}: {'; '.join(parts)}."


def _and(names: list[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _bias(test: Mapping[str, Any]) -> str:
    if "called_false" not in test:
        return ""
    called, false = test["called_false"], test["false_share"]
    more = called - false
    begins = f"It calls {percent(called)} of the pairs false, and {percent(false)} are"
    if abs(more) < FAR_OFF:
        return f"{begins}: no strong bias."
    return f'{begins}: a bias towards "{"false" if more > 0 else "true"}".'


def _calibration(test: Mapping[str, Any]) -> str:
    if "ece" not in test:
        return ""
    error = f"its certainty is off by {100 * test['ece']:.1f} points on average"
    if test["ece"] < FAR_OFF:
        return f"{error[0].upper()}{error[1:]}."
    return f"Do not trust its probabilities: {error}."


def _cost(results: Mapping[str, Any]) -> str:
    if "samples_seen" not in results:
        return ""
    return (
        f"It saw {results['samples_seen']:,} training pairs, in {results['train_seconds']:,.0f} s "
        f"and {results['pflop']:.3g} PFLOP."
    )
