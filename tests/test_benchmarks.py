"""The benchmarks: the same computation on both sides, and rows with the fields they promise."""

import json
import sys

import jax
import pytest
from conftest import ROOT, load_module

from multimodal_vit.config import fields
from multimodal_vit.train.experiment import Experiment


@pytest.mark.parametrize(
    "changes",
    [
        {"model.stem": "strided", "model.num_conv_layers": 2, "model.patch_size": 7},
        {"model.stem": "conv", "model.num_conv_layers": 4, "model.patch_size": 12},
        {"model.stem": "conv", "model.num_conv_layers": 0, "model.patch_size": 14},
    ],
    ids=["small", "thesis conv", "thesis patch"],
)
def test_pytorch_computes_the_same(changes, tiny_config, tiny_splits):
    pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install '.[benchmark]'")
    compare_torch = load_module(ROOT / "benchmarks" / "compare_torch.py")
    for field, value in changes.items():
        assert field in fields(tiny_config)
        group, name = field.split(".")
        tiny_config[group][name] = value
    experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
    logits, gradient = compare_torch.disagreement(experiment, "cpu")
    assert logits < 1e-4
    assert gradient < 1e-4
    training = compare_torch.TorchTraining(experiment, "cpu", compiled=False)
    training.steps(3)  # over the end of an epoch
    images, words, targets = training.sampler()
    assert images.shape == (32, 1, 56, 56)
    assert words.shape == (32, 4)
    assert targets.shape == (32, 11)


@pytest.mark.long
def test_the_speedrun_writes_the_mean_of_its_seeds(
    tiny_config, tiny_splits, tmp_path, monkeypatch, capsys
):
    time_to_accuracy = load_module(ROOT / "benchmarks" / "time_to_accuracy.py")
    tiny_config.train.num_samples = 2 * 88
    create = Experiment.create
    monkeypatch.setattr(time_to_accuracy, "from_file", lambda path: tiny_config)
    monkeypatch.setattr(
        time_to_accuracy.Experiment,
        "create",
        lambda config: create(config, tiny_splits, jax.devices()[:1]),
    )
    path = tmp_path / "rows.json"
    arguments = ["--datasets", "mnist", "--seeds", "0", "1", "--json", str(path)]
    arguments += ["--part", "validation", "--change", "train.schedule=constant", "task.grid=(2, 2)"]
    monkeypatch.setattr(sys, "argv", ["time_to_accuracy.py", *arguments])
    enabled = jax.config.jax_enable_compilation_cache
    try:
        time_to_accuracy.main()
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
    (row,) = json.loads(path.read_text())
    assert row["dataset"] == "mnist"
    assert row["seeds"] == [0, 1]
    assert row["seconds"] > row["compile_seconds"] > 0
    assert row["pflop"] > 0
    assert row["accuracy"] == sum(run["accuracy"] for run in row["runs"]) / 2
    assert row["standard_error"] == pytest.approx(
        abs(row["runs"][0]["accuracy"] - row["runs"][1]["accuracy"]) / 2
    )
    assert row["part"] == "validation"
    assert row["changes"] == {"train.schedule": "constant", "task.grid": [2, 2]}
    assert "MISSES 97.73%" in capsys.readouterr().out  # after two epochs of 88 pairs
