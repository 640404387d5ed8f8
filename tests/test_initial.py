"""Runs that start from another run's parameters, and parameters that stay."""

from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT

from multimodal_vit.config import changed, from_file
from multimodal_vit.errors import UserError
from multimodal_vit.run import run
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.initial import by_path, place, start, taken_over
from multimodal_vit.workdir import Workdir


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("first") / "run"


@pytest.fixture
def config(tiny_config):
    tiny_config.model.update({"num_conv_layers": 0, "patch_size": 28, "dropout_rate": 0.0})
    tiny_config.evaluation.suites = ()
    return changed(tiny_config, {"train.num_samples": 88, "train.objective": "masked_labels"})


@pytest.fixture
def trained(config, tiny_splits, folder):
    """A finished run; trained once."""
    if not folder.exists():
        run(Experiment.create(config, tiny_splits, jax.devices()[:1]), Workdir(folder))
    return folder


def test_a_run_starts_from_another_and_keeps_what_is_frozen(config, trained, tiny_splits, tmp_path):
    changes = {
        "model.initial": str(trained), "train.frozen": ("embeddings_", "fusion/encoder"),
        "train.objective": "binary_cross_entropy", "train.weight_decay": 0.5, "seed": 1,
    }  # fmt: skip
    experiment = Experiment.create(changed(config, changes), tiny_splits, jax.devices()[:1])
    state, known = start(experiment, tmp_path)
    fresh = by_path(experiment.init_state().params)
    before = by_path(state.params)
    moved = {name for name in before if (before[name] != fresh[name]).any()}
    assert "fusion/encoder/block_0/mlp_in/kernel" in moved and "head/kernel" not in moved
    assert known["config_name"] == "tiny" and known["step"] == 3
    _, results = run(experiment, Workdir(tmp_path / "second"))
    assert results["initial"] == known
    from multimodal_vit.run import best_parameters

    _, variables = best_parameters(experiment, Workdir(tmp_path / "second"))
    for name, leaf in by_path(variables["params"]).items():
        stays = name.startswith(("embeddings_", "fusion/encoder"))
        assert (leaf == before[name]).all() == stays, name


def test_what_cannot_be_a_start_is_said_in_a_line(config, trained, tiny_splits, tmp_path, digits):
    def create(splits=tiny_splits, **changes):
        changes = {"model.initial": str(trained)} | changes
        return Experiment.create(changed(config, changes), splits, jax.devices()[:1])

    for experiment, message in (
        (create(**{"model.initial": "nowhere"}), "nowhere holds no run; train it first"),
        (create(digits), "cannot be used: it was trained on other data"),
        (create(**{"model.embedding_dim": 32}), r"is \[16\] there and \[32\] here"),
        (create(**{"model.initial_parts": ("fusio_",)}), "names no parameter of this model"),
        (create(**{"model.initial": "@first"}), "is no run of a study; name a workdir"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            start(experiment, tmp_path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no parameter begins with 'fusio_'"):
        create(**{"train.frozen": ("fusio_",)})


def test_a_condition_is_found_beside_the_run(tmp_path):
    workdir = tmp_path / "study" / "runs" / "second" / "seed_3"
    assert place("@first", workdir) == tmp_path / "study" / "runs" / "first" / "seed_3"


def test_a_parameter_that_the_other_run_lacks_is_named():
    params = {"head": {"kernel": np.zeros(2)}}
    with pytest.raises(UserError, match="it has no parameter head/kernel; take"):
        taken_over(params, {}, ("head",), "it")


# ---- in a study ----


def test_a_condition_runs_behind_the_one_that_it_starts_from(config):
    from multimodal_vit.study.definition import in_order, problems, runs_of, study

    second = changed(config, {"model.initial": "@first", "train.objective": "bag"})
    asked = study("Does it help?", {"second": second, "first": config, "alone": config})
    assert in_order(asked.conditions) == ["first", "alone", "second"]
    runs = runs_of(asked, Path("there"))
    assert [run.condition for run in runs[:3]] == ["first", "alone", "second"]
    assert runs[2].starts_from.path == runs[0].workdir.path
    assert list(problems(asked)) == []
    asked.conditions.first.model.initial = "@second"
    assert any("leads back to itself" in line for line in problems(asked))
    asked.conditions.first.model.initial = "@nobody"
    assert any("'nobody' is no condition; there are" in line for line in problems(asked))


def test_the_studies_of_objectives_are_right():
    from multimodal_vit.study.definition import check

    for name in ("study_objectives", "study_few_labels", "study_depth"):
        for preset in ("full", "quick"):
            check(from_file(f"{ROOT / 'configs' / name}.py:{preset}"))


def test_a_study_trains_one_condition_and_goes_on_from_it_in_another(
    config, tiny_splits, tmp_path, monkeypatch
):
    from multimodal_vit.study import runner
    from multimodal_vit.study.definition import study

    monkeypatch.setattr(runner, "load_data", lambda configs: lambda config: tiny_splits)
    before = changed(config, {"train.objective": "mae", "model.stem": "conv"})
    after = changed(before, {"train.objective": "bag", "model.initial": "@before"})
    asked = study("Does it help?", {"after": after, "before": before})
    asked.num_seeds = 1
    for name in asked.conditions:
        asked.conditions[name].evaluation.suites = ("order_foil",)
    assert runner.run_all(asked, tmp_path) == {}
    first, second = (
        Workdir(tmp_path / "runs" / name / "seed_0").results() for name in ("before", "after")
    )
    assert "match_accuracy" not in first["test"] and first["test"]["varied_error"] > 0
    assert "has no verdict to ask" in first["skipped"]["order_foil"]
    assert second["initial"]["workdir"] == "@before"
    assert second["initial"]["pflop"] == first["pflop"]
    assert "threshold" in second and "order_foil" in second["suites"]
