"""The corruption law, the epoch order and the pasting, as the thesis states them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_vit import sampler
from multimodal_vit.data import load_splits
from multimodal_vit.errors import UserError
from multimodal_vit.sampler import Task

DRAWS = 200_000
TASK = Task(grid=(2, 2), image_shape=(2, 2, 1), num_classes=10)


def draw(task: Task, count: int = DRAWS, num_images: int = 1_000, seed: int = 0) -> sampler.Batch:
    """Pairs drawn from images whose every pixel is their index modulo 251."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, task.num_classes, num_images).astype(np.int32)
    images = np.broadcast_to(
        (np.arange(num_images) % 251).astype(np.uint8)[:, None, None, None],
        (num_images, *task.image_shape),
    )
    base = jnp.arange(count) % num_images
    sample = jax.jit(functools.partial(sampler.sample_batch, task=task))
    return jax.device_get(
        sample(jax.random.key(seed), images, jnp.array(labels), base, jnp.ones(count))
    )


@pytest.fixture(scope="module")
def batch() -> sampler.Batch:
    return draw(TASK)


def assert_probability(hits: np.ndarray, probability: float) -> None:
    """The share of true values is within four standard errors of the probability."""
    error = math.sqrt(probability * (1 - probability) / len(hits))
    assert abs(hits.mean() - probability) < 4 * error, (hits.mean(), probability, error)


def test_half_of_the_pairs_are_false(batch):
    assert_probability(~batch.match, 0.5)


@pytest.mark.parametrize(
    ("count", "probability"), [(1, 27 / 64), (2, 27 / 64), (3, 9 / 64), (4, 1 / 64)]
)
def test_false_pairs_differ_in_one_to_four_labels_as_often_as_stated(batch, count, probability):
    """Of the false pairs 42.19 % in one label, 42.19 % in two, 14.06 % in three, 1.56 % in four."""
    assert_probability(batch.replaced[~batch.match].sum(axis=1) == count, probability)


def test_every_position_is_replaced_equally_often(batch):
    for position in range(4):  # always with probability 1/4, else with 1/4
        assert_probability(batch.replaced[~batch.match][:, position], 0.25 + 0.75 * 0.25)


def test_replacements_of_different_positions_are_independent(batch):
    """Beyond the one that is always replaced, each of the others falls by itself."""
    replaced = batch.replaced[~batch.match]
    for i, j in [(0, 1), (0, 3), (1, 2)]:  # one of the two first: 1/2 · 1/4; neither: 1/2 · 1/16
        assert_probability(replaced[:, i] & replaced[:, j], 0.5 * 0.25 + 0.5 * 0.25**2)


def test_false_pair_always_replaces_at_least_one_label(batch):
    assert batch.replaced[~batch.match].any(axis=1).all()


def test_a_pair_is_true_if_and_only_if_every_label_matches(batch):
    np.testing.assert_array_equal(batch.match, (batch.inputs["words"] == batch.labels).all(axis=1))
    np.testing.assert_array_equal(batch.replaced, batch.inputs["words"] != batch.labels)


def test_replacements_are_uniform_over_the_other_classes_and_never_the_original(batch):
    words = batch.inputs["words"][batch.replaced]
    labels = batch.labels[batch.replaced]
    assert (words != labels).all()
    for label in range(10):
        given_label = words[labels == label]
        for other in set(range(10)) - {label}:
            assert_probability(given_label == other, 1 / 9)


def test_classes_are_exactly_those_in_the_image(batch):
    for row in range(0, DRAWS, 5_003):
        np.testing.assert_array_equal(
            np.flatnonzero(batch.classes[row]), np.unique(batch.labels[row])
        )
    np.testing.assert_array_equal(
        batch.classes, (batch.labels[:, :, None] == np.arange(10)).any(axis=1)
    )


@pytest.mark.parametrize(("false_rate", "replacement_rate"), [(0.2, 0.6), (0.9, 0.1)])
def test_both_probabilities_are_parameters(false_rate, replacement_rate):
    drawn = draw(Task((2, 2), (1, 1, 1), 10, false_rate, "replace", replacement_rate), seed=1)
    assert_probability(~drawn.match, false_rate)
    count = drawn.replaced[~drawn.match].sum(axis=1)
    assert_probability(count == 1, (1 - replacement_rate) ** 3)
    assert_probability(count == 4, replacement_rate**3)


def test_the_probabilities_reach_zero_and_one():
    all_true = draw(Task((2, 2), (1, 1, 1), 10, 0.0), count=1_000)
    assert all_true.match.all()
    one_replaced = draw(Task((2, 2), (1, 1, 1), 10, 1.0, "replace", 0.0), count=1_000)
    assert (one_replaced.replaced.sum(axis=1) == 1).all()
    all_replaced = draw(Task((2, 2), (1, 1, 1), 10, 1.0, "replace", 1.0), count=1_000)
    assert all_replaced.replaced.all()


@pytest.mark.data
def test_table_d1_is_reproduced_for_mnist(idx_directory):
    """Table D.1: how often each class fills each quadrant, to 0.1 percentage points."""
    published = np.array([
        [2.47, 2.45, 2.44, 2.46], [2.82, 2.80, 2.82, 2.84], [2.46, 2.47, 2.50, 2.48],
        [2.52, 2.58, 2.58, 2.56], [2.46, 2.45, 2.43, 2.43], [2.26, 2.29, 2.26, 2.24],
        [2.49, 2.46, 2.46, 2.47], [2.61, 2.62, 2.59, 2.60], [2.45, 2.42, 2.45, 2.42],
        [2.46, 2.46, 2.47, 2.49],
    ])  # fmt: skip
    train = load_splits("idx", "mnist", str(idx_directory)).train
    task = Task((2, 2), (1, 1, 1), 10)
    counts = np.zeros((10, 4))
    labels = jnp.array(train.labels)
    images = jnp.zeros((len(labels), 1, 1, 1), jnp.uint8)  # the labels alone are looked at
    sample = jax.jit(functools.partial(sampler.sample_batch, task=task))
    for epoch in range(8):
        key = jax.random.key(epoch)
        order = sampler.epoch_order(key, len(labels), len(labels))
        drawn = sample(key, images, labels, order, jnp.ones(len(labels)))
        for position in range(4):
            counts[:, position] += np.bincount(drawn.labels[:, position], minlength=10)
    shares = 100 * counts / counts.sum()
    np.testing.assert_allclose(shares, published, atol=0.1)


@settings(max_examples=25, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    batch_size=st.integers(1, 4),
)
def test_images_are_pasted_pixel_for_pixel_in_reading_order(grid, shape, batch_size):
    rows, columns = grid
    height, width, channels = shape
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, rows * columns, *shape)).astype(np.uint8)
    pasted = np.asarray(sampler.paste(jnp.array(images), grid))
    assert pasted.shape == (batch_size, rows * height, columns * width, channels)
    assert pasted.dtype == np.uint8
    for position in range(rows * columns):
        top, left = position // columns * height, position % columns * width
        np.testing.assert_array_equal(
            pasted[:, top : top + height, left : left + width], images[:, position]
        )


def test_image_and_labels_of_a_batch_belong_together():
    """Images whose brightness is their label: the pasted pixels tell the labels."""
    labels = jnp.arange(500) % 7
    images = jnp.broadcast_to((labels * 30)[:, None, None, None], (500, 3, 5, 1)).astype(jnp.uint8)
    task = Task((3, 2), (3, 5, 1), 7)
    drawn = sampler.sample_batch(
        jax.random.key(3), images, labels, jnp.arange(64), jnp.ones(64), task
    )
    assert drawn.inputs["image"].shape == (64, 9, 10, 1)
    seen = drawn.inputs["image"][:, 1::3, 2::5, 0].reshape(64, 6) // 30
    np.testing.assert_array_equal(seen, drawn.labels)
    np.testing.assert_array_equal(drawn.labels[:, 0], np.arange(64) % 7)


@settings(max_examples=20, deadline=None)
@given(num_images=st.integers(1, 300), batch_size=st.integers(1, 400), seed=st.integers(0, 2**31))
def test_every_image_is_a_base_image_once_per_epoch(num_images, batch_size, seed):
    order = sampler.epoch_order(jax.random.key(seed), num_images, batch_size)
    shown = []
    for step in range(sampler.steps_per_epoch(num_images, batch_size)):
        base, weight = sampler.base_images(order, step, batch_size, num_images)
        assert base.shape == weight.shape == (batch_size,)
        assert ((base >= 0) & (base < num_images)).all()
        shown += np.asarray(base)[np.asarray(weight) == 1].tolist()
    assert sorted(shown) == list(range(num_images))


def test_the_order_of_base_images_comes_from_the_key():
    orders = [sampler.epoch_order(jax.random.key(s), 1_000, 100).tolist() for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_the_other_images_are_drawn_uniformly_from_the_split():
    labels = jnp.arange(20)
    drawn = sampler.sample_batch(
        jax.random.key(0), jnp.zeros((20, 1, 1, 1), jnp.uint8), labels,
        jnp.zeros(70_000, jnp.int32), jnp.ones(70_000), Task((2, 2), (1, 1, 1), 20),
    )  # fmt: skip
    for position in (1, 2, 3):
        for image in range(20):
            assert_probability(np.asarray(drawn.labels[:, position]) == image, 1 / 20)


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_the_batch_is_the_same_on_any_number_of_devices(devices):
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as P

    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 4, 4, 1)).astype(np.uint8)
    labels = rng.integers(0, 10, 100).astype(np.int32)
    task = Task((2, 2), (4, 4, 1), 10)
    arguments = (jax.random.key(5), images, labels, jnp.arange(64), jnp.ones(64))
    expected = sampler.sample_batch(*arguments, task=task)
    sharded = jax.jit(
        functools.partial(sampler.sample_batch, task=task),
        out_shardings=NamedSharding(mesh, P("data")),
    )(*jax.device_put(arguments, NamedSharding(mesh, P())))
    assert len(sharded.match.sharding.device_set) == devices
    jax.tree.map(np.testing.assert_array_equal, sharded, expected)


def test_sampling_can_be_mapped_over_keys():
    labels = jnp.arange(50) % 10
    images = jnp.zeros((50, 2, 2, 1), jnp.uint8)
    sample = functools.partial(sampler.sample_batch, task=TASK)
    keys = jax.random.split(jax.random.key(0), 3)
    many = jax.vmap(sample, in_axes=(0, None, None, None, None))(
        keys, images, labels, jnp.arange(8), jnp.ones(8)
    )
    for i in range(3):
        one = sample(keys[i], images, labels, jnp.arange(8), jnp.ones(8))
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x, i=i: x[i], many), one)


def test_a_task_with_one_class_is_refused():
    with pytest.raises(UserError, match="classes"):
        Task((2, 2), (28, 28, 1), 1)
