"""The statistics of a study against published figures, other implementations and simulation."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from multimodal_vit.analysis.cells import cell
from multimodal_vit.analysis.statistics import (
    Summary,
    Times,
    compare,
    compare_with_control,
    detectable,
    fisher,
    holm,
    noncentrality_interval,
)
from multimodal_vit.analysis.study_control import control_sentences, pairs_until_order
from multimodal_vit.analysis.study_tests import answer, answers_in_short, suite_answer

TABLE_41 = {  # thesis, Table 4.1 and the tests in its text
    "MNIST": (Summary(97.73, 0.5, 5), Summary(92.14, 0.5, 5), 17.6771),
    "Fashion-MNIST": (Summary(95.70, 0.3, 5), Summary(92.39, 0.2, 5), 20.5277),
}


@pytest.mark.parametrize("data", TABLE_41)
def test_the_thesis_figures_give_its_published_t(data):
    conv, patch, published = TABLE_41[data]
    found = compare(conv, patch).student
    assert found.t == pytest.approx(published, abs=5e-5)
    assert found.df == 8
    assert found.p < 0.0001


def test_a_comparison_agrees_with_scipy_on_the_values():
    a, b = [0.97, 0.98, 0.975, 0.99], [0.91, 0.95, 0.93]
    found = compare(Summary.of(a), Summary.of(b))
    student, welch = stats.ttest_ind(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert (found.student.t, found.student.p) == pytest.approx((student.statistic, student.pvalue))
    assert (found.welch.t, found.welch.df, found.welch.p) == pytest.approx(
        (welch.statistic, welch.df, welch.pvalue)
    )
    interval = welch.confidence_interval(0.95)
    assert found.interval == pytest.approx((interval.low, interval.high))


def test_hedges_g_is_the_corrected_difference_in_pooled_deviations():
    a, b = Summary(10, 2, 10), Summary(8, 2, 10)
    found = compare(a, b)
    assert found.effect == pytest.approx(1.0 * (1 - 3 / (4 * 18 - 1)), rel=2e-4)
    low, high = found.effect_interval
    assert low < found.effect < high


def test_the_interval_of_the_effect_covers_the_truth_in_95_of_100_studies():
    rng = np.random.default_rng(0)
    true_effect, n, covered = 10.0, 5, 0  # as large as the thesis's
    for _ in range(500):
        a, b = rng.normal(true_effect, 1, n), rng.normal(0, 1, n)
        low, high = compare(Summary.of(list(a)), Summary.of(list(b))).effect_interval
        covered += low <= true_effect <= high
    assert 0.925 < covered / 500 < 0.975  # ± 2.6 standard errors


@pytest.mark.parametrize("t", [0.0, 2.3, -30.0, 500.0])
def test_the_ends_of_the_noncentral_interval_are_its_quantiles(t):
    low, high = noncentrality_interval(t, 8)
    assert stats.nct.cdf(t, 8, low) == pytest.approx(0.975, abs=1e-5)
    assert stats.nct.cdf(t, 8, high) == pytest.approx(0.025, abs=1e-5)


@pytest.mark.parametrize(
    ("a", "b"),
    [([0.9], [0.8, 0.7]), ([0.4747] * 3, [0.5253] * 3)],
    ids=["a single run", "no spread at all"],
)
def test_what_cannot_be_tested_is_not_tested(a, b):
    assert compare(Summary.of(a), Summary.of(b)) is None


def test_an_interval_of_shares_stays_between_0_and_1():
    low, high = Summary.of([0.99, 1.0]).interval()
    assert 0 <= low < 0.995 < high == 1.0
    assert all(math.isnan(bound) for bound in Summary.of([0.9]).interval())


def test_holm_on_an_example_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(p):
    corrected = holm(p)
    for raw, after in zip(p, corrected, strict=True):
        assert raw <= after <= 1.0
    ordered = [corrected[i] for i in np.argsort(p, kind="stable")]
    assert ordered == sorted(ordered)
    rejected = {i for i, after in enumerate(corrected) if after <= 0.05}
    bonferroni = {i for i, raw in enumerate(p) if raw * len(p) <= 0.05}
    assert bonferroni <= rejected


def test_a_headline_names_the_better_one_and_only_what_the_corrected_test_finds():
    test = {"first": "a", "second": "b", "difference": -0.02, "interval": (-0.03, -0.01)}
    said = answer(test | {"holm": {"welch": 0.004}})
    assert said.startswith("b is 2.00 points better than a (95 % interval +1.00 to +3.00;")
    sure = test | {"holm": {"welch": 0.004}}
    assert answer(sure, {"a"}).startswith("a cannot be told from chance; b is 2.00 points better")
    assert answer(sure, {"a", "b"}).startswith(
        "Neither b nor a can be told from chance, so neither is called better"
    )
    unsure = answer(test | {"holm": {"welch": 0.08}}, {"b"})
    assert unsure.startswith("b cannot be told from chance; between b and a no sure difference")
    said = answer(test | {"holm": {"welch": 0.08}})
    assert said.startswith("Between b and a no sure difference was found: +2.00 points")
    assert "p = 0.08" in said


def test_the_difference_that_would_be_found_is_found_in_80_of_100_studies():
    assert detectable(0.0, 5) == 0
    difference = detectable(2.0, 5)
    assert difference == pytest.approx(2.0 * 2.024, rel=1e-3)  # as in tables of power
    rng = np.random.default_rng(0)
    first, second = rng.normal(difference, 2, (2000, 5)), rng.normal(0, 2, (2000, 5))
    found = stats.ttest_ind(first, second, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.025)  # 2.8 standard errors


def test_seeds_that_lie_far_apart_are_listed_and_not_averaged():
    assert cell([0.50, 0.51, 0.98, 0.97, 0.50], "auroc") == "0.500 · 0.510 · 0.980 · 0.970 · 0.500"
    assert cell([0.991, 0.993], "auroc") == "0.992 ± 0.001"
    assert cell([0.05, 0.56], "percent") == "5.0 · 56.0 %"
    assert cell([0.981], "auroc", [0.975, 0.986]) == "0.981 [0.975, 0.986]"
    assert cell([0.25], "points", [0.2, 0.3]) == "+25.0 [+20.0, +30.0]"
    assert cell([0.9, None], "auroc") == "–"
    assert cell([], "auroc") == "–"


def test_what_differs_between_suites_is_said_with_one_correction():
    def test(suite, p):
        return {"suite": suite, "first": "a", "second": "b", "difference": 0.4, "holm": p}

    said = suite_answer([test("order_foil", 0.001), test("near_foil", 0.2)])
    assert said.startswith("Of 2 comparisons on suites and checks, 1 are sure")
    assert "order_foil, a less b, +0.400" in said
    assert "near_foil" not in said
    assert suite_answer([]) == ""


# ---- a family against its control ----


def test_a_contrast_is_welchs_test_with_a_wider_interval():
    control = [0.95, 0.96, 0.955, 0.965, 0.95]
    others = {"a": [0.97, 0.98, 0.975], "b": [0.94, 0.95, 0.955], "one": [0.9]}
    found = compare_with_control(control, others, 0.005)
    assert set(found) == {"a", "b"}  # a single run cannot be compared
    welch = stats.ttest_ind(others["a"], control, equal_var=False)
    interval = welch.confidence_interval(1 - 0.05 / 2)
    assert found["a"].interval == pytest.approx((interval.low, interval.high))
    assert found["a"].p == pytest.approx(welch.pvalue)
    assert found["a"].holm >= found["a"].p
    assert found["a"].not_worse
    assert not found["a"].no_better
    logits = [np.log(np.array(x) / (1 - np.array(x))) for x in (others["a"], others["b"], control)]
    dunnett = stats.dunnett(*logits[:2], control=logits[2], rng=np.random.default_rng(1))
    assert found["a"].dunnett == pytest.approx(dunnett.pvalue[0], abs=5e-3)
    assert compare_with_control([0.9], others, 0.005) == {}


@pytest.mark.parametrize(
    ("n", "control_n", "low", "high"), [(3, 9, 0.88, 0.93), (5, 15, 0.92, 0.95)]
)
def test_of_few_seeds_the_intervals_hold_together_a_little_less_often_than_they_say(
    n, control_n, low, high
):
    """Welch's t is an approximation: docs/fusion.md says how often they hold."""
    rng, studies, k = np.random.default_rng(0), 20_000, 4
    for deviations in ((1, 1, 1, 1), (1, 2, 3, 4)):
        control, held = rng.normal(0, 1, (studies, control_n)), np.full(studies, True)
        for deviation in deviations:
            other = rng.normal(0, deviation, (studies, n))
            a, b = other.var(1, ddof=1) / n, control.var(1, ddof=1) / control_n
            df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (control_n - 1))
            half = stats.t.ppf(1 - 0.025 / k, df) * np.sqrt(a + b)
            held &= abs(other.mean(1) - control.mean(1)) <= half
        assert low < held.mean() < high


def test_shares_of_few_runs_are_fishers():
    assert fisher(5, 5, 0, 5) == pytest.approx(0.0079, abs=1e-4)
    assert fisher(5, 5, 0, 15) == pytest.approx(6.4e-5, rel=0.02)
    assert fisher(3, 3, 9, 9) == 1


def test_runs_that_never_get_there_count_until_their_end():
    some = Times((10.0, 20.0, 50.0, 50.0, 50.0), (True, True, False, False, False))
    assert some.median() == math.inf  # two of five
    most = Times((10.0, 20.0, 30.0, 50.0, 50.0), (True, True, True, False, False))
    assert most.median() == 30
    none = Times((50.0,) * 5, (False,) * 5)
    assert none.log_rank(none) == 1
    assert most.log_rank(none) < 0.1 < some.log_rank(most)


def test_order_counts_from_where_it_stays():
    curves = np.array([[0.5, 0.96, 0.9, 0.97], [0.5, 0.96, 0.97, 0.99], [0.5, 0.6, 0.7, 0.8]])
    condition = SimpleNamespace(curve=lambda part, metric: (np.array([1, 2, 3, 4]), curves))
    found = pairs_until_order(condition)
    assert found.times == (4, 2, 4)
    assert found.happened == (True, True, False)


def test_what_a_family_says_names_the_better_the_worse_and_the_margin():
    contrast = {"difference": 0.02, "interval": (0.01, 0.03), "holm": 0.01, "p": 0.01,
                "dunnett": 0.01, "not_worse": True, "no_better": False}  # fmt: skip
    worse = contrast | {"difference": -0.02, "not_worse": False, "no_better": True}
    found = {"control": "one", "margins": {"accuracy": 0.005, "order": 0.05}, "order": {},
             "accuracy": {"x": contrast, "y": worse}}  # fmt: skip
    (sentence,) = control_sentences(found)
    assert "better x; worse y" in sentence
    assert "by as much as 0.5 points" in sentence
    assert sentence.endswith(": y.")
    assert control_sentences({}) == []


def test_many_comparisons_are_said_in_short():
    def found(name, difference, p):
        between = [difference - 0.01, difference + 0.01]
        return {"first": name, "second": "control", "difference": difference} | {
            "interval": between, "holm": {"welch": p},
        }  # fmt: skip

    tests = [found("a", 0.01, 0.2), found("b", -0.05, 0.01), found("c", 0.02, 0.001)]
    assert answers_in_short(tests) == (
        "Of 3 comparisons of accuracy, 2 are sure (Welch's t-tests, Holm-corrected): the largest "
        "b less control -5.00 points (95 % interval -6.00 to -4.00); c less control +2.00 points "
        "(95 % interval +1.00 to +3.00)."
    )
    assert answers_in_short(tests[:1]).endswith("0 are sure (Welch's t-tests, Holm-corrected).")
