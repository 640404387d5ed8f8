"""Slots, options, declarations and the seam, asked of components that a test writes."""

import dataclasses
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, command_environment, six_losses

from multimodal_vit import component_files, components, listing
from multimodal_vit import config as configuration
from multimodal_vit.components import SLOTS
from multimodal_vit.config import changed, settled, small
from multimodal_vit.config.override import overridden, split
from multimodal_vit.errors import UserError
from multimodal_vit.models import build_model, example_inputs
from multimodal_vit.parameters import Declaration, declarations, declare, plain
from multimodal_vit.sampler import Task
from multimodal_vit.shapes import ShapeError, checked
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.predictor import Predictor
from multimodal_vit.workdir import Workdir

TASK = Task((2, 2), (28, 28, 1), 10)
ONE_OF_EACH = '''
import flax.linen as nn
import jax.numpy as jnp
import optax
from multimodal_vit.extend import Fusion, Supervised, component, declare, option
from multimodal_vit.objectives.supervised import BinaryCrossEntropy


@component("model.fusion", "experts_{n}")
class Experts(Fusion):
    """The mean token through two experts."""

    width: int
    uses = ()

    class Options:
        width: int = option(4, "of an expert", least=1, most=8)
        kind: str = option("soft", "of the gate", choices=("soft", "hard"))

    @staticmethod
    def problems(config, task=None):
        if task is not None and task.num_positions > 4:
            yield "model.fusion='experts' reads four positions; take task.grid=(2, 2)"

    @classmethod
    def build(cls, model, task, options):
        return cls(options.width)

    @nn.compact
    def __call__(self, tokens, *, train=False, return_attention=False):
        x = jnp.concatenate(list(tokens.values()), axis=1).mean(axis=1)  # (B, D)
        init = declare(nn.initializers.lecun_normal(), matrix=((1,), (2,)), decay=True)
        experts = self.param("experts", init, (2, x.shape[-1], self.width))
        gate = self.param("gate", nn.initializers.zeros, ())
        y = jnp.einsum("bd,edw->bw", x, experts) * (1 + gate)
        return y, {{"losses": {{"size": 0.5 * (y**2).mean(axis=-1)}}}}


@component("train.objective", "half_{n}")
class Half(BinaryCrossEntropy):
    """Half of the usual loss."""

    @staticmethod
    def of_logits(logits, intermediates, batch):
        return BinaryCrossEntropy.of_logits(logits, intermediates, batch) / 2


@component("train.optimizer", "descent_{n}", options={{"momentum": option(0.0, "kept", least=0)}})
def descent(train, schedule, declared):
    """Gradient descent."""
    return optax.sgd(schedule, momentum=train.optimizer_options.momentum)


@component("task.corruption", "shifted_{n}", options={{"by": option(1, "places", least=1, most=3)}})
def shifted(key, labels, task):
    """Each label one or more classes further."""
    return (labels + task.option("by")) % task.num_classes
'''


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A file with one component of each of four slots, loaded."""
    file = tmp_path_factory.mktemp("mine") / "mine.py"
    file.write_text(ONE_OF_EACH.format(n="a"))
    return component_files.load(file)


def chosen(mine, **more):
    return {
        "components": (mine,), "model.fusion": "experts_a", "train.objective": "half_a",
        "train.optimizer": "descent_a", "task.corruption": "shifted_a",
    } | more  # fmt: skip


# ---- options ----


def test_every_slot_lists_components_with_a_line_each():
    for field in SLOTS:
        assert components.names(field)
        for own in components.all_of(field):
            assert own.about.strip(), own.name


def test_options_are_swapped_with_the_choice_in_any_order_of_the_flags(mine):
    flags = ["--config.model.fusion=experts_a", "--config.model.fusion_options.width=3"]
    for order in (flags, flags[::-1]):
        config = overridden(changed(small(), {"components": (mine,)}), split(order)[0])
        assert config.model.fusion_options.to_dict() == {"width": 3, "kind": "soft"}
    back = changed(config, {"model.fusion": "single_encoder"})
    assert back.model.fusion_options == small().model.fusion_options


def test_an_option_of_another_component_is_an_error_that_says_whose(mine):
    with pytest.raises(UserError, match=r"is an option of model.fusion='experts_a', not of 'sing"):
        changed(small(), {"model.fusion_options.width": 3})
    config = small()
    config.model.fusion_options.width = 3  # as a configuration file may do
    assert any(
        "is an option of model.fusion='experts_a'" in p for p in configuration.problems(config)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.fusion_options.width": 9}, "width=9 is out of range: it must be at most 8"),
        ({"model.fusion_options.kind": "sof"}, "not one of soft, hard .did you mean soft"),
        ({"model.fusion_options.widht": 1}, "did you mean width"),
        ({"train.optimizer_options.momentum": -1.0}, "momentum=-1.0 is out of range"),
    ],
)
def test_what_is_wrong_with_options_is_said(mine, changes, message):
    with pytest.raises(UserError, match=message):
        configuration.check(changed(small(), chosen(mine) | changes))


def test_a_field_that_nothing_uses_is_refused_on_the_command_line(mine):
    config = changed(small(), chosen(mine))
    with pytest.raises(UserError, match="num_heads=2 does nothing: none of words, patches, expert"):
        overridden(config, [("model.num_heads", "2")])


def test_a_components_own_rules_are_asked(mine, tiny_config, tiny_splits):
    config = changed(tiny_config, {"components": (mine,), "model.fusion": "experts_a"})
    config.task.grid = (1, 5)
    with pytest.raises(UserError, match="reads four positions; take"):
        Experiment.create(config, tiny_splits, jax.devices()[:1])


def test_a_configuration_of_unsettled_choices_is_completed():
    config = small()
    config.model.modalities = ("audio", "patches")
    assert settled(config).model.modality_options.audio.patch_frames == 3


def test_the_configuration_grows_by_nothing_when_a_component_is_added():
    names = {own.name for slot in SLOTS.values() for own in components.all_of(slot.field)}
    names -= {"auto", "idx", "replicated"}  # words that are no component's alone
    for path in (ROOT / "multimodal_vit" / "config").glob("*.py"):
        if path.name in ("presets.py", "versions.py"):  # what a preset chooses; what once was
            continue
        found = set(re.findall(r"[\"'](\w+)[\"']", path.read_text())) & names
        assert found <= {
            "digits", "tfds", "replace", "words", "patches", "conv", "single_encoder", "mnist",
            "binary_cross_entropy", "adam", "single_foil", "order_foil", "fsdp", "tensor",
            "near_foil", "other_data_set", "standard", "class_cross_entropy",
        }, path.name  # fmt: skip


# ---- files ----


def test_one_of_each_trains_evaluates_and_is_read_back(mine, tiny_config, tiny_splits, tmp_path):
    from multimodal_vit.run import run

    config = changed(tiny_config, chosen(mine, **{"train.num_samples": 88}))
    experiment = Experiment.create(config, tiny_splits, jax.devices()[:1])
    _, results = run(experiment, Workdir(tmp_path / "run"))
    assert 0 <= results["test"]["match_accuracy"] <= 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert rows[0]["aux/size"] > 0
    saved = Workdir(tmp_path / "run").saved_config()
    assert configuration.differences(saved, experiment.config) == []
    assert saved.task.corruption_options.by == 1


def test_an_edited_file_is_another_configuration(tmp_path):
    file = tmp_path / "edited.py"
    file.write_text(ONE_OF_EACH.format(n="edited"))
    before = component_files.load(file)
    file.write_text(ONE_OF_EACH.format(n="edited").replace("option(4,", "option(5,"))
    after = component_files.load(file)
    old, new = (changed(small(), {"components": (known,)}) for known in (after, after))
    assert before != after
    old.components = (before,)
    (line,) = configuration.differences(old, new)
    assert line.startswith("components: ")
    assert changed(new, {"model.fusion": "experts_edited"}).model.fusion_options.width == 5


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_there", "No module named 'nothing_there', line 1 .a file of components"),
        ("def f(:", "SyntaxError"),
        ("x = 1\nraise ValueError()", "ValueError, line 2"),
        ("from multimodal_vit.extend import component\n@component('model.fussion', 'x')\n"
         "class A: pass", "no slot 'model.fussion'.*did you mean model.fusion"),
        ("from multimodal_vit.extend import component\n@component('model.fusion', "
         "'single_encoder')\nclass A: pass", "has the name of another component"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_said_in_one_line(tmp_path, source, message):
    (tmp_path / "bad.py").write_text(source)
    with pytest.raises(UserError, match=message) as caught:
        component_files.load(tmp_path / "bad.py")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said():
    with pytest.raises(UserError, match="there is no file nowhere.py"):
        changed(small(), {"components": ("nowhere.py",)})


def test_installed_packages_bring_components_by_entry_point(tmp_path):
    (tmp_path / "their_package.py").write_text(ONE_OF_EACH.format(n="theirs"))
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[multimodal_vit.components]\nall = their_package\n")
    code = (
        "from multimodal_vit import components\n"
        "own = components.get('model.fusion', 'experts_theirs')\n"
        "print(own.origin, own.defaults)"
    )
    environment = command_environment()
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "the package theirs {'width': 4, 'kind': 'soft'}"


# ---- declarations ----


def test_what_acts_on_a_parameter_is_declared_beside_it(mine):
    config = changed(small(), chosen(mine))
    model = build_model(config.model, TASK)
    found = declarations(model.init, jax.random.key(0), example_inputs(TASK))
    assert found["fusion/experts"] == Declaration(((1,), (2,)), True, None)
    assert found["fusion/gate"] == Declaration()
    assert found["head/kernel"] == Declaration(None, True, None)
    assert found["embeddings_patches/stem/conv_1/kernel"].matrix == ((0, 1, 2), (3,))
    assert found["embeddings_words/Embed_0/embedding"] == Declaration(None, True, None)
    encoder = build_model(small().model, TASK)
    found = declarations(encoder.init, jax.random.key(0), example_inputs(TASK))
    block = "fusion/encoder/block_0"
    assert found[f"{block}/attention/qkv/kernel"] == Declaration(((0,), (1, 2, 3)), True, -2)
    assert found[f"{block}/attention/qkv/bias"] == Declaration(cut=-2)
    assert found[f"{block}/mlp_in/bias"] == Declaration(cut=-1)
    assert found["fusion/positions"] == Declaration()
    with pytest.raises(TypeError):
        declare(jnp.zeros, decya=True)


# ---- the seam ----


@pytest.fixture(scope="module")
def model_and_tokens():
    config = small()
    config.model.update({"embedding_dim": 16, "num_encoder_layers": 1, "mlp_dim": 32})
    model = build_model(config.model, TASK)
    inputs = {
        "image": jax.random.randint(jax.random.key(1), (3, 56, 56, 1), 0, 256).astype(jnp.uint8),
        "words": jax.random.randint(jax.random.key(2), (3, 4), 0, 10),
    }
    variables = plain(model.init(jax.random.key(0), inputs))
    return model, variables, model.apply(variables, inputs, method="embed")


def fuse(model, variables, tokens, kept=None):
    return model.apply(variables, tokens, kept, method="fuse")


def everything(tokens):
    return {
        name: jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2]) for name, x in tokens.items()
    }


def test_keeping_every_token_changes_nothing(model_and_tokens):
    model, variables, tokens = model_and_tokens
    whole, _ = fuse(model, variables, tokens)
    kept, found = fuse(model, variables, tokens, everything(tokens))
    np.testing.assert_array_equal(whole, kept)
    assert found["spans"] == {"words": (1, 5), "patches": (5, 9)}


def test_tokens_kept_in_another_order_carry_their_positions(model_and_tokens):
    model, variables, tokens = model_and_tokens
    straight, a = fuse(model, variables, tokens)
    order = jnp.array([2, 0, 3, 1])
    kept = {"words": jnp.broadcast_to(order, (3, 4))}
    turned, b = fuse(model, variables, tokens, kept)
    np.testing.assert_allclose(straight, turned, atol=1e-5)
    np.testing.assert_allclose(a["tokens"]["words"][:, order], b["tokens"]["words"], atol=1e-5)


def test_a_token_that_is_left_out_has_no_gradient(model_and_tokens):
    model, variables, tokens = model_and_tokens
    kept = everything(tokens) | {"patches": jnp.array([[0, 2, 3]] * 3)}

    def first(patches):
        return fuse(model, variables, tokens | {"patches": patches}, kept)[0][:, 0].sum()

    gradient = jax.grad(first)(tokens["patches"])
    assert not gradient[:, 1].any() and gradient[:, 0].any()
    none = everything(tokens) | {"words": jnp.zeros((3, 0), jnp.int32)}
    summary, found = fuse(model, variables, tokens, none)
    assert summary.shape == (3, 16) and found["tokens"]["words"].shape == (3, 0, 16)


def test_parameters_that_are_not_the_models_change_nothing(model_and_tokens):
    model, variables, tokens = model_and_tokens
    more = {"params": variables["params"] | {"objective": {"scale": jnp.ones(())}}}
    np.testing.assert_array_equal(fuse(model, variables, tokens)[0], fuse(model, more, tokens)[0])


def test_a_fusion_that_cannot_choose_says_so(model_and_tokens):
    oracle = build_model(
        changed(
            small(),
            {"model.modalities": ("word_ids", "quadrants"), "model.fusion": "bayes_rule",
             "train.objective": "quadrant_cross_entropy"},
        ).model,
        TASK,
    )  # fmt: skip
    with pytest.raises(ValueError, match="BayesRule cannot be told which tokens enter"):
        oracle.apply({}, {"word_ids": jnp.zeros((1, 4, 10))}, {}, method="fuse")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"words": jnp.zeros((3, 4))}, r"the input 'words': float32\[3, 4\] came; expected int32"),
        ({"words": jnp.zeros((2, 4), jnp.int32)}, "one B for all inputs"),
        ({"image": jnp.zeros((3, 56, 56), jnp.uint8)}, r"'image': uint8\[3, 56, 56\] came"),
    ],
)
def test_inputs_of_other_shapes_are_named(model_and_tokens, inputs, message):
    model, variables, _ = model_and_tokens
    good = {
        "image": jnp.zeros((3, 56, 56, 1), jnp.uint8), "words": jnp.zeros((3, 4), jnp.int32),
    }  # fmt: skip
    with pytest.raises(ShapeError, match=message):
        model.apply(variables, good | inputs)


def test_tokens_summaries_and_losses_of_other_shapes_are_named(model_and_tokens):
    model, variables, tokens = model_and_tokens
    with pytest.raises(ShapeError, match=r"'words': float32\[3, 64\] came; expected floats"):
        fuse(model, variables, tokens | {"words": tokens["words"].reshape(3, -1)})

    class Flat(type(model.fusion)):
        def __call__(self, tokens, **_):
            return tokens["words"], {}

    flat = model.clone(fusion=Flat(model.fusion.encoder))
    with pytest.raises(ShapeError, match=r"summary that the fusion returns: float32\[3, 4, 16\]"):
        fuse(flat, variables, tokens)


def test_a_checked_function_names_argument_and_shape():
    from jaxtyping import Array, Float

    @checked
    def add(x: Float[Array, "B D"], y: Float[Array, "B D"]) -> Float[Array, "B D"]:  # noqa: F722
        return x + y

    add(jnp.ones((2, 3)), jnp.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"'y' of .*add is f32.2,4.*expected Float.Array, 'B D'"):
        add(jnp.ones((2, 3)), jnp.ones((2, 4)))


# ---- what older programs wrote ----


@pytest.fixture
def legacy(tmp_path):
    """Workdirs of the program before components: a finished run and one stopped half-way."""
    with zipfile.ZipFile(ROOT / "tests" / "legacy" / "runs.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


def legacy_experiment(folder: Path) -> Experiment:
    return Experiment.create(Workdir(folder).saved_config(), devices=jax.devices()[:1])


def test_an_old_run_is_evaluated_to_the_same_answers(legacy):
    from multimodal_vit.predict import Predictions
    from multimodal_vit.run import best_parameters

    workdir = Workdir(legacy / "finished")
    experiment = legacy_experiment(workdir.path)
    assert experiment.config.model.fusion_options.modality_embeddings is True
    _, variables = best_parameters(experiment, workdir)
    found = Predictor(experiment)(variables, "test")
    saved = Predictions.load(workdir.path / "predictions.npz")
    for name, array in dataclasses.asdict(saved).items():
        if name in ("logits", "loss"):
            np.testing.assert_allclose(getattr(found, name), array, atol=1e-5)
        else:
            np.testing.assert_array_equal(getattr(found, name), array)


def test_an_old_run_goes_on_as_it_would_have(legacy):
    from multimodal_vit.train.loop import train

    experiment = legacy_experiment(legacy / "stopped")
    train(experiment, legacy / "stopped")
    straight, resumed = (
        [json.loads(line) for line in (legacy / name / "metrics.jsonl").open()]
        for name in ("finished", "stopped")
    )
    assert [r["step"] for r in straight] == [r["step"] for r in resumed]
    for a, b in zip(straight, resumed, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


def test_old_fields_are_found_wherever_they_were_saved():
    old = small().to_dict()
    for group in ("data", "task", "model", "train"):
        old[group] = {n: v for n, v in old[group].items() if not n.endswith("_options")}
    del old["components"]
    old["model"] |= {
        "modalities": ["image_features", "audio_features"], "fusion": "addition",
        "audio_patch_frames": 3, "modality_embeddings": False, "audio_image_sizes": "b",
        "audio_layout": "frames", "flip_rate": 0.5,
    }  # fmt: skip
    config = configuration.from_json(old, Path("config.json"))
    assert config.model.modality_options.to_dict() == {
        "image_features": {"sizes": "b", "flip_rate": 0.5},
        "audio_features": {"sizes": "b", "layout": "frames"},
    }
    assert config.model.fusion_options.to_dict() == {"sizes": "b"}
    config = small()
    config.model.audio_layout = "frames"
    (line,) = configuration.problems(config)
    assert "is now model.modality_options.audio_features.layout" in line


# ---- lists ----


def test_the_page_of_components_is_what_the_program_lists():
    assert (ROOT / "docs" / "components.md").read_text() == listing.as_markdown()


def test_two_seeds_of_an_outside_component_are_each_alone(mine, tiny_config, tiny_splits):
    config = changed(tiny_config, chosen(mine))
    alone = [
        six_losses(Experiment.create(changed(config, {"seed": s}), tiny_splits, jax.devices()[:n]))
        for s, n in ((0, 1), (0, 2))
    ]
    np.testing.assert_allclose(alone[0][0], alone[1][0], rtol=1e-5)
