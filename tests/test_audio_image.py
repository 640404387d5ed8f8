"""Models A, B and C as the paper prints them, and one encoder for image and sound."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from multimodal_vit import config as configuration
from multimodal_vit import evaluate
from multimodal_vit.config import changed, from_file
from multimodal_vit.data import Recordings
from multimodal_vit.errors import UserError
from multimodal_vit.evaluate import Predictions
from multimodal_vit.models import build_model, example_inputs, parameter_count
from multimodal_vit.models.embeddings.audio_features import LSTM
from multimodal_vit.models.embeddings.audio_features import in_steps as steps_of
from multimodal_vit.models.embeddings.image_features import max_pool
from multimodal_vit.objectives.supervised import ClassCrossEntropy
from multimodal_vit.parameters import plain
from multimodal_vit.sampler import Task
from multimodal_vit.train.experiment import Experiment

AUDIO = "modality_options.audio_features"
PATCH_FRAMES = "model.modality_options.audio.patch_frames"
TASK = Task((1, 1), (28, 28, 1), 10, false_rate=0.0, audio_shape=(39, 13))


def load(name, **changes):
    config = from_file(f"{ROOT / 'configs' / name}.py:small")
    return changed(config, {f"model.{field}": value for field, value in changes.items()})


def abstract(config, task=TASK):
    model = build_model(config.model, task)
    return plain(jax.eval_shape(model.init, jax.random.key(0), example_inputs(task)))


def counts(tree, depth=2):
    """Parameters of each layer, by its path."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = "/".join(key.key for key in path[:depth])
        found[name] = found.get(name, 0) + leaf.size
    return found


def conv(inputs, outputs):
    return 3 * 3 * inputs * outputs + outputs


def linear(inputs, outputs):
    return inputs * outputs + outputs


def lstm(inputs, hidden):
    """PyTorch's: four gates, from the input and from the state, each with a bias."""
    return 4 * hidden * (inputs + hidden) + 2 * 4 * hidden


def test_model_c_has_the_layers_that_the_paper_prints():
    # Figure 4, line by line; batch normalisation has a scale and a shift.
    assert counts(abstract(load("audio_image_c"))["params"]) == {
        "embeddings_image_features/conv_0": conv(1, 16),
        "embeddings_image_features/conv_norm_0": 2 * 16,
        "embeddings_image_features/conv_1": conv(16, 32),
        "embeddings_image_features/conv_norm_1": 2 * 32,
        "embeddings_image_features/linear_0": linear(1568, 100),
        "embeddings_image_features/linear_norm_0": 2 * 100,
        "embeddings_image_features/linear_1": linear(100, 72),
        "embeddings_image_features/linear_norm_1": 2 * 72,
        "embeddings_audio_features/lstm_0": lstm(50, 36),
        "embeddings_audio_features/lstm_1": lstm(36, 36),
        "fusion/linear_0": linear(72, 60),
        "fusion/linear_1": linear(60, 46),
        "head/kernel": 46 * 10,
        "head/bias": 10,
    }


@pytest.mark.parametrize(
    ("name", "changes", "total"),
    [
        ("audio_image_a", {}, conv(1, 16) + conv(16, 32) + lstm(50, 32) + linear(160, 10)),
        ("audio_image_c", {}, 200_396),
        ("audio_image_c", {"fusion": "concatenation"}, 200_396 + 72 * 60),
        ("audio_image_c", {f"{AUDIO}.layout": "frames"}, 200_396 - 37 * 4 * 36),
        (
            "audio_image_c",
            {"modalities": ("audio_features",)},
            lstm(50, 36) + lstm(36, 36) + linear(72, 60) + linear(60, 46) + linear(46, 10),
        ),
        (
            "audio_image_b",  # C's encoders, the sound's normalised; 72 + 36 features
            {},
            169_412 + lstm(50, 36) + lstm(36, 36) + 2 * 36
            + linear(108, 86) + 2 * 86 + linear(86, 54) + 2 * 54 + linear(54, 10),
        ),
    ],
)  # fmt: skip
def test_parameters_of_the_papers_models(name, changes, total):
    config = load(name, **changes)
    configuration.check(config)
    assert parameter_count(abstract(config)["params"]) == total


def test_the_single_encoder_has_as_many_parameters_as_model_c():
    vit = parameter_count(abstract(load("audio_image_vit"))["params"])
    assert vit == pytest.approx(200_396, rel=0.005)


def test_the_papers_layout_is_ten_steps_of_fifty_values():
    audio = jnp.arange(507.0).reshape(1, 39, 13)
    steps = steps_of(audio, "paper")
    assert steps.shape == (1, 10, 50)
    np.testing.assert_array_equal(steps.ravel(), np.arange(500))  # the last 7 are dropped
    np.testing.assert_array_equal(steps_of(audio, "frames"), audio)


def test_the_lstm_is_an_lstm():
    """Against explicit loops in float64, with PyTorch's order of the gates."""
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    model = LSTM(4)
    variables = plain(model.init(jax.random.key(0), x))
    p = {name: np.asarray(a, np.float64) for name, a in variables["params"].items()}
    assert all(np.abs(a).max() <= 0.5 for a in p.values())  # 1 / √4

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    expected = np.zeros((2, 5, 4))
    for b in range(2):
        hidden, cell = np.zeros(4), np.zeros(4)
        for t in range(5):
            gates = x[b, t] @ p["input_kernel"] + p["input_bias"]
            gates = gates + hidden @ p["recurrent_kernel"] + p["recurrent_bias"]
            i, f, g, o = gates[:4], gates[4:8], gates[8:12], gates[12:]
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
            expected[b, t] = hidden
    np.testing.assert_allclose(model.apply(variables, x), expected, atol=1e-5)


def test_pooling_drops_what_no_whole_square_holds():
    x = np.random.default_rng(0).normal(size=(2, 7, 7, 3))
    found = np.asarray(max_pool(jnp.asarray(x), 3))
    assert found.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(found[1, 0, 1], x[1, :3, 3:6].max(axis=(0, 1)), rtol=1e-6)


def random_inputs(batch_size=6):
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (batch_size, 28, 28, 1)).astype(np.uint8),
        "words": np.zeros((batch_size, 1), np.int32),
        "audio": rng.normal(size=(batch_size, 1, 39, 13)).astype(np.float32),
        "present": np.ones((batch_size, 3), bool),
    }


def test_a_flip_mirrors_half_of_the_images_in_training_alone():
    config = load(
        "audio_image_a",
        modalities=("image_features",),
        **{"modality_options.image_features.flip_rate": 1.0},
    )
    straight = load("audio_image_a", modalities=("image_features",))
    inputs = random_inputs()
    mirrored = inputs | {"image": inputs["image"][:, :, ::-1]}
    models = [build_model(c.model, TASK) for c in (config, straight)]
    variables = plain(models[0].init(jax.random.key(0), example_inputs(TASK)))
    rngs = {"dropout": jax.random.key(1)}
    flipped, _ = models[0].apply(variables, inputs, train=True, rngs=rngs)
    expected, _ = models[1].apply(variables, mirrored)
    np.testing.assert_allclose(flipped, expected, atol=1e-6)
    np.testing.assert_allclose(
        models[0].apply(variables, inputs)[0], models[1].apply(variables, inputs)[0], atol=1e-6
    )


@pytest.mark.parametrize("name", ["audio_image_c", "audio_image_vit"])
def test_a_missing_input_is_not_seen(name):
    model = build_model(load(name).model, TASK)
    variables = plain(model.init(jax.random.key(0), example_inputs(TASK)))
    inputs = random_inputs()
    inputs["present"][:, 2] = False
    other = inputs | {"audio": inputs["audio"] + 1}
    deaf, heard = (model.apply(variables, given)[0] for given in (inputs, other))
    np.testing.assert_array_equal(deaf, heard)
    there = {"present": np.ones((6, 3), bool)}
    assert not np.allclose(deaf, model.apply(variables, inputs | there)[0], atol=1e-4)


def test_modality_dropout_leaves_one_input():
    model = build_model(load("audio_image_vit", modality_dropout_rate=0.7).model, TASK)

    def present(key):
        return model.apply(
            {}, jnp.ones((512, 3), bool), True, rngs={"dropout": key}, method="_present"
        )

    found = np.asarray(present(jax.random.key(0)))
    assert found[:, [0, 2]].any(axis=1).all()
    assert found[:, 1].all()  # words are not read
    # Each falls out with 0.7, but where both would neither does: 0.7 · 0.3.
    assert (~found[:, [0, 2]]).mean() == pytest.approx(0.21, abs=0.05)


def test_modality_embeddings_are_one_vector_for_each_modality():
    fusion = abstract(load("audio_image_vit"))["params"]["fusion"]
    assert {n for n in fusion if n.startswith("modality_")} == {
        "modality_patches",
        "modality_audio",
    }
    without = abstract(load("audio_image_vit", **{"fusion_options.modality_embeddings": False}))[
        "params"
    ]["fusion"]
    assert not {n for n in without if n.startswith("modality_")}


# ---- training and metrics ----


@pytest.fixture(scope="module")
def speaking_splits(tiny_splits):
    """The tiny digits, each class with three recordings that tell it from the others."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 3).astype(np.int32)
    patterns = rng.normal(size=(10, 39, 13))

    def with_recordings(part):
        features = patterns[labels] + 0.1 * rng.normal(size=(30, 39, 13))
        recordings = Recordings(features.astype(np.float32), labels, np.full(30, "ann"))
        return dataclasses.replace(part, recordings=recordings)

    parts = {p: with_recordings(getattr(tiny_splits, p)) for p in ("train", "validation", "test")}
    return dataclasses.replace(tiny_splits, **parts)


def tiny(name, **changes):
    config = load(name)
    config.train.num_samples, config.evaluation.batch_size = 1000, 40
    config.train.log_every_steps, config.train.warmup_steps = 5, 0
    return changed(config, changes)


@pytest.mark.parametrize("name", ["audio_image_c", "audio_image_vit"])
def test_a_run_ends_in_accuracy_and_macro_f1_and_a_report(name, speaking_splits, tmp_path):
    from multimodal_vit.run import run
    from multimodal_vit.train.writer import read_metrics
    from multimodal_vit.workdir import Workdir

    experiment = Experiment.create(tiny(name), speaking_splits, jax.devices()[:1])
    outcome, results = run(experiment, Workdir(tmp_path))
    assert outcome.finished
    test = results["test"]
    assert 0.3 < test["accuracy"] <= 1
    assert test["macro_f1"] == pytest.approx(test["accuracy"], abs=0.2)
    assert "match_accuracy" not in test
    assert set(results["suites"]) == {"without_image", "without_audio"}
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert {"loss", "accuracy"} <= rows[0].keys()
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < losses[0] - 0.3


def test_statistics_of_batch_normalisation_are_kept_and_continued(speaking_splits, tmp_path):
    from multimodal_vit.train.loop import train

    experiment = Experiment.create(tiny("audio_image_c"), speaking_splits, jax.devices()[:1])
    before = experiment.init_state()
    assert set(before.variables) == {"params", "batch_stats"}
    steps = iter(range(100))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    train(experiment, tmp_path / "a", should_stop=lambda: next(steps) >= 4)
    train(experiment, tmp_path / "a")
    train(experiment, tmp_path / "b")
    from multimodal_vit.train.checkpoint import Checkpoints

    states = []
    for folder in ("a", "b"):
        checkpoints = Checkpoints(tmp_path / folder / "checkpoints", read_only=True)
        state, _ = checkpoints.restore(checkpoints.steps()[-1], experiment.abstract_state())
        states.append(jax.device_get(state))
    jax.tree.map(np.testing.assert_array_equal, *states)
    moved = jax.tree.map(
        lambda a, b: float(np.abs(a - b).max()), before.statistics, states[0].statistics
    )
    assert min(jax.tree.leaves(moved)) > 0


def test_models_without_statistics_keep_none(tiny_config, tiny_splits):
    state = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1]).abstract_state()
    assert state.statistics == {}
    assert set(state.variables) == {"params"}


def predictions(logits, labels):
    labels = np.asarray(labels, np.int32)
    n = len(labels)
    return Predictions(
        np.asarray(logits, np.float32), np.zeros(n, np.float32), np.ones(n, bool),
        np.eye(3, dtype=bool)[labels], labels[:, None], labels[:, None], labels[:, None],
    )  # fmt: skip


def test_macro_f1_is_the_mean_over_classes():
    # Class 0: precision 1, recall 1/2. Class 1: precision 1/2, recall 1. Class 2: both 1.
    found = evaluate.metrics(predictions(np.eye(3)[[0, 1, 1, 2]], [0, 0, 1, 2]))
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["chance"] == {"accuracy": 0.5}
    assert evaluate.main_metric(found) == 0.75
    assert evaluate.in_words(found) == "accuracy 75.00%, macro F1 0.7778"


def test_the_loss_is_the_softmax_cross_entropy():
    from types import SimpleNamespace

    logits = jnp.array([[2.0, 0.0, -1.0]])
    loss = ClassCrossEntropy.of_logits(logits, {}, SimpleNamespace(labels=jnp.array([[1]])))
    expected = np.log(np.exp(2) + 1 + np.exp(-1))
    np.testing.assert_allclose(loss, [expected], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("audio_image_c", {"task.grid": (2, 2)}, "a classifier of single images has"),
        ("audio_image_c", {"model.num_match_outputs": 1}, "model.num_match_outputs=0"),
        (
            "audio_image_b",
            {"model.fusion": "addition", "model.fusion_options.sizes": "b"},
            "cannot add the 72 features .* to the 36",
        ),
        (
            "audio_image_c",
            {"model.fusion": "single_encoder"},
            "'concatenation' or 'addition' alone",
        ),
        ("audio_image_vit", {"model.fusion": "addition"}, "reads model.modalities="),
        (
            "audio_image_c",
            {f"model.{AUDIO}.layout": "bars"},
            "not one of paper, frames",
        ),
    ],
)
def test_classifiers_that_cannot_be_are_refused(name, changes, message):
    with pytest.raises(UserError, match=message):
        configuration.check(changed(load(name), changes))


@pytest.mark.parametrize(
    ("changes", "task", "message"),
    [
        ({}, dataclasses.replace(TASK, audio_shape=None), "'audio' needs recordings; name some"),
        (
            {PATCH_FRAMES: 2},
            TASK,
            "does not divide the 39 frames .*: 1, 3, 13, 39",
        ),
        ({"evaluation.suites": ("order_foil",)}, TASK, "'order_foil' is not one of"),
    ],
)
def test_sound_that_does_not_fit_is_refused(changes, task, message):
    config = changed(load("audio_image_vit"), changes)
    configuration.check(config)
    with pytest.raises(UserError, match=message):
        configuration.check_with_data(config, task, 1)


@pytest.mark.long
def test_a_study_of_classifiers_writes_its_report(speaking_splits, tmp_path, monkeypatch):
    from multimodal_vit.analysis import page_parts, report
    from multimodal_vit.study import runner, study

    config = study("Which?", {"a": tiny("audio_image_a")})
    config.name, config.num_seeds = "tiny", 1
    for condition in config.conditions.values():
        condition.evaluation.suites = ("blind_audio", "without_audio")
    for module in (runner, page_parts):
        monkeypatch.setattr(module, "load_data", lambda configs: lambda config: speaking_splits)
    assert runner.run_all(config, tmp_path) == {}
    report.write_report(config, tmp_path, "a command", {})
    page = (tmp_path / "report.md").read_text()
    assert "macro F1" in page
    assert "true/false" not in page
    assert "true/false accuracy" not in (tmp_path / "report.html").read_text()


def test_classifiers_and_true_false_models_share_no_study(tiny_config):
    from multimodal_vit.study import study
    from multimodal_vit.study.definition import check

    config = study("Both?", {"c": load("audio_image_c"), "grid": tiny_config})
    with pytest.raises(UserError, match="cannot be in one study"):
        check(config)


def test_a_search_takes_no_classifiers():
    from multimodal_vit.search import definition

    config = from_file(f"{ROOT / 'configs' / 'search_table41.py'}:small")
    name = next(iter(config.conditions))
    config.conditions[name].experiment = load("audio_image_vit")
    assert any("is a classifier" in problem for problem in definition.problems(config))
