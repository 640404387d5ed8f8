"""Configurations: every file works, mistakes are reported together, saving keeps everything."""

import re

import pytest
from conftest import ROOT, load_module

from multimodal_vit import config as configuration
from multimodal_vit.errors import UserError
from multimodal_vit.files import write_json

FILES = sorted((ROOT / "configs").glob("*.py"))
EXPERIMENTS = [path for path in FILES if not path.stem.startswith(("study", "search"))]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_config_is_valid_in_every_preset(path):
    get_config = load_module(path).get_config
    configuration.check(get_config())
    if path.stem not in (
        "digits_conv",
        "fusion",
        "mnist_page",
    ):  # one size; its presets are designs
        for preset in configuration.PRESETS:
            configuration.check(get_config(preset))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_docstring_of_a_config_gives_the_command(path):
    command = re.search(r"--config=(configs/\w+\.py)", load_module(path).__doc__)
    assert ROOT / command[1] == path


def test_the_thesis_is_the_default_preset():
    config = load_module(ROOT / "configs" / "mnist_conv.py").get_config()
    assert config.train.num_samples == 6_400_000
    assert (config.model.stem, config.model.num_conv_layers) == ("conv", 4)
    assert config.model.patch_size == 4
    assert (config.task.false_rate, config.task.replacement_rate) == (0.5, 0.25)
    patch = load_module(ROOT / "configs" / "mnist_patch.py").get_config()
    assert configuration.differences(config, patch) == ["model.num_conv_layers: 4 there, 0 given"]


def test_the_faithful_presets_are_what_the_papers_print():
    thesis = load_module(ROOT / "configs" / "mnist_conv.py").get_config("faithful")
    assert thesis.model.mlp_dim == 2048
    assert (thesis.model.fusion_options.norm, thesis.model.fusion_options.activation) == (
        "post", "relu",
    )  # fmt: skip
    train = thesis.train
    assert (train.optimizer, train.schedule, train.warmup_steps) == ("adam", "constant", 0)
    assert (train.weight_decay, train.gradient_clip, train.patience) == (0.0, 0.0, 3)
    assert train.num_samples == 10 * 6_400_000  # patience ends it
    paper = load_module(ROOT / "configs" / "audio_image_c.py").get_config("faithful")
    assert paper.data.validation_share == 0.2
    assert paper.model.modality_options.image_features.flip_rate == 0.5
    assert paper.train.num_samples == 20 * 48_000
    before = load_module(ROOT / "configs" / "audio_image_c.py").get_config()
    assert before.model.modality_options.image_features.flip_rate == 0.0
    assert configuration.differences(before, paper) == [
        "data.validation_share: 0.0 there, 0.2 given",
        "model.modality_options.image_features.flip_rate: 0.0 there, 0.5 given",
        "train.num_samples: 550000 there, 960000 given",
    ]


def test_models_of_sound_differ_from_one_recipe_to_the_other_in_the_recipe_alone():
    study = load_module(ROOT / "configs" / "study_recipes.py").get_config()
    assert len(study.conditions) == 8
    recipe = set(configuration.ENCODER_RECIPE)
    for model in ("a", "b", "c", "vit"):
        pair = [study.conditions[f"{model}_{name}"] for name in ("paper", "encoder")]
        changed = {line.split(":")[0] for line in configuration.differences(*pair)}
        assert changed == recipe
    for model in ("a", "b", "c"):
        own = load_module(ROOT / "configs" / f"audio_image_{model}.py").get_config("encoder_recipe")
        assert configuration.differences(own, study.conditions[f"{model}_encoder"]) == []


@pytest.mark.parametrize("condition", ["conv", "patch"])
@pytest.mark.parametrize("preset", sorted(configuration.PRESETS.keys() - {"speedrun"}))
def test_the_two_data_sets_get_the_same_model_and_training(condition, preset):
    mnist, fashion = (
        load_module(ROOT / "configs" / f"{name}_{condition}.py").get_config(preset)
        for name in ("mnist", "fashion")
    )
    (difference,) = configuration.differences(mnist, fashion)
    assert difference.startswith("data.name")


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(UserError, match=r"thesis, small.*did you mean small"):
        configuration.preset("smal")


def test_all_mistakes_are_reported_at_once():
    config = configuration.thesis()
    config.task.false_rate = 1.5
    config.model.stem = "strid"
    config.model.num_heads = 7
    config.train.batch_size = 0
    with pytest.raises(UserError) as error:
        configuration.check(config)
    lines = str(error.value).splitlines()
    assert lines[0] == "4 mistakes in the configuration:"
    assert "did you mean strided" in lines[1]
    assert {line.split("=")[0] for line in lines[1:]} == {
        "task.false_rate", "model.stem", "model.num_heads", "train.batch_size",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", -1, "at least 0"),
        ("seed", 2**32, "at most 4,294,967,295"),
        ("data.source", "csv", "not one of auto"),
        ("task.grid", (2,), "rows, columns"),
        ("task.grid", (0, 4), "rows, columns"),
        ("task.corruption", "replaced", "did you mean replace"),
        ("task.replacement_rate", -0.1, "probability"),
        ("model.modalities", (), "at least one"),
        ("model.modalities", ("words", "words"), "once"),
        ("model.modalities", ("words", "patch"), "did you mean patches"),
        ("model.fusion", "two_encoders", "not one of single_encoder"),
        ("model.dropout_rate", 1.0, "below 1"),
        ("model.num_match_outputs", 3, "1 or 2"),
        ("model.dtype", "float16", "float32, bfloat16"),
        ("train.learning_rate", 0.0, "positive"),
        ("train.learning_rate", float("nan"), "finite"),
        ("train.schedule", "linear", "constant, cosine"),
        ("train.patience", -1, "at least 0"),
        ("evaluation.num_passes", 0, "at least 1"),
    ],
)
def test_a_mistake_names_field_value_and_rule(field, value, message):
    config = configuration.thesis()
    group, _, name = field.rpartition(".")
    setattr(config[group] if group else config, name, value)
    with pytest.raises(UserError, match=message) as error:
        configuration.check(config)
    assert str(error.value).startswith(field)


def test_a_batch_that_the_devices_cannot_share_is_refused():
    from multimodal_vit.sampler import Task

    config = configuration.small()
    config.train.batch_size = 100
    with pytest.raises(UserError, match=r"train.batch_size=100 .* 8 devices.*such as 104"):
        configuration.check_with_data(config, Task((2, 2), (28, 28, 1), 10), num_devices=8)


def test_a_saved_configuration_is_the_same_when_read(tmp_path):
    config = configuration.small()
    config.task.grid = (3, 4)
    config.train.learning_rate = 1.25e-4
    write_json(tmp_path / "config.json", configuration.to_json(config))
    loaded = configuration.load(tmp_path / "config.json")
    assert configuration.differences(config, loaded) == []
    assert loaded.task.grid == (3, 4)
    assert loaded == config


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"config": {}}', '{"format_version": 99, "config": {}}',
     '{"format_version": 1, "config": {"task": 3}}', '{"format_version": 1, "config": {"x": 3}}',
     '{"format_version": 1, "config": {"train": {"batch_size": "many"}}}',
     '{"format_version": 1, "config": {"name": {"a": {}}}}'],
)  # fmt: skip
def test_a_damaged_saved_configuration_is_named(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"config\.json") as found:
        configuration.load(path)
    assert "\n" not in str(found.value)


def test_differences_name_the_fields_but_not_where_the_data_lies():
    a, b = configuration.small(), configuration.small()
    b.data.directory = "/elsewhere"
    assert configuration.differences(a, b) == []
    b.train.batch_size = 7
    assert configuration.differences(a, b) == ["train.batch_size: 128 there, 7 given"]
