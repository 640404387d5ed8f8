"""Objectives (one in a batch, one with a teacher, one with masks) and the designs of fusion.

On many devices, over stops, and several seeds as one program.
"""

import dataclasses
import json
import re

import jax
import numpy as np
import optax
import pytest
from conftest import StopAfter, six_losses
from test_fusions import DESIGNS
from test_layout import collectives, compiled_steps
from test_seeds import SEEDS, folders, same_run

from multimodal_vit.config import changed
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.loop import train, train_seeds
from multimodal_vit.train.seeds import Seeds, SingleRun

IN_BATCH, TEACHER, MASKED = "clip", "data2vec", "masked_labels"
SHAPE = re.compile(r"[a-z]+[0-9]+\[([0-9,]*)\]")
OBJECTIVES = (IN_BATCH, TEACHER, MASKED)
LAYOUTS = [(2, "replicated", 1), (4, "replicated", 1), (8, "replicated", 1), (4, "fsdp", 2),
           (4, "tensor", 2)]  # fmt: skip


@pytest.fixture
def tiny_config(tiny_config):
    """Four raw patches: half the time to compile."""
    return changed(tiny_config, {"model.num_conv_layers": 0, "model.patch_size": 28})


def create(config, splits, devices=1, layout="replicated", model_devices=1, **changes):
    config = changed(config, {"train.layout": layout, "train.model_devices": model_devices})
    return Experiment.create(changed(config, changes), splits, jax.devices()[:devices])


# ---- devices ----


_alone = {}


@pytest.fixture
def alone(tiny_config, tiny_splits):
    """The six losses of an objective on one device; each computed once."""

    def losses(name):
        if name not in _alone:
            experiment = create(tiny_config, tiny_splits, **{"train.objective": name})
            _alone[name], _ = six_losses(experiment)
        return _alone[name]

    return losses


def every_day(asked, which):
    """Parameters of a test: `which` of them in the suite of every day, all with `-m long`."""
    return [pytest.param(*one, marks=() if one in which else pytest.mark.long) for one in asked]


@pytest.mark.parametrize(
    ("name", "devices", "layout", "model_devices"),
    every_day(
        [(name, *where) for name in OBJECTIVES for where in LAYOUTS],
        [(IN_BATCH, 4, "fsdp", 2), (TEACHER, 4, "tensor", 2)],
    ),
)
def test_devices_share_an_objective_to_the_same_losses(
    tiny_config, tiny_splits, alone, name, devices, layout, model_devices
):
    """Six steps, rows that fill an epoch's last batch among them; each loss to 2e-5 of itself."""
    shared = create(
        tiny_config, tiny_splits, devices, layout, model_devices, **{"train.objective": name}
    )
    found, _ = six_losses(shared)
    np.testing.assert_allclose(found, alone(name), rtol=2e-5)


def test_a_contrast_shares_vectors_and_a_teacher_nothing(tiny_config, tiny_splits):
    """A contrast tells each device the vectors of the others, [B, d], a few times; the rest is what
    every model shares, its gradients. A teacher follows on each device by itself."""
    experiment = create(tiny_config, tiny_splits, 4, **{"train.objective": IN_BATCH})
    parameters = sum(x.size for x in jax.tree.leaves(experiment.abstract_state().params))
    sizes = [
        int(np.prod([int(n) for n in dims.split(",") if n]))
        for line in compiled_steps(experiment).splitlines()
        if collectives(line)
        for dims in SHAPE.findall(re.split(r" (?:all|reduce|collective)-", line)[0])
    ]
    assert sum(sizes) > parameters  # all is seen
    vectors = tiny_config.train.batch_size * experiment.config.train.objective_options.dim
    assert sum(sizes) - parameters < 10 * vectors
    experiment = create(tiny_config, tiny_splits, 4, **{"train.objective": TEACHER})
    lines = [line for line in compiled_steps(experiment).splitlines() if collectives(line)]
    assert {kind for line in lines for kind, _ in collectives(line)} == {"all-reduce"}
    assert len(lines) <= 3  # of the gradients, and of the monitor's mean and deviation


# ---- stops, and several seeds ----


@pytest.fixture
def pair(tiny_config, tiny_splits):
    """Two seeds of an objective, six steps each."""

    def made(name):
        asked = {"train.objective": name, "train.num_samples": 176, "train.patience": 0}
        shared = create(tiny_config, tiny_splits, **asked)
        return [shared.with_seed(seed) for seed in SEEDS]

    return made


@pytest.mark.parametrize("name", every_day([(name,) for name in OBJECTIVES], [(TEACHER,)]))
def test_seeds_at_once_and_over_a_stop_are_the_bits_of_each_alone(pair, tmp_path, name):
    experiments = pair(name)
    alone, together = folders(tmp_path / "alone"), folders(tmp_path / "together")
    for experiment, folder in zip(experiments, alone, strict=True):
        assert train(experiment, folder).finished
    outcomes = train_seeds(experiments, together, should_stop=StopAfter(2))
    assert not any(outcome.finished for outcome in outcomes)
    assert all(outcome.finished for outcome in train_seeds(experiments, together))
    for experiment, one, other in zip(experiments, alone, together, strict=True):
        same_run(experiment, one, other)
        assert json.loads((one / "metrics.jsonl").read_text().splitlines()[-1])


# ---- designs of fusion ----


@pytest.mark.long
@pytest.mark.parametrize("layout", ["fsdp", "tensor"])
@pytest.mark.parametrize("design", DESIGNS)
def test_devices_share_a_design_to_the_same_losses(tiny_config, tiny_splits, design, layout):
    """Six losses on four devices, parameters cut in two, as on one."""
    fusion = {"model.fusion": design, "model.num_encoder_layers": 2, "model.dropout_rate": 0.0}
    alone, _ = six_losses(create(tiny_config, tiny_splits, **fusion))
    shared, _ = six_losses(create(tiny_config, tiny_splits, 4, layout, 2, **fusion))
    np.testing.assert_allclose(shared, alone, rtol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("design", DESIGNS)
def test_seeds_of_a_design_are_one_program(tiny_config, tiny_splits, design):
    """By vmap, as on a GPU: the loss of a seed's three steps is that of the seed alone."""
    fusion = {"model.fusion": design, "model.num_encoder_layers": 2}
    shared = create(tiny_config, tiny_splits, **fusion)
    both = [
        dataclasses.replace(shared.with_seed(seed), optimizer=optax.sgd(0.1)) for seed in (4, 5)
    ]
    data, together, single = shared.train_data(), Seeds(both, at_once=True), SingleRun(both[0])
    one, _ = single.steps(both[0].init_state(), data, single.epoch(0), 3, [True])
    state = together.join([experiment.init_state() for experiment in both])
    state, _ = together.steps(state, data, together.epoch(0), 3, [True, True])
    found = jax.device_get(together.of(state, 0))
    np.testing.assert_allclose(found.sums["loss"], one.sums["loss"], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, one)
