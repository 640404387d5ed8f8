"""The step, the loop and the checkpoints: same numbers on any devices, after any stop."""

import copy
import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import StopAfter, assert_trees_equal, six_losses

from multimodal_vit import sampler
from multimodal_vit.data.splitting import split
from multimodal_vit.errors import UserError
from multimodal_vit.objectives import Keys, Outputs
from multimodal_vit.objectives.metrics import accuracies
from multimodal_vit.objectives.supervised import BinaryCrossEntropy
from multimodal_vit.parameters import Declaration
from multimodal_vit.train import loop
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.loop import train
from multimodal_vit.train.optimizers import learning_rate_schedule, make_optimizer
from multimodal_vit.train.predictor import Predictor
from multimodal_vit.train.progress import Display
from multimodal_vit.train.step import loss_and_sums
from multimodal_vit.train.writer import MetricWriter, read_metrics
from multimodal_vit.versions import arithmetic


@pytest.fixture
def experiment(tiny_config, tiny_splits) -> Experiment:
    """88 training images in batches of 32: three steps an epoch, the last one not full."""
    tiny_config.train.num_samples = 4 * 88
    return Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])


@pytest.mark.long
def test_one_step_is_what_pmap_gives_on_eight_devices(experiment):
    """The reference: each of 8 devices takes its rows, gradients are averaged by hand."""
    batch_size = experiment.config.train.batch_size
    assert jax.device_count() == 8
    key = sampler.named_key(jax.random.key(experiment.config.seed), "train")
    config = copy.deepcopy(experiment.config)
    config.model.dropout_rate = 0.0  # under pmap each device would draw its own mask
    config.train.warmup_steps = 0  # else the first update would be nothing
    experiment = Experiment.create(config, experiment.splits, jax.devices())
    state, data = experiment.init_state(), experiment.train_data()
    epoch = experiment.epoch(0)

    base, weight = sampler.base_images(epoch.order, 0, batch_size, len(data.labels))
    batch_key = jax.random.fold_in(sampler.named_key(key, "batch"), 0)
    batch = sampler.sample_batch(batch_key, data.images, data.labels, base, weight, experiment.task)
    shards = jax.tree.map(lambda x: np.asarray(x).reshape(8, -1, *x.shape[1:]), batch)

    def pmapped(params, opt_state, shard):
        gradient = jax.grad(lambda p: loss_and_sums(
            p, {}, experiment.objective, shard, Keys(jax.random.key(0)))[0]
        )(params)  # fmt: skip
        gradient = jax.lax.pmean(gradient, "devices")
        updates, _ = experiment.optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates)

    reference = jax.pmap(pmapped, axis_name="devices", in_axes=(None, None, 0))(
        jax.device_get(state.params), jax.device_get(state.opt_state), shards
    )
    found = jax.jit(experiment.train_step())(state, data, epoch)
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), state.params, found.params)
    assert min(jax.tree.leaves(moved)) > 1e-4
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, atol=1e-6), reference, found.params
    )


def test_the_loss_curve_is_the_same_on_any_number_of_devices(tiny_config, tiny_splits):
    def losses(count):
        experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:count])
        return six_losses(experiment)[0]

    alone = losses(1)
    for devices in (2, 4, 8):
        np.testing.assert_allclose(losses(devices), alone, rtol=1e-5)


def final_state(experiment, workdir):
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    step = checkpoints.latest_step()
    state, progress = checkpoints.restore(step, experiment.abstract_state())
    checkpoints.close()
    return jax.device_get(state), progress


def test_two_epochs_stopped_and_resumed_to_four_are_four_epochs_straight(experiment, tmp_path):
    """Bitwise: parameters, optimizer, and the metrics file, without gap or duplicate."""
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    outcome = train(experiment, tmp_path / "straight")
    assert (outcome.finished, outcome.step) == (True, 12)

    def two_epochs_are_done() -> bool:
        rows = read_metrics(tmp_path / "stopped/metrics.jsonl")
        return any(row["split"] == "validation" and row["step"] == 6 for row in rows)

    outcome = train(experiment, tmp_path / "stopped", should_stop=two_epochs_are_done)
    assert not outcome.finished
    assert outcome.step < 12
    outcome = train(experiment, tmp_path / "stopped")
    assert (outcome.finished, outcome.step) == (True, 12)

    straight, _ = final_state(experiment, tmp_path / "straight")
    stopped, _ = final_state(experiment, tmp_path / "stopped")
    assert_trees_equal(straight, stopped)
    assert read_metrics(tmp_path / "straight/metrics.jsonl") == read_metrics(
        tmp_path / "stopped/metrics.jsonl"
    )


@pytest.mark.parametrize("dispatches", [0, 3])
def test_a_stop_within_an_epoch_changes_nothing_either(experiment, tmp_path, dispatches):
    experiment.config.train.log_every_steps = 5  # the sums of an unfinished log line are kept too
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(experiment, tmp_path / "straight")
    assert not train(experiment, tmp_path / "stopped", should_stop=StopAfter(dispatches)).finished
    train(experiment, tmp_path / "stopped")
    assert_trees_equal(
        final_state(experiment, tmp_path / "straight")[0],
        final_state(experiment, tmp_path / "stopped")[0],
    )
    rows = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("straight", "stopped")]
    assert rows[0] == rows[1]
    assert [r["step"] for r in rows[0] if r["split"] == "train"] == [5, 10, 12]
    assert [r["step"] for r in rows[0] if r["split"] == "validation"] == [3, 6, 9, 12]


def test_validations_can_come_by_steps(tiny_config, tiny_splits, tmp_path):
    """Also within an epoch, of three steps; once more at the end, which need not be an epoch's."""
    tiny_config.train.num_samples = 3 * 88 + 40
    tiny_config.train.steps_per_validation = 5
    experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
    train(experiment, tmp_path)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if row["split"] == "validation"]
    assert [row["step"] for row in rows] == [5, 10, 11]
    assert rows[-1]["samples"] == 3 * 88 + 64  # whole batches


def test_training_stops_when_the_validation_loss_no_longer_falls(experiment, tmp_path):
    experiment.config.train.patience = 3
    # Uphill: the first validation stays the best.
    rising = dataclasses.replace(experiment, optimizer=optax.sgd(-1.0))
    outcome = train(rising, tmp_path)
    assert outcome.progress.best_step == 3
    assert outcome.progress.validations_without_gain == 3
    assert outcome.finished
    assert outcome.step == 12
    checkpoints = Checkpoints(tmp_path / "checkpoints", read_only=True)
    assert (checkpoints.best_step(), checkpoints.latest_step()) == (3, 12)
    assert train(rising, tmp_path).step == 12  # started again: still over


def test_a_run_that_goes_on_with_other_threads_says_so_and_notes_it(
    experiment, tmp_path, monkeypatch
):
    class Said(Display):
        def line(self, text):
            lines.append(text)

    lines = []
    train(experiment, tmp_path, Said(), should_stop=StopAfter(2))
    train(experiment, tmp_path, Said(), should_stop=StopAfter(2))
    assert not any("Warning: up to step" in line for line in lines)
    here = arithmetic()
    monkeypatch.setattr("multimodal_vit.versions.cpu_threads", lambda: 77)
    outcome = train(experiment, tmp_path, Said())
    (warning,) = (line for line in lines if "Warning: up to step" in line)
    assert f"it was trained on {here}, and goes on on {arithmetic()}: sums are rounded" in warning
    assert "77 threads" in warning
    assert outcome.progress.trained_on == [here, arithmetic()]
    assert outcome.finished
    monkeypatch.undo()  # nothing is left to train: nothing is said
    assert train(experiment, tmp_path, Said()).progress.trained_on == outcome.progress.trained_on
    assert sum("Warning: up to step" in line for line in lines) == 1


def test_a_run_does_not_continue_on_other_data(experiment, tmp_path, digits):
    train(experiment, tmp_path, should_stop=StopAfter(1))
    other = split(digits.train[100:196], digits.test[:40], "other digits", rule="order")
    with pytest.raises(UserError, match="trained on other data than other digits"):
        train(dataclasses.replace(experiment, splits=other), tmp_path)


def test_the_loss_falls(tiny_config, tiny_splits, tmp_path):
    tiny_config.train.num_samples = 88 * 20
    tiny_config.train.epochs_per_validation = 10
    experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
    outcome = train(experiment, tmp_path)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if row["split"] == "train"]
    assert outcome.step == 60
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert rows[-1]["samples"] == 88 * 20
    assert all(np.isfinite(row["gradient_norm"]) for row in rows)


# ---- optimizer and objective ----


def test_the_schedule_warms_up_and_decays(tiny_config):
    tiny_config.train.update({"learning_rate": 0.5, "warmup_steps": 10})
    constant = learning_rate_schedule(tiny_config.train, 100)
    tiny_config.train.schedule = "constant"
    constant = learning_rate_schedule(tiny_config.train, 100)
    assert [float(constant(s)) for s in (0, 5, 10, 99)] == pytest.approx([0, 0.25, 0.5, 0.5])
    tiny_config.train.schedule = "cosine"
    cosine = learning_rate_schedule(tiny_config.train, 110)
    assert [float(cosine(s)) for s in (0, 10, 60, 110)] == pytest.approx([0, 0.5, 0.25, 0])
    tiny_config.train.warmup_steps = 0
    assert float(learning_rate_schedule(tiny_config.train, 100)(0)) == 0.5


def test_weight_decay_acts_on_kernels_and_embeddings_alone(experiment):
    config = copy.deepcopy(experiment.config.train)
    config.update({"weight_decay": 0.1, "gradient_clip": 0.0, "warmup_steps": 0})
    optimizer = make_optimizer(config, 10, experiment.declared)
    params = jax.tree.map(jnp.ones_like, experiment.init_state().params)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    decayed = {
        "/".join(key.key for key in path): bool((update < 0).all())
        for path, update in jax.tree_util.tree_leaves_with_path(updates)
    }
    assert decayed["fusion/encoder/block_0/attention/qkv/kernel"]
    assert {name for name, value in decayed.items() if value} == {
        name for name in decayed if name.endswith(("/kernel", "/embedding"))
    }


def test_muon_steps_are_orthogonal_for_matrices_and_as_adam_for_the_rest(experiment):
    config = copy.deepcopy(experiment.config.train)
    config.update({"weight_decay": 0.0, "gradient_clip": 0.0, "warmup_steps": 0})
    params = experiment.init_state().params
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    draw = lambda key, leaf: jax.random.normal(key, leaf.shape)  # noqa: E731
    gradient = tree.unflatten([draw(*pair) for pair in zip(keys, leaves, strict=True)])
    config.optimizer = "muon"
    optimizer = make_optimizer(config, 10, experiment.declared)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    block = updates["fusion"]["encoder"]["block_0"]
    qkv = block["attention"]["qkv"]["kernel"].reshape(16, 48)
    for matrix in (qkv, updates["embeddings_patches"]["stem"]["conv_1"]["kernel"]):
        values = jnp.linalg.svd(matrix.reshape(-1, matrix.shape[-1]), compute_uv=False)
        assert values.max() < 2 * values.min()  # five Newton-Schulz steps; a random one: far more
    root_mean_square = float(jnp.sqrt(jnp.mean(qkv**2)))
    assert root_mean_square == pytest.approx(0.2 * config.learning_rate, rel=0.3)
    for name in ("head", "embeddings_words"):  # Adam's first step: one size for all entries
        sizes = np.concatenate([np.ravel(jnp.abs(leaf)) for leaf in jax.tree.leaves(updates[name])])
        np.testing.assert_allclose(sizes, sizes.max(), rtol=1e-3)


def test_a_run_that_diverges_stops_and_keeps_its_best_checkpoint(experiment, tmp_path, monkeypatch):
    """The validation loss is not finite although every step was."""
    experiment.config.train.log_every_steps = 100

    class Overflowing(Predictor):
        def __call__(self, variables, part, suite=""):
            found = super().__call__(variables, part, suite)
            late = len(read_metrics(tmp_path / "metrics.jsonl")) == 2  # the third validation
            return dataclasses.replace(found, loss=found.loss + (np.nan if late else 0))

    monkeypatch.setattr(loop, "Predictor", Overflowing)
    with pytest.raises(UserError, match=r"validation loss at step 9 is nan.*step [36], is kept"):
        train(experiment, tmp_path)
    checkpoints = Checkpoints(tmp_path / "checkpoints", read_only=True)
    assert checkpoints.best_step() in (3, 6)
    assert checkpoints.latest_step() == 6


def test_without_extras_the_optimizer_is_plain_adam(tiny_config):
    tiny_config.train.update(
        {
            "gradient_clip": 0.0,
            "warmup_steps": 0,
            "schedule": "constant",
            "weight_decay": 0.0,
            "learning_rate": 0.01,
        }
    )
    declared = {"kernel": Declaration()}
    ours, plain = make_optimizer(tiny_config.train, 10, declared), optax.adam(0.01)
    params = {"kernel": jnp.ones((3, 2))}
    states = [ours.init(params), plain.init(params)]
    for step in range(3):
        gradient = {"kernel": jnp.arange(6.0).reshape(3, 2) - step}
        (u, states[0]), (v, states[1]) = (
            o.update(gradient, s, params) for o, s in zip((ours, plain), states, strict=True)
        )
        np.testing.assert_allclose(u["kernel"], v["kernel"], rtol=1e-6)


def batch_of(match, classes) -> sampler.Batch:
    zeros = jnp.zeros((len(match), 4), jnp.int32)
    weight = jnp.array([1.0] * (len(match) - 1) + [0.0])
    return sampler.Batch({}, zeros, zeros, jnp.array(match), jnp.array(classes), zeros > 0, weight)


@pytest.mark.parametrize("units", [1, 2])
def test_the_loss_is_binary_cross_entropy_averaged_over_the_outputs(units):
    rng = np.random.default_rng(0)
    match, classes = rng.random(6) < 0.5, rng.random((6, 10)) < 0.4
    logits = rng.normal(size=(6, units + 10))
    target = np.concatenate(
        [np.stack([match, ~match], 1)[:, :units], classes], axis=1
    ).astype(float)  # fmt: skip
    p = 1 / (1 + np.exp(-logits))
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean(axis=1)
    found = BinaryCrossEntropy.of_logits(jnp.array(logits), {}, batch_of(match, classes))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_filling_rows_do_not_count():
    match, classes = [True, False, True], np.zeros((3, 10), bool)
    logits = jnp.full((3, 11), -1.0)
    batch, loss = batch_of(match, classes), jnp.array([1.0, 2.0, 100.0])
    fixed = SimpleNamespace(loss=lambda *_, **__: Outputs(loss, logits, accuracies(logits, batch)))
    _, (sums, _) = loss_and_sums({}, {}, fixed, batch, Keys())
    assert {k: float(v) for k, v in sums.items()} == {
        "weight": 2, "loss": 3, "match_accuracy": 1, "class_accuracy": 2,
    }  # fmt: skip


# ---- the metrics file ----


def test_a_reopened_metrics_file_has_no_gap_and_no_duplicate(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        for step in (10, 20, 30):
            writer.write("train", step, step * 2, {"loss": 1 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"split": "train", "step": 40, "lo')  # a process died while writing
    with MetricWriter(tmp_path, 20) as writer:
        writer.write("train", 30, 60, {"loss": 0.5})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(10, 0.1), (20, 0.05), (30, 0.5)]


def test_metrics_are_tensorboard_events_too(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    from multimodal_vit.data.records import records

    with MetricWriter(tmp_path, 0) as writer:
        writer.write("train", 10, 20, {"loss": 0.25, "nested": {"a": 1}})
    (path,) = (tmp_path / "tensorboard").iterdir()
    events = [Event.FromString(record) for record in records(path, "tfrecord")]
    found = {(e.step, v.tag): v.simple_value for e in events for v in e.summary.value}
    assert found == {(10, "train/loss"): 0.25}


def test_a_warm_up_of_more_than_a_fifth_of_the_run_is_warned_of(tiny_config, tiny_splits, tmp_path):
    from multimodal_vit.train.one_run import OneRun

    tiny_config.train.num_samples = 10 * 88  # 30 steps
    for warmup, step, warned in ((6, 0, False), (7, 0, True), (7, 3, False)):
        tiny_config.train.warmup_steps = warmup
        experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
        said = []
        OneRun(experiment, None, None, said.append, None, tmp_path, step).look_at_warmup()
        assert bool(said) is warned
    assert experiment.total_steps == 30


def test_a_tracker_is_given_each_row_and_its_trouble_ends_no_run(
    tiny_config, tiny_splits, tmp_path
):
    tiny_config.train.num_samples = 2 * 88
    experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
    rows, said = [], []

    def on_row(row):
        rows.append(row)
        if len(rows) == 3:
            raise ConnectionError("no network")

    class Said(Display):
        def line(self, text):
            said.append(text)

    assert train(experiment, tmp_path, Said(), on_row=on_row).finished
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [{"seed": tiny_config.seed} | row for row in written[:3]] == rows
    assert said.count("on_row is not asked again: ConnectionError: no network") == 1
