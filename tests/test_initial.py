"""Runs that start from another run's parameters, alone and in a study; parameters that stay."""

from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file, small
from multimodal_vit.errors import UserError
from multimodal_vit.parameters import leaves_by_name
from multimodal_vit.run import best_parameters
from multimodal_vit.study import runner
from multimodal_vit.study.definition import check, in_order, problems, runs_of, study
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.flop import formula_flop
from multimodal_vit.train.initial import place, start, taken_over
from multimodal_vit.workdir import Workdir

FROZEN = ("embeddings_", "fusion/encoder")


def tiny(**changes):
    """Three steps of a tiny model that learns from images alone."""
    config = changed(
        small(),
        {
            "data.source": "digits", "data.name": "digits", "model.stem": "conv",
            "model.num_conv_layers": 0, "model.patch_size": 28, "model.embedding_dim": 16,
            "model.num_encoder_layers": 1, "model.mlp_dim": 32, "model.num_heads": 2,
            "model.dropout_rate": 0.0, "train.num_samples": 88, "train.batch_size": 32,
            "train.warmup_steps": 2, "train.patience": 0, "train.objective": "mae",
            "evaluation.batch_size": 32, "evaluation.suites": ("order_foil",),
        },
    )  # fmt: skip
    return changed(config, changes)


@pytest.fixture(scope="module")
def runs(tiny_splits, tmp_path_factory):
    """A study of two conditions, the second from the first; the folder of each one's run."""
    folder = tmp_path_factory.mktemp("study")
    after = tiny(
        **{"train.objective": "bag", "model.initial": "@before", "train.frozen": FROZEN,
           "train.weight_decay": 0.5},
    )  # fmt: skip
    asked = study("Does it help?", {"after": after, "before": tiny()})
    asked.num_seeds = 1
    for name in asked.conditions:
        asked.conditions[name].evaluation.suites = ("order_foil",)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "load_data", lambda configs: lambda config: tiny_splits)
        assert runner.run_all(asked, folder) == {}
    return {name: folder / "runs" / name / "seed_0" for name in asked.conditions}


def parameters(folder, splits):
    workdir = Workdir(folder)
    experiment = Experiment.create(workdir.saved_config(), splits, jax.devices()[:1])
    return leaves_by_name(best_parameters(experiment, workdir)[1]["params"])


def test_a_run_without_a_verdict_says_so_and_one_starts_from_it(runs):
    first, second = (Workdir(runs[name]).results() for name in ("before", "after"))
    assert "match_accuracy" not in first["test"] and first["test"]["varied_error"] > 0
    assert "has no verdict to ask" in first["skipped"]["order_foil"]
    assert "not trained to judge" in first["verdict"]["sentence"]
    known = second["initial"]
    assert (known["workdir"], known["step"], known["pflop"]) == ("@before", 3, first["pflop"])
    assert "threshold" in second and "order_foil" in second["suites"]


def test_what_is_frozen_stays_as_it_was_taken_over(runs, tiny_splits):
    before, after = (parameters(runs[name], tiny_splits) for name in ("before", "after"))
    for name, leaf in after.items():
        if not name.startswith("head/"):  # the head begins anew
            assert (leaf == before[name]).all() == name.startswith(FROZEN), name


def test_what_cannot_be_a_start_is_said_in_a_line(runs, tiny_splits, tmp_path, digits):
    def create(splits=tiny_splits, **changes):
        config = tiny(**{"train.objective": "bag", "model.initial": str(runs["before"])} | changes)
        return Experiment.create(config, splits, jax.devices()[:1])

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


def test_a_condition_runs_behind_the_one_that_it_starts_from():
    second = tiny(**{"model.initial": "@first", "train.objective": "bag"})
    asked = study("Does it help?", {"second": second, "first": tiny(), "alone": tiny()})
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
    for name in ("study_objectives", "study_few_labels", "study_depth"):
        for preset in ("full", "quick"):
            check(from_file(f"{ROOT / 'configs' / name}.py:{preset}"))


def test_the_study_of_objectives_gives_each_the_same_flop(tiny_splits):
    """Pairs times FLOP of a pair, by formula; the pairs are found from a table in the file."""
    asked = from_file(f"{ROOT / 'configs' / 'study_objectives'}.py:quick")
    found = {
        name: formula_flop(Experiment.create(ConfigDict(condition), tiny_splits))
        * condition.train.num_samples
        for name, condition in asked.conditions.items()
    }
    assert len(found) == 10
    for name, flop in found.items():
        assert flop == pytest.approx(found["true_false_mnist"], rel=0.01), name
