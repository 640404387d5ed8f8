"""Intervals by image: what they are where no image is shared, and that they hold the truth."""

import numpy as np
import pytest
from conftest import ROOT, load_module
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from multimodal_vit import intervals


def own_images(count, n=4):
    """Images of pairs that share none."""
    return np.arange(count * n).reshape(count, n)


def test_without_shared_images_they_are_wilsons_and_students():
    low, high = stats.binomtest(180, 200).proportion_ci(0.95, "wilson")
    value, interval = intervals.share(np.arange(200) < 180, own_images(200))
    assert (value, interval) == (0.9, pytest.approx([low, high]))
    values = np.random.default_rng(0).normal(size=50)
    average, (low, high) = intervals.mean(values, own_images(50, 1))
    expected = stats.t.interval(0.95, 49, loc=values.mean(), scale=stats.sem(values))
    assert average == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(expected, rel=0.02)  # n, not n - 1, in the variance


def test_the_variance_is_the_sum_over_pairs_that_share_an_image():
    rng = np.random.default_rng(0)
    images, terms = rng.integers(0, 30, (60, 4)), rng.normal(1.0, 1, 60)
    expected = 0.0
    for p in range(60):
        for q in range(60):
            shared = len(set(images[p]) & set(images[q]))
            expected += terms[p] * terms[q] * (min(shared, 1) if p == q else shared)
    assert intervals.variance(terms, images) == pytest.approx(expected)
    both = intervals.variance(np.stack([terms, 2 * terms], axis=1), images)
    assert both == pytest.approx([expected, 4 * expected])


def test_images_that_many_pairs_share_make_the_interval_wider():
    rng = np.random.default_rng(0)
    misread = rng.random(50) < 0.1
    images = rng.integers(0, 50, (2000, 4))
    right = ~misread[images].any(axis=1)
    low, high = intervals.share(right, images)[1]
    alone = intervals.share(right, own_images(2000))[1]
    assert high - low > 3 * (alone[1] - alone[0])


def test_answers_without_a_mistake_count_as_no_more_pairs_than_their_images_allow():
    images = np.random.default_rng(0).integers(0, 50, (2000, 4))
    assert intervals.effective_pairs(own_images(2000)) == 2000
    assert intervals.effective_pairs(images) == pytest.approx(50 / 4, rel=0.1)
    value, (low, high) = intervals.share(np.ones(2000), images)
    assert (value, high) == (1.0, 1.0)
    assert 0.7 < low < 0.8  # as of 12 or 13 pairs
    assert intervals.share(np.ones(2000), own_images(2000))[1][0] > 0.99


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 3.0), st.booleans())
def test_auroc_is_the_known_one_and_lies_in_its_interval(seed, effect, ties):
    rng = np.random.default_rng(seed)
    true = rng.random(80) < 0.5
    true[:2] = True, False
    scores = rng.normal(size=80) + effect * true
    scores = scores.round() if ties else scores
    area, (low, high) = intervals.auroc(scores, true, rng.integers(0, 40, (80, 4)))
    assert area == pytest.approx(roc_auc_score(true, scores))
    assert 0 <= low <= area <= high <= 1
    difference, (low, high) = intervals.rejected_more(
        scores <= 0, true, rng.integers(0, 40, (80, 4))
    )
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1


def test_a_bias_moves_neither_auroc_nor_what_is_rejected_more():
    rng = np.random.default_rng(0)
    true, images = rng.random(4000) < 0.5, own_images(4000)
    guesses = rng.normal(size=4000)
    for bias in (-2.0, 0.0, 2.0):
        rejected = guesses + bias <= 0
        assert intervals.auroc(guesses + bias, true, images)[0] == pytest.approx(0.5, abs=0.03)
        difference, (low, high) = intervals.rejected_more(rejected, true, images)
        assert low < 0 < high
        assert abs(difference) < 0.04
    assert rejected.mean() < 0.1


@pytest.mark.parametrize(
    ("num_images", "num_pairs", "misread"),
    [(257, 2056, 0.05), (257, 2500, 0.003), (10_000, 2500, 0.05)],
)
def test_the_intervals_hold_the_truth_in_95_of_100_test_splits(num_images, num_pairs, misread):
    """With the digits' 257 test images and with 10,000; independent pairs would fail with 257."""
    verdicts = load_module(ROOT / "benchmarks" / "verdicts.py")
    found = verdicts.coverage(num_images, num_pairs, 150, misread)
    for name in ("accuracy", "auroc", "rejection_difference"):
        assert found[name] > 0.9, found  # 2.8 standard errors
    if num_images == 257:
        assert found["independent"] < 0.6
