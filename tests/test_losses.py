"""The objectives' losses as pure functions, against NumPy, optax and what can be said by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from multimodal_vit.objectives.losses import (
    contrast,
    cosine_loss,
    info_nce,
    masked_mean,
    normalised,
    nt_xent,
    same_text,
    sigmoid_contrast,
    sinkhorn,
    smooth_l1,
    swapped_codes,
)

RNG = np.random.default_rng(0)
B, D = 6, 5
REAL = np.array([True] * 5 + [False])
OWN = np.eye(B, dtype=bool)


def unit(shape=(B, D)):
    x = RNG.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def test_info_nce_is_the_cross_entropy_of_the_own_column():
    s = RNG.normal(size=(B, B)).astype(np.float32)
    found = info_nce(s, OWN, np.ones(B, bool))
    expected = optax.softmax_cross_entropy_with_integer_labels(s, jnp.arange(B))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(info_nce(0 * s, OWN, np.ones(B, bool)), np.log(B), rtol=1e-6)


def test_two_pairs_by_hand():
    found = contrast(jnp.eye(2), jnp.eye(2), 1.0, np.eye(2, dtype=bool), np.ones(2, bool))
    np.testing.assert_allclose(found, np.log(1 + np.exp(-1)), rtol=1e-6)


def test_several_positives_stand_outside_the_logarithm():
    s, positives = RNG.normal(size=(B, B)), RNG.random((B, B)) < 0.4
    positives |= OWN
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    expected = -(log_p * positives).sum(axis=1) / positives.sum(axis=1)
    np.testing.assert_allclose(info_nce(s, positives, np.ones(B, bool)), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [
    lambda u, v: contrast(u, v, 10.0, OWN, REAL),
    lambda u, v: sigmoid_contrast(10.0 * u @ v.T - 2.0, OWN, REAL),
])  # fmt: skip
def test_rows_that_are_filling_change_no_other_loss_and_have_no_gradient(loss):
    u, v = unit(), unit()
    loss = jax.jit(loss)
    before = loss(u, v)
    after = loss(u.copy(), np.concatenate([v[:5], unit((1, D))]))
    np.testing.assert_array_equal(before[:5], after[:5])
    gradient = jax.jit(jax.grad(lambda v: loss(u, v)[:5].sum()))(v)
    assert np.isfinite(gradient).all() and not gradient[5].any() and gradient[0].any()


def test_equal_texts_of_equal_vectors_give_clip_and_multi_positive_one_value_and_gradient():
    words = np.array([[1, 2], [3, 4], [1, 2], [5, 6], [3, 4], [7, 8]])
    _, which = np.unique(words, axis=0, return_inverse=True)
    u, table = unit(), unit((4, D))
    equal, real = same_text(words), np.ones(B, bool)
    assert equal.sum() == 6 + 4

    def total(positives):
        def of(table):
            return contrast(u, table[which.reshape(-1)], 5.0, positives, real).sum()

        return jax.jit(jax.value_and_grad(of))(table)

    one, many = total(OWN), total(equal)
    np.testing.assert_allclose(one[0], many[0], rtol=1e-5)
    np.testing.assert_allclose(one[1], many[1], atol=1e-5)


def test_sigmoid_contrast_sums_over_the_texts_of_an_image():
    logits = RNG.normal(size=(B, B))
    z = np.where(OWN, 1, -1)
    expected = (np.log1p(np.exp(-z * logits)) * REAL).sum(axis=1)
    np.testing.assert_allclose(sigmoid_contrast(logits, OWN, REAL), expected, rtol=1e-5)
    # An equal text that is called right and wrong is pulled to even odds.
    both = sigmoid_contrast(jnp.zeros((2, 2)), np.eye(2, dtype=bool), np.ones(2, bool))
    np.testing.assert_allclose(both, 2 * np.log(2), rtol=1e-6)


def test_a_mean_over_nothing_is_zero_and_vectors_of_length_zero_stay_finite():
    np.testing.assert_array_equal(
        masked_mean(jnp.array([[1.0, 3.0], [5.0, 7.0]]), jnp.array([[True, True], [False, False]])),
        [2.0, 0.0],
    )
    assert np.isfinite(jax.grad(lambda x: normalised(x).sum())(jnp.zeros((1, 3)))).all()


# ---- pre-training ----


def test_nt_xent_is_optax_s_and_starts_at_the_logarithm():
    z = jnp.asarray(unit((8, D)))
    labels, every = jnp.arange(8) % 4, np.ones(8, bool)

    @jax.jit
    def both(z):
        own = jax.value_and_grad(lambda z: nt_xent(z, every, 0.3).mean())(z)
        return own, jax.value_and_grad(lambda z: optax.losses.ntxent(z, labels, 0.3))(z)

    own, theirs = both(z)
    np.testing.assert_allclose(own[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(own[1], theirs[1], atol=1e-5)
    np.testing.assert_allclose(nt_xent(jnp.ones((8, D)), every, 0.3), np.log(7), rtol=1e-6)


def test_codes_fill_the_prototypes_evenly_and_sum_to_one():
    scores, real = RNG.uniform(-1, 1, (200, 8)), np.arange(200) < 180
    codes = np.asarray(sinkhorn(scores, real, 0.05))
    np.testing.assert_allclose(codes[:180].sum(axis=1), 1, rtol=1e-5)
    assert not codes[180:].any()
    assert np.abs(codes.sum(axis=0) / 180 - 1 / 8).max() < 0.03
    # By the original's steps, in probabilities.
    q = np.exp(scores[:180] / 0.05).T
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(axis=1, keepdims=True) * 8
        q /= q.sum(axis=0, keepdims=True) * 180
    np.testing.assert_allclose(codes[:180], (q * 180).T, rtol=1e-3, atol=1e-6)


def test_swapped_codes_by_hand():
    first, second = RNG.normal(size=(2, 3, 4))
    codes = [np.eye(4)[[0, 1, 2]], np.eye(4)[[3, 3, 0]]]
    log_p = [s / 0.5 - np.log(np.exp(s / 0.5).sum(axis=1, keepdims=True)) for s in (first, second)]
    expected = -(log_p[0][[0, 1, 2], [3, 3, 0]] + log_p[1][[0, 1, 2], [0, 1, 2]]) / 2
    np.testing.assert_allclose(swapped_codes((first, second), codes, 0.5), expected, rtol=1e-5)


def test_cosine_loss_is_the_distance_of_unit_vectors_and_moves_no_target():
    p, t = unit(), unit()
    np.testing.assert_allclose(cosine_loss(3 * p, 2 * t), ((p - t) ** 2).sum(axis=-1), rtol=1e-4)
    gradient = jax.grad(lambda p, t: cosine_loss(p, t).sum(), (0, 1))(p, t)
    assert gradient[0].any() and not gradient[1].any()


def test_smooth_l1_has_no_step():
    x = jnp.array([-3.0, -0.5, 0.0, 0.5, 2.0, 2.0001])
    expected = np.where(abs(x) < 2, x**2 / 4, abs(x) - 1)
    np.testing.assert_allclose(smooth_l1(x, 2.0), expected, rtol=1e-4)
    np.testing.assert_array_equal(smooth_l1(x, 0.0), x**2)
