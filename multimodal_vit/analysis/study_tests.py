"""What a study's runs say of its conditions: verdicts, chance, differences and their tests."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from multimodal_vit.analysis.pages import p_value
from multimodal_vit.analysis.statistics import Summary, compare, detectable, holm
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.probes.verdict import percent

OWN = "this study"  # the source of tests on its own runs


def accuracy_tests(config: ConfigDict, summaries: Mapping[str, Summary]) -> list[dict[str, Any]]:
    """The study's comparisons, here and as published, each family with Holm's correction."""
    published = published_summaries(config)
    found = []
    for source, known in ((OWN, summaries), (config.published_source, published)):
        family = []
        for first, second in config.comparisons:
            if first in known and second in known:
                result = compare(known[first], known[second])
                if result is not None:
                    family.append((first, second, result))
        student = holm([result.student.p for *_, result in family])
        welch = holm([result.welch.p for *_, result in family])
        for (first, second, result), p, welch_p in zip(family, student, welch, strict=True):
            found.append(
                {"source": source or "published", "first": first, "second": second}
                | dataclasses.asdict(result)
                | {"holm": {"student": p, "welch": welch_p}}
                | {"detectable": _detectable(known[first], known[second])}
            )
    return found


def published_summaries(config: ConfigDict) -> dict[str, Summary]:
    """The published mean, standard deviation and number of runs of a study's conditions."""
    return {n: Summary(p.mean, p.std, p.runs) for n, p in config.published.items()}


def _detectable(first: Summary, second: Summary) -> float:
    """The difference that so many runs with so much spread find in 80 of 100 studies."""
    variance = (first.std**2 + second.std**2) / 2
    return detectable(float(np.sqrt(variance)), min(first.n, second.n))


def suite_tests(config: ConfigDict, conditions: Sequence[ConditionResults]) -> list[dict[str, Any]]:
    """The study's comparisons on every suite and check, corrected together; the surest first.

    Returns:
      For each "suite" (a check's begins with "check "), "first" and "second": the "difference" of
      what leads, its "interval", "holm", Welch's p-value corrected by Holm's method over all of
      them, "p" before that, and "detectable".
    """
    known = {c.name: c.leading() for c in conditions}
    found = []
    for first, second in config.comparisons:
        if first not in known or second not in known:
            continue
        for suite, values in known[first].items():
            if suite not in known[second]:
                continue
            summaries = Summary.of(values), Summary.of(known[second][suite])
            result = compare(*summaries)
            if result is not None:
                found.append(
                    {"suite": suite, "first": first, "second": second}
                    | {"difference": result.difference, "interval": result.interval}
                    | {"p": result.welch.p, "detectable": _detectable(*summaries)}
                )
    for test, p in zip(found, holm([test["p"] for test in found]), strict=True):
        test["holm"] = p
    return sorted(found, key=lambda test: (test["holm"], -abs(test["difference"])))


def condition_sentence(c: ConditionResults) -> str:
    """What a condition can do, first whether it is chance, and how many runs read in order."""
    runs, (low, high) = len(c.runs), c.interval
    over = f"95 % interval over {runs} seeds" if runs > 1 else "95 % interval, by image"
    right = (
        f"right on {percent(float(np.mean(c.accuracies)), 2)} of the test pairs ({over} "
        f"{100 * low:.2f} to {percent(high, 2)}"
    )
    if c.at_chance:
        said = f"{c.name} cannot be told from chance, {percent(c.chance, 2)}: {right})"
    else:
        said = f"{c.name} is {right}; chance {percent(c.chance)})"
    if asked := c.reads_order:
        aurocs = [v["scale"]["steps"]["where"]["auroc"] for v in c.verdicts if v["scale"]
                  and "where" in v["scale"]["steps"]]  # fmt: skip
        lowest, highest = (f"{x:.3f}" for x in (min(aurocs), max(aurocs)))
        values = lowest if lowest == highest else f"{lowest} to {highest}"
        how_many = f"{sum(asked)} of {len(asked)} runs read in order"
        if len(asked) == 1:
            how_many = "it reads in order" if asked[0] else "it does not read in order"
        said += f"; {how_many} (AUROC of order foils {values})"
    return f"{said}."


def answer(test: Mapping[str, Any], at_chance: Collection[str] = ()) -> str:
    """A comparison in a sentence, as it was found; the interval is of the difference it names.

    Args:
      test: of `accuracy_tests`.
      at_chance: the conditions that cannot be told from chance; this is said first.
    """
    first, second, difference = test["first"], test["second"], test["difference"]
    low, high = test["interval"]
    if difference < 0:
        first, second, difference, low, high = second, first, -difference, -high, -low
    interval = (
        f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f}; Welch's t-test, Holm-corrected "
        f"{p_value(test['holm']['welch'])})"
    )
    nowhere = [name for name in (first, second) if name in at_chance]
    if len(nowhere) == 2:
        return (
            f"Neither {first} nor {second} can be told from chance, so neither is called better: "
            f"{100 * difference:+.2f} points {interval}."
        )
    begins = f"{nowhere[0]} cannot be told from chance; " if nowhere else ""
    if test["holm"]["welch"] < 0.05:
        return f"{begins}{first} is {100 * difference:.2f} points better than {second} {interval}."
    no = "no sure difference was found"
    return (
        f"{begins or 'Between '}{'between ' if begins else ''}{first} and {second} {no}: "
        f"{100 * difference:+.2f} points {interval}."
    )


def answers_in_short(tests: Sequence[Mapping[str, Any]], most: int = 3) -> str:
    """Of many comparisons of accuracy which are sure, in a sentence."""
    sure = sorted(
        (test for test in tests if test["holm"]["welch"] < 0.05),
        key=lambda test: -abs(test["difference"]),
    )
    said = (
        f"Of {len(tests)} comparisons of accuracy, {len(sure)} are sure (Welch's t-tests, "
        "Holm-corrected)"
    )
    shown = "; ".join(
        f"{t['first']} less {t['second']} {100 * t['difference']:+.2f} points (95 % interval "
        f"{100 * t['interval'][0]:+.2f} to {100 * t['interval'][1]:+.2f})"
        for t in sure[:most]
    )
    more = "; …" if len(sure) > most else ""
    return f"{said}: the largest {shown}{more}." if sure else f"{said}."


def suite_answer(tests: Sequence[Mapping[str, Any]], most: int = 5) -> str:
    """Which suites differ, in a sentence; "" where none was tested."""
    if not tests:
        return ""
    sure = [test for test in tests if test["holm"] < 0.05]
    count = f"Of {len(tests)} comparisons on suites and checks, {len(sure)} are sure"
    if not sure:
        return f"{count} (Welch's t-tests, Holm-corrected over all)."
    shown = "; ".join(
        f"{t['suite']}, {t['first']} less {t['second']}, {t['difference']:+.3f}"
        for t in sure[:most]
    )
    more = "; …" if len(sure) > most else ""
    return f"{count} (Welch's t-tests, Holm-corrected over all): {shown}{more}."
