"""Devices: what they tell each other, what each holds and draws, and that all give one curve."""

import copy
import dataclasses
import re

import jax
import numpy as np
import pytest
from conftest import six_losses

from multimodal_vit.errors import UserError
from multimodal_vit.layout import LAYOUTS, make_mesh
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.step import draw_batch, make_train_steps

COLLECTIVE = re.compile(
    r"= .*? (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|"
    r'collective-broadcast)(?:-start)?\(.*?(?:op_name="([^"]*)")?[^"]*$'
)


def collectives(compiled: str) -> list[tuple[str, str]]:
    """The collectives of a compiled program and the operation that each stems from."""
    found = (COLLECTIVE.search(line) for line in compiled.splitlines())
    return [(match[1], match[2] or "") for match in found if match]


@pytest.fixture
def tiny_config(tiny_config):
    """Without a stem and with larger patches: half the time to compile."""
    tiny_config.model.update({"num_conv_layers": 0, "patch_size": 28})
    return tiny_config


_alone = {}


@pytest.fixture
def alone(tiny_config, tiny_splits):
    """The curve on one device; computed once."""
    if not _alone:
        _alone["losses"], _ = six_losses(create(copy.deepcopy(tiny_config), tiny_splits, 1))
    return _alone["losses"]


def create(config, splits, devices=4, layout="replicated", model_devices=1, **train):
    config.train.update({"layout": layout, "model_devices": model_devices} | train)
    return Experiment.create(config, splits, jax.devices()[:devices])


def compiled_steps(experiment) -> str:
    arguments = experiment.init_state(), experiment.train_data(), experiment.epoch(0), 3
    return make_train_steps(experiment.train_step()).lower(*arguments).compile().as_text()


def test_a_step_holds_one_all_reduce_and_nothing_else(tiny_config, tiny_splits):
    experiment = create(tiny_config, tiny_splits, gradient_clip=1.0)
    ((kind, _),) = collectives(compiled_steps(experiment))
    assert kind == "all-reduce"


@pytest.mark.parametrize(
    ("layout", "corruption", "held_out"),
    [
        ("replicated", "replace", "nothing"),
        ("replicated", "mixed", "sequences"),
        ("fsdp", "replace", "nothing"),
        ("tensor", "replace", "nothing"),
    ],
)
def test_each_device_draws_its_own_rows_and_asks_nobody(
    tiny_config, tiny_splits, layout, corruption, held_out
):
    experiment = create(tiny_config, tiny_splits, 8, layout, 1 if layout == "replicated" else 2)
    task = dataclasses.replace(experiment.task, corruption=corruption, held_out=held_out)
    rows = experiment.layout.batch(experiment.mesh)

    def draw(step, data, epoch):
        return jax.lax.with_sharding_constraint(draw_batch(step, data, epoch, task, 32), rows)

    arguments = 1, experiment.train_data(), experiment.epoch(0)
    compiled = jax.jit(draw).lower(*arguments).compile().as_text()
    assert collectives(compiled) == []
    shards = 4 if layout == "tensor" else 8
    drawn = {int(rows) for rows in re.findall(r"u8\[(\d+),56,56,1\]", compiled)}
    assert drawn == {32 // shards}


def test_tensor_layout_adds_up_twice_in_a_block_and_twice_on_the_way_back(tiny_config, tiny_splits):
    experiment = create(tiny_config, tiny_splits, 4, "tensor", 2)
    found = collectives(compiled_steps(experiment))
    assert {kind for kind, _ in found} == {"all-reduce"}
    assert sum("/block_0/" in name and "/dot_general" in name[-12:] for _, name in found) == 4


def test_fsdp_gathers_parameters_and_adds_up_gradients(tiny_config, tiny_splits):
    found = collectives(compiled_steps(create(tiny_config, tiny_splits, 4, "fsdp", 4)))
    assert {kind for kind, _ in found} <= {"all-gather", "all-reduce", "reduce-scatter"}
    gathers = [name for kind, name in found if kind == "all-gather"]
    assert gathers
    assert all(name.endswith("sharding_constraint") for name in gathers)  # of the parameters


@pytest.mark.parametrize(
    ("devices", "layout", "model_devices"),
    [(4, "fsdp", 4), (8, "fsdp", 2), (8, "tensor", 2)],
)
def test_shared_parameters_give_the_same_loss_curve(
    tiny_config, tiny_splits, alone, devices, layout, model_devices
):
    experiment = create(tiny_config, tiny_splits, devices, layout, model_devices)
    found, state = six_losses(experiment)
    np.testing.assert_allclose(found, alone, rtol=1e-5)
    for leaf, like in zip(
        jax.tree.leaves(state), jax.tree.leaves(experiment.abstract_state()), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(like.sharding, leaf.ndim)  # they stay where they lay


def test_each_device_holds_its_part_of_parameters_and_moments(tiny_config, tiny_splits):
    tiny_config.model.update({"embedding_dim": 64, "mlp_dim": 256})
    state = create(tiny_config, tiny_splits, 8, "fsdp", 8).init_state()
    leaves = [leaf for leaf in jax.tree.leaves((state.params, state.opt_state)) if leaf.size > 1]
    share = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves) / sum(
        leaf.nbytes for leaf in leaves
    )
    assert share < 1.3 / 8
    assert state.params["head"]["bias"].sharding.is_fully_replicated


def test_what_cannot_be_cut_is_held_by_all():
    mesh = make_mesh(jax.devices()[:3], 3)
    tree = {"params": {"kernel": np.zeros((64, 64)), "wide": np.zeros((64, 66))}}
    found = LAYOUTS["fsdp"].shardings(mesh, tree)["params"]
    assert found["kernel"].is_fully_replicated
    assert tuple(found["wide"].spec) == (None, "model")


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ({"layout": "fsdq"}, "train.layout='fsdq' is not one of replicated, fsdp, tensor"),
        ({"model_devices": 2}, "train.model_devices=2 does nothing where every device holds all"),
        ({"layout": "fsdp", "model_devices": 3}, "=3 does not divide the 4 devices into equal"),
        ({"layout": "tensor", "model_devices": 4}, "cuts model.num_heads=2 into .*=4 parts"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(tiny_config, tiny_splits, train, reason):
    with pytest.raises(UserError, match=reason):
        create(tiny_config, tiny_splits, 4, **train)
