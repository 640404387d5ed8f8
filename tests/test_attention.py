"""Attention and occlusion: what is counted, as statements about models made to be known."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.legend import Legend

from multimodal_vit.analysis import attention_figures
from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.models import build_model
from multimodal_vit.probes.attention import (
    attention_probe,
    rank_correlation,
    rank_correlations_of_rows,
)
from multimodal_vit.probes.maps import (
    own_quadrant_share,
    own_word_share,
    patch_grid,
    quadrant_overlap,
    rollout,
)
from multimodal_vit.probes.occlusion import (
    occluded_logits,
    quadrant_masks,
    window_masks,
    wrong_against_right,
)
from multimodal_vit.sampler import Task
from multimodal_vit.train.experiment import Experiment

SIDES = st.integers(1, 6)
PAIRS = st.tuples(SIDES, SIDES)


def random_weights(seed, *shape):
    return jax.nn.softmax(jax.random.normal(jax.random.key(seed), shape))


# The tokens' areas.


@given(patches=PAIRS, grid=PAIRS)
def test_every_token_lies_in_the_quadrants_and_every_quadrant_is_covered_alike(patches, grid):
    overlap = quadrant_overlap(patches, grid)
    assert overlap.shape == (patches[0] * patches[1], grid[0] * grid[1])
    np.testing.assert_allclose(overlap.sum(axis=1), 1)
    np.testing.assert_allclose(overlap.mean(axis=0), 1 / overlap.shape[1])


def test_tokens_inside_a_quadrant_belong_to_it_alone_in_reading_order():
    overlap = quadrant_overlap((4, 4), (2, 2))
    assert overlap.argmax(axis=1).reshape(4, 4).tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2
    np.testing.assert_array_equal(overlap.max(axis=1), 1)


def test_a_token_that_straddles_quadrants_is_shared_by_area():
    overlap = quadrant_overlap((1, 3), (1, 2))
    np.testing.assert_allclose(overlap, [[1, 0], [0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(quadrant_overlap((3, 3), (2, 2))[4], [0.25] * 4)


@pytest.mark.parametrize(
    ("stem", "num_layers", "patch_size", "grid", "expected"),
    [
        ("conv", 4, 4, (2, 2), (12, 12)),
        ("conv", 0, 4, (2, 2), (14, 14)),
        ("strided", 2, 7, (2, 3), (2, 3)),
        ("conv", 2, 4, (1, 2), (6, 13)),
    ],
)
def test_the_token_grid_follows_the_stem(tiny_config, stem, num_layers, patch_size, grid, expected):
    tiny_config.model.stem, tiny_config.model.num_conv_layers = stem, num_layers
    tiny_config.model.patch_size = patch_size
    task = Task(grid, (28, 28, 1), 10)
    assert patch_grid(build_model(tiny_config.model, task), task) == expected


# Shares of attention.


@settings(max_examples=8, deadline=None)
@given(grid=st.tuples(st.integers(1, 3), st.integers(1, 3)), k=st.integers(1, 3))
def test_a_word_that_looks_at_its_own_quadrant_or_never_or_everywhere(grid, k):
    n = grid[0] * grid[1]
    overlap = quadrant_overlap((k * grid[0], k * grid[1]), grid)
    own = jnp.asarray(overlap.T)  # (n, P): word i looks at quadrant i
    np.testing.assert_allclose(own_quadrant_share(0.3 * own, overlap), 1, rtol=1e-6)
    np.testing.assert_allclose(own_word_share(0.3 * own.T, overlap), 1, rtol=1e-6)
    even = jnp.full(own.shape, 0.01)
    np.testing.assert_allclose(own_quadrant_share(even, overlap), 1 / n, rtol=1e-5)
    np.testing.assert_allclose(own_word_share(even.T, overlap), 1 / n, rtol=1e-5)
    if n > 1:
        other = jnp.roll(own, 1, axis=0)
        np.testing.assert_allclose(own_quadrant_share(other, overlap), 0, atol=1e-7)
        np.testing.assert_allclose(own_word_share(other.T, overlap), 0, atol=1e-7)


def test_a_word_that_does_not_look_at_the_image_counts_as_chance():
    share = own_quadrant_share(jnp.zeros((2, 3, 4, 16)), quadrant_overlap((4, 4), (2, 2)))
    np.testing.assert_allclose(share, 0.25)


def test_rollout_is_the_product_of_the_layers_with_their_residuals():
    weights = np.asarray(random_weights(0, 5, 3, 2, 4, 4), np.float64)  # (B, L, heads, T, T)
    found = rollout(jnp.asarray(weights))
    for b in range(5):
        expected = np.eye(4)
        for layer in weights[b]:
            expected = (0.5 * layer.mean(axis=0) + 0.5 * np.eye(4)) @ expected
        np.testing.assert_allclose(found[b], expected, rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


def test_rollout_by_hand():
    looks_at_next = jnp.array([[0.0, 1.0], [0.0, 1.0]])[None]  # one head
    found = rollout(jnp.stack([looks_at_next, looks_at_next]))
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.0, 1.0]])


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 100))
def test_a_batch_counts_as_its_pairs_one_by_one(seed):
    weights = random_weights(seed, 3, 2, 2, 13, 13)
    overlap = quadrant_overlap((2, 4), (2, 2))
    together = own_quadrant_share(weights[..., 1:5, 5:], overlap), rollout(weights)
    for b in range(3):
        alone = own_quadrant_share(weights[b, ..., 1:5, 5:], overlap), rollout(weights[b])
        jax.tree.map(
            lambda x, y, b=b: np.testing.assert_allclose(x[b], y, rtol=1e-5), *[together, alone]
        )


# Correlations.


def test_no_correlation_where_every_answer_is_right_or_every_share_the_same():
    shares = np.array([0.1, 0.2, 0.3])
    assert rank_correlation(np.ones(3), shares) is None
    assert rank_correlation(np.array([0.0, 1, 0]), np.full(3, 0.25)) is None
    assert rank_correlation(np.array([0.0, 1, 0]), np.array([1, 1, 1 - 1e-7])) is None  # rounding
    assert rank_correlation(np.array([1.0]), np.array([0.1])) is None
    assert rank_correlation(np.array([0.0, 1, 2]), shares) == pytest.approx(1)


def test_correlations_of_rows_agree_with_those_of_each_and_constant_rows_have_none():
    a, b = np.random.default_rng(0).integers(0, 4, (2, 50, 4)).astype(float)
    a[3], b[7] = 1.0, 2.0
    each = [rank_correlation(x, y) for x, y in zip(a, b, strict=True)]
    assert None in each
    expected = [np.nan if r is None else r for r in each]
    np.testing.assert_allclose(rank_correlations_of_rows(a, b), expected, atol=1e-12)


# Occlusion.


def test_quadrant_masks_tile_the_image_in_reading_order():
    masks = quadrant_masks(Task((2, 3), (4, 5, 3), 10))
    assert masks.shape == (6, 8, 15)
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert masks[1, :4, 5:10].all() and masks[3, 4:, :5].all()


@pytest.mark.parametrize(("shape", "cells", "side"), [((28, 28, 1), 8, 7), ((8, 8, 1), 8, 3)])
def test_windows_slide_over_the_whole_image(shape, cells, side):
    masks = window_masks(Task((2, 1), shape, 10))
    assert masks.shape == (2 * cells, cells, 2 * shape[0], shape[1])
    assert masks.any(axis=(0, 1)).all()
    assert masks[4, 4].any(axis=0).sum() == masks[4, 4].any(axis=1).sum() == side


def test_what_is_hidden_is_black_and_the_rest_stays():
    image = jnp.full((3, 4, 4, 1), 10, jnp.uint8)
    masks = quadrant_masks(Task((2, 2), (2, 2, 1), 10))
    weights = jnp.arange(16.0).reshape(4, 4, 1)
    found = occluded_logits(lambda x: (x * weights).sum(axis=(1, 2, 3)), image, jnp.asarray(masks))
    left = [10 * weights[..., 0][~mask].sum() for mask in masks]
    np.testing.assert_allclose(found, np.tile(left, (3, 1)))


def test_wrong_quadrants_are_compared_with_right_ones_of_the_same_pair():
    replaced = np.array([[True, False, False], [True, True, False], [False] * 3, [True] * 3])
    change = np.array([[5.0, 1, 3], [1, 3, 4], [9, 9, 9], [9, 9, 9]])
    found = wrong_against_right(change, replaced)
    np.testing.assert_allclose(found["wrong"], [5, 2])
    np.testing.assert_allclose(found["right"], [2, 4])
    np.testing.assert_allclose(found["difference"], [3, -2])
    np.testing.assert_allclose(found["highest"], [1, 0])
    np.testing.assert_allclose(found["chance"], [1 / 3, 2 / 3])


# The probe, asked of models that are known.


class KnownModel(nn.Module):
    """Reads images of one brightness, 20 for each class from 1; black is no evidence.

    Attributes:
      embeddings: only to be looked at.
      grid: of the task.
      in_order: reads word i at quadrant i; otherwise it compares which classes occur.
      attends: whether quadrant i is where word i looks; otherwise it is another.
    """

    embeddings: dict
    grid: tuple[int, int]
    in_order: bool = True
    attends: bool = True

    @nn.compact
    def __call__(self, inputs, *, return_attention=False):
        words, image = inputs["words"], inputs["image"].astype(jnp.float32)
        (B, n), (r, c) = words.shape, self.grid
        H, W = image.shape[1] // r, image.shape[2] // c
        brightness = image.reshape(B, r, H, c, W).mean(axis=(2, 4)).reshape(B, n)
        seen = jnp.round(brightness / 20) - 1  # -1: black
        if self.in_order:
            agree = seen == words
        else:
            agree = (seen[:, :, None] == words[:, None, :]).any(axis=2)
        evidence = jnp.where(seen < 0, 0.0, jnp.where(agree, 1.0, -9.0))  # (B, n)
        logit = evidence.sum(axis=1, keepdims=True) - 0.5
        looks = jnp.roll(jnp.eye(n), 0 if self.attends else 1, axis=1)
        weights = jnp.zeros((1 + 2 * n, 1 + 2 * n)).at[1 : n + 1, n + 1 :].set(looks)
        weights = weights.at[n + 1 :, 1 : n + 1].set(looks.T).at[0, 1:].set(1 / (2 * n))
        weights = jnp.broadcast_to(weights, (B, 2, *weights.shape))
        logits = jnp.concatenate([logit, jnp.zeros((B, 10))], axis=1)
        if not return_attention:
            return logits, {}
        spans = {"words": (1, n + 1), "patches": (n + 1, 2 * n + 1)}
        return logits, {"attention_weights": [weights] * 3, "spans": spans}


def plain_splits():
    """Images of one brightness, which names the class."""
    labels = np.arange(100, dtype=np.int32) % 10
    images = np.broadcast_to(20 * (labels[:, None, None, None] + 1), (100, 14, 14, 1))
    part = ImageSet(images.astype(np.uint8), labels, tuple("0123456789"))
    return Splits(part, part, part, "plain")


def known(tiny_config, grid=(2, 2), num_pairs=200, **model):
    tiny_config.task.grid, tiny_config.model.stem = grid, "conv"
    tiny_config.model.num_conv_layers, tiny_config.evaluation.suites = 0, ("single_foil",)
    experiment = Experiment.create(tiny_config, plain_splits(), jax.devices()[:1])
    module = KnownModel(experiment.model.embeddings, grid, **model)
    objective = dataclasses.replace(experiment.objective, model=module)
    own = dataclasses.replace(experiment, model=module, objective=objective)
    return attention_probe(own, {}, num_pairs)


def test_a_model_that_reads_in_order_shows_it_when_the_quadrant_of_a_wrong_word_is_hidden(
    tiny_config,
):
    numbers = known(tiny_config).numbers
    assert numbers["match_accuracy"] == 1
    assert numbers["chance"] == 0.25
    np.testing.assert_allclose(numbers["own_quadrant_share"], 1)
    np.testing.assert_allclose(numbers["own_word_share"], 1)
    np.testing.assert_allclose(numbers["occlusion"]["true"]["logit"], -1)
    for name in ("single_foil", "swap_adjacent"):
        logit = numbers["occlusion"][name]["logit"]
        assert (logit["wrong"], logit["right"], logit["highest"]) == (9, -1, 1)
    assert not np.any(numbers["correlation"]["all"])  # none, as every answer is right


def test_a_model_that_compares_which_classes_occur_shows_no_difference_where_words_are_swapped(
    tiny_config,
):
    numbers = known(tiny_config, in_order=False, attends=False).numbers
    np.testing.assert_allclose(numbers["own_quadrant_share"], 0)
    assert numbers["occlusion"]["single_foil"]["logit"]["difference"] > 5
    swapped = numbers["occlusion"]["swap_adjacent"]["logit"]
    assert swapped["difference"] == 0
    assert swapped["intervals"]["difference"] == [0, 0]


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (3, 3)])
def test_what_a_small_grid_cannot_show_is_none(tiny_config, grid):
    numbers = known(tiny_config, grid, num_pairs=50).numbers
    n = grid[0] * grid[1]
    assert numbers["chance"] == pytest.approx(1 / n, abs=1e-6)
    assert (numbers["occlusion"]["single_foil"] is None) == (n == 1)
    assert (numbers["occlusion"]["swap_adjacent"] is None) == (n < 3)
    assert numbers["rollout_occlusion"]["pooled"] is None  # the class token looks at all alike


def tiny_probe(config, splits, num_devices=1):
    experiment = Experiment.create(config, splits, jax.devices()[:num_devices])
    return attention_probe(experiment, experiment.init_state().variables, num_pairs=24)


def test_a_real_model_is_asked_the_same_pairs_in_batches_of_any_size_on_any_number_of_devices(
    tiny_config, tiny_splits
):
    first = tiny_probe(tiny_config, tiny_splits)
    layers, heads = np.shape(first.numbers["own_quadrant_share"])
    assert (layers, heads) == (1, 2)
    assert json.loads(json.dumps(first.numbers, allow_nan=False)) == first.numbers
    low, high = np.moveaxis(np.array(first.numbers["intervals"]["own_quadrant_share"]), -1, 0)
    assert ((low <= first.numbers["own_quadrant_share"]) & (high >= low)).all()
    tiny_config.evaluation.batch_size = 8
    second = tiny_probe(tiny_config, tiny_splits, num_devices=4)
    for name in ("own_quadrant_share", "own_word_share", "image_attention"):
        np.testing.assert_allclose(first.numbers[name], second.numbers[name], atol=1e-5)
    np.testing.assert_array_equal(first.example.words, second.example.words)


def test_the_example_is_one_image_with_a_true_text_and_one_wrong_word(tiny_config, tiny_splits):
    example = tiny_probe(tiny_config, tiny_splits).example
    np.testing.assert_array_equal(example.words[0], example.labels)
    assert (example.words[1] != example.labels).sum() == 1
    assert len(set(example.labels.tolist())) == 4
    assert example.quadrants.shape == (2, 4) and example.windows.shape == (2, 16, 16)
    assert ((example.probability > 0) & (example.probability < 1)).all()


@pytest.mark.parametrize("modalities", [("words",), ("patches",)])
def test_a_model_of_one_modality_has_nothing_to_show(tiny_config, tiny_splits, modalities):
    tiny_config.model.modalities = modalities
    experiment = Experiment.create(tiny_config, tiny_splits)
    assert attention_probe(experiment, experiment.abstract_state().variables) is None


def test_a_model_without_attention_weights_has_nothing_to_show(tiny_config, tiny_splits):
    experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])

    class Mute(KnownModel):
        def __call__(self, inputs, *, return_attention=False):
            return jnp.zeros((len(inputs["words"]), 11)), {}

    mute = Mute(experiment.model.embeddings, (2, 2))
    assert attention_probe(dataclasses.replace(experiment, model=mute), {}) is None


@pytest.mark.parametrize(
    ("grid", "patch_size", "num_match_outputs"), [((2, 2), 7, 2), ((1, 1), 14, 1), ((3, 1), 14, 1)]
)
def test_figures_are_drawn_for_any_grid(
    tiny_config, tiny_splits, grid, patch_size, num_match_outputs
):
    tiny_config.task.grid, tiny_config.evaluation.suites = grid, ("single_foil",)
    tiny_config.model.stem, tiny_config.model.num_conv_layers = "conv", 0
    tiny_config.model.patch_size = patch_size
    tiny_config.model.num_match_outputs = num_match_outputs
    result = tiny_probe(tiny_config, tiny_splits)
    n = grid[0] * grid[1]
    layers, heads = np.shape(result.numbers["own_quadrant_share"])
    for direction in ("word_to_patch", "patch_to_word"):
        for by_head, rows in ((False, layers), (True, heads)):
            figure = attention_figures.attention(result, direction, by_head)
            assert len(figure.axes) == rows * n + 1  # and the colours' scale
            figure.draw_without_rendering()
    for draw in (
        attention_figures.own_shares,
        attention_figures.rollout_and_occlusion,
        attention_figures.true_and_false,
    ):
        draw(result).draw_without_rendering()


def test_the_figures_name_the_wrong_word_and_the_chance(tiny_config, tiny_splits):
    result = tiny_probe(tiny_config, tiny_splits)
    axes = attention_figures.own_shares(result).axes
    assert "chance 25%" in [a.get_ylabel() for a in axes]
    (wrong,) = np.flatnonzero(result.example.words[1] != result.example.labels)
    said, shown = (
        result.class_names[k]
        for k in (result.example.words[1, wrong], result.example.labels[wrong])
    )
    titles = [a.get_title().strip() for a in attention_figures.true_and_false(result).axes]
    assert f"the text is false\nposition {wrong + 1}: says {said}, shows {shown}" in titles
    legends = [
        text.get_text()
        for legend in attention_figures.true_and_false(result).findobj(Legend)
        for text in legend.get_texts()
    ]
    assert legends == ["the quadrant that the word names", "the same of a wrong word"]
