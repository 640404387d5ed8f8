"""A finished run is made longer."""

import json

import jax
import pytest
from conftest import assert_trees_equal

from multimodal_vit import commands
from multimodal_vit.config import changed
from multimodal_vit.errors import UserError
from multimodal_vit.lengthening import lengthen
from multimodal_vit.run import best_parameters
from multimodal_vit.train import loop
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.writer import read_metrics
from multimodal_vit.workdir import Workdir


@pytest.fixture
def config(tiny_config):
    """Two epochs of 88 pairs, at a constant rate."""
    changes = {
        "model.modalities": ("words",),  # compiles faster
        "train.num_samples": 176,
        "train.schedule": "constant",
        "train.log_every_steps": 3,
        "evaluation.suites": (),
    }
    return changed(tiny_config, changes)


def train(config, splits, folder) -> Workdir:
    """Trains to the end, without the tests that a run makes then."""
    workdir = Workdir(folder)
    workdir.begin(config)
    experiment = Experiment.create(config, splits, jax.devices()[:1])
    step = loop.train(experiment, workdir.path).step
    workdir.save_results({"steps": step, "samples_seen": experiment.samples_seen(step)})
    return workdir


def state_of(workdir, config, splits):
    experiment = Experiment.create(config, splits, jax.devices()[:1])
    checkpoints = Checkpoints(workdir.path / "checkpoints", read_only=True)
    found, _ = checkpoints.restore(checkpoints.steps()[-1], experiment.abstract_state())
    return found


def test_at_a_constant_rate_it_is_the_run_of_that_length(config, tiny_splits, tmp_path):
    longer = changed(config, {"train.num_samples": 352})
    short = train(config, tiny_splits, tmp_path / "short")
    said = []
    lengthen(longer, short, said.append)
    assert "the numbers are those of a run of this length from the start" in said[0]
    kept = json.loads((short.path / "results_176.json").read_text())
    assert kept["samples_seen"] == 176
    assert short.results() is None
    short.check(longer)
    train(longer, tiny_splits, short.path)
    straight = train(longer, tiny_splits, tmp_path / "straight")
    assert short.results()["samples_seen"] == 352
    assert read_metrics(short.path / "metrics.jsonl") == read_metrics(
        straight.path / "metrics.jsonl"
    )
    own, other = (state_of(workdir, longer, tiny_splits) for workdir in (short, straight))
    assert_trees_equal(own.params, other.params)
    experiment = Experiment.create(longer, tiny_splits, jax.devices()[:1])
    assert best_parameters(experiment, short)[0] == best_parameters(experiment, straight)[0]


def test_a_cosine_schedule_and_early_stopping_are_spoken_of(config, tiny_splits, tmp_path):
    cosine = changed(config, {"train.schedule": "cosine"})
    workdir = train(cosine, tiny_splits, tmp_path / "run")
    other = changed(cosine, {"train.num_samples": 352, "train.batch_size": 16})
    before = {path: path.stat().st_mtime_ns for path in workdir.path.rglob("*")}
    lengthen(other, workdir, lambda text: pytest.fail(text))  # another run: `check` refuses it
    assert {path: path.stat().st_mtime_ns for path in workdir.path.rglob("*")} == before
    with pytest.raises(UserError, match="a different configuration"):
        workdir.check(other)
    stopped = changed(cosine, {"train.patience": 1})
    workdir.save_json("config.json", commands.configuration.to_json(stopped))
    checkpoints = Checkpoints(workdir.path / "checkpoints", read_only=True)
    step = checkpoints.steps()[-1]
    progress = checkpoints.progress(step) | {"validations_without_gain": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "progress", lambda *_: progress)
        with pytest.raises(UserError, match="stopped early, after 1 validations .*patience=0"):
            lengthen(changed(stopped, {"train.num_samples": 352}), workdir, lambda text: None)
    assert workdir.results() is not None
    workdir.save_json("config.json", commands.configuration.to_json(cosine))
    said = []
    lengthen(changed(cosine, {"train.num_samples": 352}), workdir, said.append)
    # Half way down the cosine, after a warm-up of two steps: 12 steps in all, 6 of them made.
    assert "goes on at 0.00065, 65% of the peak, and falls to 0 once more" in said[0]
