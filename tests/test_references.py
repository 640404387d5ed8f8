"""The readers that use only a part: exact expectations against simulation and against the thesis's
page of numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_vit.probes.references import expected, readers
from multimodal_vit.sampler import Task, replace_labels

TASK = Task(grid=(2, 2), image_shape=(4, 4, 1), num_classes=10)
UNIFORM = np.full(10, 0.1)


def simulate(task, frequencies, rows=200_000, seed=0):
    """Each reader's accuracy on pairs by the law."""
    key = jax.random.key(seed)
    n, K = task.num_positions, task.num_classes
    labels = jax.random.choice(key, K, (rows, n), p=jnp.asarray(frequencies)).astype(jnp.int32)
    false = jax.random.bernoulli(jax.random.fold_in(key, 1), task.false_rate, (rows, 1))
    words = jnp.where(false, replace_labels(jax.random.fold_in(key, 2), labels, task), labels)
    labels, words = np.asarray(labels), np.asarray(words)
    match = (labels == words).all(axis=1)
    return {
        name: (says(words, labels) == match).mean()
        for name, says in readers(task, frequencies).items()
    }


def test_expectations_are_the_ones_of_the_published_task():
    found = expected(TASK, UNIFORM)
    assert found["quadrants_1"] == pytest.approx(0.71875)
    assert found["quadrants_2"] == pytest.approx(0.859375)
    assert found["quadrants_3"] == pytest.approx(0.947266, abs=1e-6)
    assert found["quadrants_4"] == 1
    assert found["label_multiset"] == pytest.approx(0.9975, abs=3e-4)
    assert found["label_set"] == pytest.approx(0.985, abs=1e-3)
    assert found["text_only"] == pytest.approx(
        0.5
    )  # where all classes are alike, texts say nothing


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from([(1, 1), (1, 2), (2, 2), (1, 3)]),
    st.integers(2, 6),
    st.floats(0.0, 1.0),
    st.floats(0.2, 0.8),
    st.integers(0, 2**31),
)
def test_expectations_agree_with_simulation(grid, num_classes, rate, false_rate, seed):
    task = Task(grid, (1, 1, 1), num_classes, false_rate=false_rate, replacement_rate=rate)
    weights = np.random.default_rng(seed).uniform(0.2, 1, num_classes)
    frequencies = weights / weights.sum()
    simulated = simulate(task, frequencies, seed=seed)
    for name, value in expected(task, frequencies).items():
        assert simulated[name] == pytest.approx(value, abs=0.006), name  # 5 standard errors


def test_the_text_only_reader_is_the_best_that_never_looks():
    frequencies = np.array([0.4, 0.3, 0.2, 0.1])
    task = Task((1, 2), (1, 1, 1), 4)
    assert expected(task, frequencies)["text_only"] > 0.55
    assert simulate(task, frequencies)["text_only"] > 0.55


def test_sums_over_too_many_sequences_are_left_out():
    found = expected(Task((3, 3), (1, 1, 1), 10), UNIFORM)
    assert "label_multiset" not in found
    assert found["quadrants_9"] == 1
