"""Several seeds as one program: each is the run that it would be alone."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest
from conftest import ROOT, StopAfter, assert_trees_equal, command_environment, run_command

from multimodal_vit import main as main_module
from multimodal_vit.config import changed
from multimodal_vit.files import read_json
from multimodal_vit.run import seeds_of
from multimodal_vit.train import loop
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.loop import train, train_seeds
from multimodal_vit.train.predictor import Predictor
from multimodal_vit.train.resume import Progress
from multimodal_vit.train.seeds import Seeds, SingleRun
from multimodal_vit.train.writer import read_metrics
from multimodal_vit.workdir import Workdir

SEEDS = (4, 5)


@pytest.fixture
def experiments(tiny_config, tiny_splits) -> list[Experiment]:
    """Two seeds of nine steps, three an epoch."""
    tiny_config.train.num_samples = 3 * 88
    tiny_config.train.log_every_steps = 4
    shared = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
    return [shared.with_seed(seed) for seed in SEEDS]


def folders(path, names=SEEDS):
    found = [path / f"seed_{name}" for name in names]
    for folder in found:
        folder.mkdir(parents=True)
    return found


def saved(experiment, folder, step=None):
    checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
    step = checkpoints.latest_step() if step is None else step
    state, _ = checkpoints.restore(step, experiment.abstract_state())
    checkpoints.close()
    return jax.device_get(state)


def same_run(experiment, folder, other):
    """The checkpoint bit for bit, and the metrics."""
    assert_trees_equal(saved(experiment, folder), saved(experiment, other))
    assert (folder / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def trained_alone(tmp_path_factory):
    """Trains the same runs, each alone, once; returns their folders."""
    found = []

    def train_once(experiments):
        if not found:
            found.extend(folders(tmp_path_factory.mktemp("alone")))
            for experiment, folder in zip(experiments, found, strict=True):
                assert train(experiment, folder).finished
        return found

    return train_once


def test_each_seed_is_bitwise_the_run_alone_also_after_stops_and_a_kill(
    experiments, trained_alone, tmp_path
):
    alone = trained_alone(experiments)
    together = folders(tmp_path / "together")
    outcomes = train_seeds(experiments, together, should_stop=StopAfter(2))
    assert [outcome.finished for outcome in outcomes] == [False] * 2
    # A kill while checkpoints were written: one seed is behind the others.
    shutil.rmtree(together[1] / "checkpoints" / str(outcomes[1].step))
    outcomes = train_seeds(experiments, together)
    assert [(outcome.finished, outcome.step) for outcome in outcomes] == [(True, 9)] * 2
    for experiment, folder, other in zip(experiments, together, alone, strict=True):
        same_run(experiment, folder, other)
    losses = [read_metrics(folder / "metrics.jsonl")[0]["loss"] for folder in together]
    assert losses[0] != losses[1]


def test_by_vmap_each_seed_is_the_run_alone_to_rounding(experiments):
    """What a GPU runs; here on the CPU. The pairs are the same ones; losses agree to 1e-6."""
    # Adam makes much of gradients that are 0 but for rounding.
    sgd = [dataclasses.replace(experiment, optimizer=optax.sgd(0.1)) for experiment in experiments]
    data, vmapped, single = sgd[0].train_data(), Seeds(sgd, at_once=True), SingleRun(sgd[0])
    alone, _ = single.steps(sgd[0].init_state(), data, single.epoch(0), 3, [True])
    state = vmapped.join([experiment.init_state() for experiment in sgd])
    state, tokens = vmapped.steps(state, data, vmapped.epoch(0), 3, [True, False])
    np.testing.assert_array_equal(tokens, [[3, 0], [0, 0]])
    found = jax.device_get(vmapped.of(state, 0))
    for name, value in alone.sums.items():
        np.testing.assert_allclose(found.sums[name], value, rtol=1e-6, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, alone)
    waiting = jax.device_get(vmapped.of(state, 1).params)
    assert_trees_equal(waiting, jax.device_get(sgd[1].init_state().params))


def test_a_seed_that_is_over_stays_as_it_is(experiments):
    program = Seeds(experiments)
    data, epoch = experiments[0].train_data(), program.epoch(0)
    state = program.join([e.init_state() for e in experiments])
    state, _ = program.steps(state, data, epoch, 2, [True, True])
    before = jax.device_get(program.of(state, 0))
    sums, state = program.take_sums(state, [False, True])
    assert float(program.of(sums, 1)["steps"]) == 2
    state, tokens = program.steps(state, data, epoch, 3, [False, True])
    np.testing.assert_array_equal(np.asarray(tokens)[:, 0], [2, 5])
    assert_trees_equal(jax.device_get(program.of(state, 0)), before)
    assert float(program.of(state, 1).sums["steps"]) == 3


def test_each_seed_stops_early_by_its_own_validations(experiments, tmp_path, monkeypatch):
    """The validation loss of one seed rises from its first validation on."""
    for experiment in experiments:
        experiment.config.train.patience = 1
    calls = []

    class Judged(Predictor):
        def __call__(self, variables, part, suite=""):
            calls.append(part)
            worse = len(calls) in (2, 4)  # the second seed's, at its first two validations
            shift = len(calls) * (1 if worse else -1)
            found = super().__call__(variables, part, suite)
            return dataclasses.replace(found, loss=found.loss + shift)

    monkeypatch.setattr(loop, "Predictor", Judged)
    together = folders(tmp_path)
    outcomes = train_seeds(experiments, together)
    assert [(o.finished, o.step, o.progress.best_step) for o in outcomes] == [
        (True, 9, 9), (True, 6, 3),
    ]  # fmt: skip
    assert len(calls) == 5
    rows = [read_metrics(folder / "metrics.jsonl")[-1]["step"] for folder in together]
    assert rows == [9, 6]


def test_a_seed_that_diverges_does_not_end_the_others(experiments, trained_alone, tmp_path):
    alone = trained_alone(experiments)
    together = folders(tmp_path / "together")
    # Its parameters are not finite: each of its steps is skipped.
    bad = experiments[1].init_state()
    bad = bad.replace(params=jax.tree.map(lambda x: x * np.nan, bad.params))
    checkpoints = Checkpoints(together[1] / "checkpoints")
    progress = dataclasses.asdict(Progress(experiments[1].splits.fingerprint()))
    checkpoints.save(0, bad, progress | {"rows": []}, None)
    checkpoints.close()
    outcomes = train_seeds(experiments, together)
    assert [outcome.finished for outcome in outcomes] == [True, False]
    assert "diverged" in str(outcomes[1].error)
    same_run(experiments[0], together[0], alone[0])


def test_the_time_is_shared_between_the_seeds(experiments, tmp_path):
    began = time.monotonic()
    outcomes = train_seeds(experiments, folders(tmp_path))
    total = time.monotonic() - began
    shares = [outcome.progress.train_seconds for outcome in outcomes]
    assert 0 < sum(shares) <= total
    assert max(shares) < 0.8 * sum(shares)


# ---- the command ----

TINY = [
    f"--config={ROOT / 'configs' / 'digits_conv.py'}",
    "--config.data.name=digits",
    "--config.train.optimizer=adam",  # compiles faster
    "--config.model.embedding_dim=16",
    "--config.model.num_encoder_layers=1",
    "--config.model.mlp_dim=32",
    "--config.model.modalities=('words',)",  # compiles faster
    "--config.train.num_samples=2824",
    "--config.train.batch_size=64",
    "--config.train.epochs_per_validation=1",
    "--config.train.log_every_steps=10",
    "--config.evaluation.num_passes=1",
    "--config.evaluation.suites=()",
]
TWO = [*TINY, "--config.train.num_seeds=2", "--config.seed=3", "--workdir=runs/two"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two seeds, stopped by SIGTERM on the way and started again; what the second start said."""
    folder = tmp_path_factory.mktemp("seeds")
    process = subprocess.Popen(
        [sys.executable, "-m", "multimodal_vit.main", *TWO], cwd=folder,
        env=command_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = folder / "runs" / "two" / "seed_4" / "metrics.jsonl"
    deadline = time.monotonic() + 280
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    done = run_command(*TWO, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, said, done.stdout


def test_every_seed_has_a_folder_like_a_single_run(finished):
    folder, _, said = finished
    assert "mean" in said
    assert "Seeds 3, 4" in said
    done = run_command(*TINY, "--config.seed=4", "--workdir=runs/one", cwd=folder)
    assert done.returncode == 0, done.stderr
    one, two = folder / "runs" / "one", folder / "runs" / "two" / "seed_4"
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}
    assert read_json(one / "config.json") == read_json(two / "config.json")
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    results = [json.loads((path / "results.json").read_text()) for path in (one, two)]
    for name in ("test", "validation", "steps", "best_step", "flop_per_example", "pflop"):
        assert results[0][name] == results[1][name], name


def test_one_seed_is_evaluated_from_its_folder(finished):
    folder, _, _ = finished
    done = run_command("--mode=evaluate", "--workdir=runs/two/seed_4", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_finished_seeds_are_not_trained_again(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    assert main_module.main(["main", *TWO]) == 0
    assert capsys.readouterr().out.count("is finished") == 2
    alone = [*TINY, "--config.seed=4", "--workdir=runs/two/seed_4"]
    assert main_module.main(["main", *alone]) == 0
    assert "nothing is left to train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=evaluate", "--workdir=runs/two"], "such as --workdir=runs/two/seed_3"),
        ([*TINY, "--workdir=runs/two"], "holds other files and no run"),
        ([*TWO, "--workdir=runs/two/seed_3"], "holds a single run; name a new or empty folder"),
        ([*TWO, "--config.train.batch_size=32"], "train.batch_size: 64 there, 32 given"),
    ],
)
def test_folders_of_seeds_and_of_single_runs_are_told_apart(
    finished, arguments, message, monkeypatch, capsys
):
    monkeypatch.chdir(finished[0])
    assert main_module.main(["main", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error: ") == 1


def test_seeds_are_those_that_follow(tiny_config, tmp_path):
    config = changed(tiny_config, {"seed": 2, "train.num_seeds": 3})
    runs = seeds_of(config, Workdir(tmp_path))
    assert [own.seed for own, _ in runs] == [2, 3, 4]
    assert [own.train.num_seeds for own, _ in runs] == [1, 1, 1]
    assert [folder.path.name for _, folder in runs] == ["seed_2", "seed_3", "seed_4"]
    assert seeds_of(tiny_config, Workdir(tmp_path))[0][1].path == tmp_path
