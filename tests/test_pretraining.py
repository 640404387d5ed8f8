"""Pre-training from images alone: what is seen, what leaks, the teacher, and that it goes on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import StopAfter, assert_trees_equal

from multimodal_vit import config as configuration
from multimodal_vit.config import changed
from multimodal_vit.errors import UserError
from multimodal_vit.objectives import Keys
from multimodal_vit.objectives.pretraining import spread
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.loop import train

KEYS = Keys(objective=jax.random.key(3))
NAMES = ("mae", "simclr", "byol", "data2vec", "swav")


@pytest.fixture
def tiny_config(tiny_config):
    """Sixteen raw patches, no dropout."""
    changes = {"model.stem": "conv", "model.num_conv_layers": 0, "model.patch_size": 14}
    return changed(tiny_config, changes | {"model.dropout_rate": 0.0})


_made = {}


@pytest.fixture
def make(tiny_config, tiny_splits):
    """Experiment, first variables and an epoch's last batch of an objective; each made once."""

    def made(name):
        if name not in _made:
            config = changed(tiny_config, {"train.objective": name})
            experiment = Experiment.create(config, tiny_splits, jax.devices()[:1])
            _made[name] = experiment, experiment.init_state().variables, experiment.batch(2)
        return _made[name]

    return made


@pytest.mark.parametrize("name", NAMES)
def test_neither_filling_nor_texts_change_a_loss_and_no_gradient_reaches_a_teacher(make, name):
    experiment, variables, batch = make(name)
    real = batch.weight > 0
    assert not real.all()

    @jax.jit
    @jax.value_and_grad
    def loss(variables, batch):
        found = experiment.objective.loss(variables, batch, KEYS, train=False)
        return (found.loss * (batch.weight > 0)).sum()

    image = batch.inputs["image"].copy()
    image[~real] = 255 - image[~real]
    other = batch.replace(inputs={"image": image, "words": (batch.inputs["words"] + 1) % 10})
    (before, gradient), (after, _) = loss(variables, batch), loss(variables, other)
    np.testing.assert_allclose(before, after, rtol=1e-5)
    assert any(leaf.any() for leaf in jax.tree.leaves(gradient["params"]["objective"]))
    assert gradient["params"]["embeddings_patches"]["patches"]["projection"]["kernel"].any()
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient.get("teacher", {})))


def test_hidden_pixels_reach_no_prediction_and_a_quarter_is_seen(make):
    experiment, variables, batch = make("mae")
    objective, image = experiment.objective, batch.inputs["image"]
    P, visible, pixels = objective.sizes()
    assert (P, visible, pixels) == (16, 4, 196)
    order = jnp.tile(jnp.arange(16)[::-1], (32, 1))  # the last four patches are visible
    restore = order.argsort(axis=1)

    @jax.jit
    def draw(image):
        return objective.drawn(variables, image, order, restore, Keys(), False)[0]

    before = draw(image)
    hidden, seen = image.copy(), image.copy()
    hidden[:, :42] = 255 - hidden[:, :42]
    seen[:, 42:] = 255 - seen[:, 42:]
    np.testing.assert_array_equal(before, draw(hidden))
    assert (before != draw(seen)).any()
    targets = objective.patches(image)
    np.testing.assert_array_equal(targets[:, :12], objective.patches(seen)[:, :12])
    np.testing.assert_allclose(targets[3, 1], image[3, :14, 14:28].reshape(-1) / 255, rtol=1e-6)


def test_each_cell_is_read_alone(make):
    experiment, variables, batch = make("simclr")
    image = batch.inputs["image"]
    other = image.copy()
    other[:, 28:, 28:] = 255 - other[:, 28:, 28:]

    @jax.jit
    def read(image):
        return experiment.objective.read(variables, image, "cells", Keys(), False).vectors

    before, after = read(image), read(other)
    assert before.shape == (32, 4, 16)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3] != after[:, 3]).any(axis=-1).all()


def test_the_monitor_is_zero_for_one_vector_and_near_one_for_a_sphere():
    real = np.arange(600) < 500
    x = np.random.default_rng(0).normal(size=(600, 64))
    assert spread(np.ones((600, 64)), real) == pytest.approx(0, abs=1e-3)
    assert spread(x, real) == pytest.approx(1, abs=0.05)


def test_a_teacher_follows_and_stays_where_a_step_is_skipped(make):
    experiment, _, _ = make("data2vec")
    state, data = experiment.init_state(), experiment.train_data()
    step = jax.jit(experiment.train_step())
    assert_trees_equal(state.statistics["teacher"], state.params)
    one = step(state, data, experiment.epoch(0))
    rate = float(experiment.objective.rate(jnp.int32(1)))
    assert rate == pytest.approx(0.99 + 0.009 / 2_000)
    jax.tree.map(
        lambda old, new, t: np.testing.assert_allclose(
            t, rate * old + (1 - rate) * new, atol=1e-6
        ),
        state.params, one.params, one.statistics["teacher"],
    )  # fmt: skip
    broken = jax.tree.map(lambda x: x, one.params)
    broken["head"] = jax.tree.map(lambda x: x * np.nan, broken["head"])
    broken["fusion"]["class_token"] = broken["fusion"]["class_token"] * np.nan
    two = step(one.replace(params=broken), data, experiment.epoch(0))
    assert float(two.sums["skipped_steps"]) == 1
    assert_trees_equal(two.statistics["teacher"], one.statistics["teacher"])


def test_a_run_with_a_teacher_goes_on_to_the_same_bits(make, tmp_path):
    experiment, _, _ = make("data2vec")
    config = changed(experiment.config, {"train.num_samples": 176})
    experiment = dataclasses.replace(experiment, config=config)
    states = []
    for name, stops in (("whole", 99), ("parts", 2)):
        folder = tmp_path / name
        folder.mkdir()
        outcome = train(experiment, folder, should_stop=StopAfter(stops))
        while not outcome.finished:
            outcome = train(experiment, folder)
        checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
        state, _ = checkpoints.restore(outcome.step, experiment.abstract_state())
        states.append(state)
        assert outcome.progress.best_step == outcome.step == 6  # the last is the best
    assert_trees_equal(*states)
    own, teacher = states[0].params, states[0].statistics["teacher"]
    assert (own["fusion"]["positions"] != teacher["fusion"]["positions"]).any()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mae", {"model.num_conv_layers": 2}, "hides pixels, which a stem would let through"),
        ("mae", {"train.objective_options.decoder_dim": 6}, "must be a multiple of 4"),
        ("simclr", {"train.accumulate_steps": 2}, "compares the pairs of a batch"),
        ("byol", {"train.patience": 3}, "has no validation metric to stop by"),
        ("byol", {"model.initial": "there"}, "begins its teacher with its own first parameters"),
        ("swav", {"model.modalities": ("words",)}, "model.modalities must name 'patches'"),
    ],
)
def test_what_does_not_fit_a_pre_training_is_said(tiny_config, name, changes, message):
    with pytest.raises(UserError, match=message):
        configuration.check(changed(tiny_config, {"train.objective": name} | changes))


def test_tokens_that_straddle_cells_are_refused(tiny_config, tiny_splits):
    changes = {"train.objective": "simclr", "model.patch_size": 8}
    with pytest.raises(UserError, match="7×7 image tokens straddle the cells of a 2×2 grid"):
        Experiment.create(changed(tiny_config, changes), tiny_splits, jax.devices()[:1])


def test_a_search_of_what_has_no_verdict_is_refused(tiny_config):
    from multimodal_vit.search.definition import problems, search

    config = changed(tiny_config, {"train.objective": "mae"})
    asked = search("Which rate?", {"mae": (config, {"train.learning_rate": (1e-3, 1e-2)})})
    assert any("has no verdict; a search maximises" in line for line in problems(asked))
