"""Faults: damaged files, a full disk, a process that is killed, numbers that are not finite."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT, assert_trees_equal, command_environment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multimodal_vit import config as configuration
from multimodal_vit.data import idx
from multimodal_vit.errors import DamagedError, DivergedError, UserError
from multimodal_vit.evaluate import Predictions
from multimodal_vit.files import file_checksum, read_json, replacing, write_json
from multimodal_vit.mending import mend
from multimodal_vit.run import best_parameters, run
from multimodal_vit.train.checkpoint import CHECKSUMS, Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.loop import train
from multimodal_vit.train.progress import Display
from multimodal_vit.train.resume import resume
from multimodal_vit.train.step import MOST_SKIPPED_IN_A_ROW, make_train_steps
from multimodal_vit.train.writer import read_metrics
from multimodal_vit.workdir import Workdir


class Said(Display):
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)

    def __str__(self):
        return "\n".join(self.lines)


def make(config, splits, **changes) -> Experiment:
    config = configuration.changed(
        config, {"train.num_samples": 4 * 88, "evaluation.suites": ()} | changes
    )
    return Experiment.create(config, splits, jax.devices()[:1])


@pytest.fixture
def experiment(tiny_config, tiny_splits) -> Experiment:
    """Twelve steps, three an epoch."""
    return make(tiny_config, tiny_splits)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Makes the folder of a finished run, once."""
    made = []

    def make_once(experiment):
        if not made:
            made.append(tmp_path_factory.mktemp("finished") / "run")
            experiment.config.train.checkpoint_seconds = 0.0  # after each dispatch
            run(experiment, Workdir(made[0]))
        return made[0]

    return make_once


@pytest.fixture
def workdir(experiment, finished, tmp_path) -> Workdir:
    """A copy of the finished run, with the checkpoints of steps 10 and 12."""
    shutil.copytree(finished(experiment), tmp_path / "run")
    return Workdir(tmp_path / "run")


# ---- checkpoints ----


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(folder):
    path = largest_file(folder)
    path.write_bytes(path.read_bytes()[:-7])


def flip(folder):
    path = largest_file(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def change_progress(folder):
    path = folder / "progress" / "metadata"
    path.write_text(path.read_text().replace('"train_seconds": ', '"train_seconds": 9'))


def half_delete(folder):
    shutil.rmtree(folder / "state")


def break_checksums(folder):
    (folder / CHECKSUMS).write_text('{"files": {')


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def make_foreign(folder):
    """The checkpoint of a run with another seed, whole."""
    path = folder / "progress" / "metadata"
    content = json.loads(path.read_text())
    content["config"]["seed"] = 7
    path.write_text(json.dumps(content))
    sums = read_json(folder / CHECKSUMS)
    sums["files"]["progress/metadata"] = file_checksum(path)
    write_json(folder / CHECKSUMS, sums)


def lose_checksums(folder):
    """What a checkpoint of version 1 lacks too; but this one holds what came later."""
    (folder / CHECKSUMS).unlink()


def misplace(folder):
    """The checkpoint of another step, whole."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("10"), folder)


DAMAGES = (
    truncate, flip, change_progress, half_delete, break_checksums, empty, make_foreign,
    lose_checksums, misplace,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_a_damaged_checkpoint_is_named_and_set_aside_and_the_one_before_is_used(
    damage, experiment, workdir
):
    damage(workdir.path / "checkpoints" / "12")
    said = Said()
    checkpoints = Checkpoints(workdir.path / "checkpoints")
    state, _, rows = resume(experiment, checkpoints, workdir.path, said.line)
    checkpoints.close()
    assert int(state.step) == 10
    assert max(row["step"] for row in rows) == 10
    assert str(workdir.path / "checkpoints" / "12") in said.lines[0]
    assert str(workdir.path / "damaged" / "checkpoint_12") in said.lines[0]
    assert (workdir.path / "damaged" / "checkpoint_12").is_dir()
    assert not (workdir.path / "checkpoints" / "12").exists()


def test_a_run_with_a_damaged_checkpoint_ends_in_the_same_numbers(experiment, workdir, finished):
    flip(workdir.path / "checkpoints" / "12")
    workdir.results_path.unlink()
    run(experiment, workdir)
    whole = finished(experiment)
    metrics = "metrics.jsonl"
    assert (workdir.path / metrics).read_bytes() == (whole / metrics).read_bytes()
    assert_trees_equal(
        best_parameters(experiment, workdir), best_parameters(experiment, Workdir(whole))
    )
    results, expected = workdir.results(), Workdir(whole).results()
    for name in ("test", "validation", "best_step", "metrics_sha256"):
        assert results[name] == expected[name]


def test_without_a_good_checkpoint_a_run_never_starts_from_zero(experiment, workdir):
    for step in (10, 12):
        flip(workdir.path / "checkpoints" / str(step))
    for _ in range(2):  # nor at a second try
        with pytest.raises(UserError, match="no good checkpoint.*put one back from a copy"):
            train(experiment, workdir.path)
    assert {p.name for p in (workdir.path / "damaged").iterdir()} == {
        "checkpoint_10", "checkpoint_12",
    }  # fmt: skip
    shutil.rmtree(workdir.path / "damaged")
    with pytest.raises(UserError, match="no good checkpoint"):
        train(experiment, workdir.path)


def test_evaluation_refuses_a_damaged_best_checkpoint_and_changes_nothing(experiment, workdir):
    flip(workdir.path / "checkpoints" / "12")
    before = sorted(workdir.path.rglob("*"))
    with pytest.raises(UserError, match="12 is damaged.*It is the best one of the run"):
        best_parameters(experiment, workdir)
    assert sorted(workdir.path.rglob("*")) == before


def test_a_checkpoint_of_a_newer_version_is_refused_and_kept(experiment, workdir):
    path = workdir.path / "checkpoints" / "12" / CHECKSUMS
    write_json(path, read_json(path) | {"format_version": 3})
    with pytest.raises(UserError, match="format version 3; this program reads 1 to 2"):
        train(experiment, workdir.path)
    assert path.exists()


def test_a_checkpoint_of_version_1_is_read(experiment, workdir, tmp_path):
    """Without checksums, rows, and the count of skipped steps."""
    checkpoints = Checkpoints(workdir.path / "checkpoints", read_only=True)
    state, _, _ = resume(experiment, checkpoints, workdir.path, print)
    old = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    old["sums"] = {name: v for name, v in state.sums.items() if name != "skipped_steps"}
    written = Checkpoints(tmp_path / "old" / "checkpoints")
    written.save(12, old, {"data_fingerprint": experiment.splits.fingerprint()}, 0.5)
    written.close()
    (tmp_path / "old" / "checkpoints" / "12" / CHECKSUMS).unlink()
    read = Checkpoints(tmp_path / "old" / "checkpoints")
    found, progress, rows = resume(experiment, read, tmp_path / "old", print)
    read.close()
    assert_trees_equal(jax.device_get(found), jax.device_get(state))
    assert rows is None
    assert progress.skipped_steps == 0


def test_checkpoints_by_time_change_nothing_that_is_computed_or_written(
    experiment, finished, tmp_path
):
    """The finished run saved after each dispatch; this one only after validations."""
    experiment.config.train.checkpoint_seconds = 1e9
    train(experiment, tmp_path)
    frequent = finished(experiment)
    metrics = "metrics.jsonl"
    assert (tmp_path / metrics).read_bytes() == (frequent / metrics).read_bytes()
    assert Checkpoints(tmp_path / "checkpoints").steps() == [9, 12]
    assert Checkpoints(frequent / "checkpoints").steps() == [10, 12]
    first, second = (best_parameters(experiment, Workdir(path)) for path in (tmp_path, frequent))
    assert_trees_equal(first, second)


# ---- the other files of a run ----


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\x00", b"[1, 2]", b'{"test": 3}, "a"', None],
    ids=["empty", "cut off", "bytes", "a list", "more", "a digit changed"],
)
def test_damaged_results_are_set_aside_and_made_anew(content, experiment, workdir):
    before = workdir.results()
    path = workdir.results_path
    if content is None:
        content = path.read_bytes().replace(b'"seed": 0', b'"seed": 1')
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"results\.json is damaged"):
        workdir.results()
    said = Said()
    mend(workdir, said.line)
    assert "results.json is damaged" in str(said)
    assert (workdir.path / "damaged" / "results.json").read_bytes() == content
    assert workdir.results() is None
    if content == b"":
        _, after = run(experiment, workdir)
        assert after["test"] == before["test"]


@pytest.mark.parametrize("same_name", [True, False])
def test_results_of_another_run_are_set_aside(same_name, workdir):
    """Whole, with their checksum: by their name and seed, or by the metrics that they rest on."""
    change = {"metrics_sha256": "0" * 64} if same_name else {"seed": 7}
    write_json(workdir.results_path, read_json(workdir.results_path) | change)
    said = Said()
    mend(workdir, said.line)
    assert "results.json is of another run" in str(said)
    assert (workdir.path / "damaged" / "results.json").exists()
    assert workdir.results() is None


def test_damaged_answers_are_evaluated_anew(workdir):
    (workdir.path / "predictions.npz").write_bytes(b"PK")
    said = Said()
    mend(workdir, said.line)
    assert "predictions.npz is damaged or missing, kept aside as" in str(said)
    assert workdir.results() is None


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:100], lambda b: b.replace(b'"step": 4', b'"step": 5'), lambda b: b"\xff" + b,
     lambda b: b + b[-60:], None],
    ids=["cut off", "a digit changed", "bytes", "more", "deleted"],
)  # fmt: skip
def test_a_damaged_metrics_file_is_set_aside_and_written_anew(damage, workdir):
    path = workdir.path / "metrics.jsonl"
    before = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(before))
    said = Said()
    mend(workdir, said.line)
    assert path.read_bytes() == before
    assert f"{path} was" in str(said)
    assert (workdir.path / "damaged" / "metrics.jsonl").exists() == (damage is not None)


def test_a_damaged_saved_configuration_is_written_anew_by_training(experiment, workdir):
    path = workdir.config_path
    for content in (b"", path.read_bytes().replace(b'"seed": 0', b'"seed": 1')):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"config\.json"):
            workdir.saved_config()
        workdir.begin(experiment.config)
        assert configuration.differences(workdir.saved_config(), experiment.config) == []
    assert len(list((workdir.path / "damaged").iterdir())) == 2


def test_a_changed_configuration_is_refused_even_where_the_saved_one_is_damaged(
    tiny_config, tiny_splits, workdir
):
    workdir.config_path.write_text("{")
    other = make(tiny_config, tiny_splits, seed=3)
    with pytest.raises(UserError, match="no good checkpoint"):
        said = Said()
        run(other, workdir, said)
    assert "is of another run (seed: 0 there, 3 given)" in str(said)


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_cannot_be_finished_leaves_the_old_one(mode, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path, mode) as file:
        file.write("new" if mode == "w" else b"new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


LIMITS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@LIMITS
@given(st.binary(max_size=300) | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_as_results_metrics_or_configuration_are_read_or_refused(tmp_path, content):
    path = tmp_path / "any"
    path.write_bytes(content)
    for read in (read_json, read_metrics, configuration.load, Predictions.load):
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error)


@LIMITS
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_of_results_goes_unnoticed(tmp_path, position, bit):
    content = {"test": {"loss": 0.25, "words": ["a", "ü"]}, "n": 12}
    write_json(tmp_path / "results", content)
    data = bytearray((tmp_path / "results").read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    (tmp_path / "results").write_bytes(data)
    with contextlib.suppress(DamagedError):
        assert read_json(tmp_path / "results") == content  # a space that became another one


@LIMITS
@given(
    st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=3),
    st.binary(max_size=20), st.booleans(),
)  # fmt: skip
def test_no_header_makes_the_reader_take_memory(tmp_path, magic, sizes, data, known):
    import struct

    magic = 0x0800 + len(sizes) if known else magic
    path = tmp_path / "images"
    path.write_bytes(struct.pack(f">I{len(sizes)}I", magic, *sizes) + data)
    tracemalloc.start()
    try:
        idx.read(path)
    except UserError as error:
        assert str(path) in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 << 20


# ---- numbers that are not finite ----


class Poisoned(Experiment):
    """An experiment whose updates are not finite in steps 2, 3 and 7, and from 14 on."""

    @classmethod
    def of(cls, experiment):
        def update(gradient, state, params=None):
            inner, step = state
            bad = jnp.isin(step, jnp.array([2, 3, 7])) | (step >= 14)
            updates, inner = experiment.optimizer.update(gradient, inner, params)
            return jax.tree.map(lambda u: jnp.where(bad, jnp.nan, u), updates), (inner, step)

        optimizer = optax.GradientTransformation(
            lambda params: (experiment.optimizer.init(params), jnp.zeros((), jnp.int32)), update
        )
        fields = {f.name: getattr(experiment, f.name) for f in dataclasses.fields(experiment)}
        return cls(**fields | {"optimizer": optimizer})

    def train_step(self):
        inner = super().train_step()

        def step(state, data, epoch):
            return inner(state.replace(opt_state=(state.opt_state[0], state.step)), data, epoch)

        return step


@pytest.fixture
def poisoned(tiny_config, tiny_splits) -> Poisoned:
    """Ten epochs of three steps."""
    return Poisoned.of(make(tiny_config, tiny_splits, **{"train.num_samples": 10 * 88}))


def test_a_step_that_is_not_finite_is_not_applied_and_is_counted(poisoned):
    step = make_train_steps(poisoned.train_step())
    data, epoch = poisoned.train_data(), poisoned.epoch(0)
    state, _ = step(poisoned.init_state(), data, epoch, 2)
    before = jax.device_get(state)
    state, token = step(state, data, epoch, 2)
    after = jax.device_get(state)
    assert token.tolist() == [4, 2]  # the step, and two skipped in a row
    assert_trees_equal(before.params, after.params)
    assert_trees_equal(before.opt_state[0], after.opt_state[0])
    assert after.sums["skipped_steps"] == 2
    assert after.sums["loss"] == before.sums["loss"]
    state, token = step(state, data, epoch, 1)
    assert token.tolist() == [5, 0]
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), after.params, state.params)
    assert max(jax.tree.leaves(moved)) > 0


def test_skipped_steps_are_shown_and_too_many_in_a_row_stop_the_run(poisoned, tmp_path):
    """The same whether it was stopped in between or not; the last batch is saved."""
    end = 14 + MOST_SKIPPED_IN_A_ROW
    rows = {}
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
        said = Said()
        if name == "stopped":
            asked = iter([False, False, False, True])
            train(poisoned, tmp_path / name, said, asked.__next__)
        pattern = rf"{MOST_SKIPPED_IN_A_ROW} steps in a row, up to step {end}, .*bad_batch\.npz"
        with pytest.raises(DivergedError, match=pattern):
            train(poisoned, tmp_path / name, said)
        rows[name] = read_metrics(tmp_path / name / "metrics.jsonl")
        assert "3 steps were skipped: their loss or gradient was not finite" in str(said)
    assert rows["straight"] == rows["stopped"]
    train_rows = [row for row in rows["straight"] if row["split"] == "train"]
    assert [row["skipped_steps"] for row in train_rows[:7]] == [0, 2, 0, 1, 0, 0, 0]
    assert train_rows[1]["loss"] is None
    assert all(row["gradient_norm"] > 0 for row in train_rows if row["loss"] is not None)
    with np.load(tmp_path / "stopped" / "bad_batch.npz", allow_pickle=False) as batch:
        assert int(batch["step"]) == end - 1
        assert batch["input_image"].shape == (32, 56, 56, 1)
    checkpoints = Checkpoints(tmp_path / "stopped" / "checkpoints")
    state, _, _ = resume(poisoned, checkpoints, tmp_path / "stopped", print)
    checkpoints.close()
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params))


class Dead(Experiment):
    """An experiment whose parameters are all 0 and stay so."""

    def _init(self, key):
        state = super()._init(key)
        return state.replace(params=jax.tree.map(jnp.zeros_like, state.params))


def test_a_constant_loss_and_an_accuracy_at_chance_are_warned_about(
    tiny_config, tiny_splits, tmp_path
):
    made = make(
        tiny_config, tiny_splits, **{"train.log_every_steps": 3, "train.num_samples": 6 * 88}
    )
    fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    said = Said()
    train(Dead(**fields | {"optimizer": optax.set_to_zero()}), tmp_path, said)
    assert str(said).count("the training loss is exactly 0.693147 in 5 log lines") == 1
    (chance,) = (line for line in said.lines if "cannot be told from chance" in line)
    assert "after 6 of 18 steps" in chance


# ---- as a process ----

TINY = [
    f"--config={ROOT / 'configs' / 'digits_conv.py'}", "--config.data.name=digits",
    "--config.train.optimizer=adam",
    "--config.model.embedding_dim=16",
    "--config.model.num_encoder_layers=1", "--config.model.mlp_dim=32",
    "--config.model.patch_size=14", "--config.train.num_samples=1412",
    "--config.train.batch_size=64", "--config.train.epochs_per_validation=1",
    "--config.evaluation.num_passes=1", "--config.evaluation.suites=()", "--workdir=run",
]  # fmt: skip


def start(folder, *more, kilobytes=None):
    """The command; files may have so many kilobytes."""
    command = [sys.executable, "-m", "multimodal_vit.main", *TINY, *more]
    if kilobytes is not None:
        command = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *command]
    return subprocess.Popen(
        command, cwd=folder, env=command_environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_full_disk_is_one_clear_line_and_leaves_nothing_in_part(tmp_path):
    """Files may have 150 kB: the sheet and the metrics fit, a checkpoint does not."""
    process = start(tmp_path, kilobytes=150)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    # Orbax's threads may print too, into the same line.
    assert re.search(
        "error: the checkpoint of step 0 could not be written.*File too large.*"
        "make room.* and start the same command again",
        said,
    )
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == []
    assert Workdir(tmp_path / "run").saved_config().train.num_samples == 1412


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_small_disk_loses_nothing(tmp_path, experiment, finished):
    """Two checkpoints fit, and not a third; with more room the run ends in the same numbers."""
    leaves = jax.tree.leaves(experiment.abstract_state())
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(2.6 * size) + 600_000}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with pytest.raises(UserError, match="MB are free for the next checkpoint.*make room"):
            run(experiment, Workdir(disk / "run"))
        shutil.copytree(disk / "run", tmp_path / "run")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps()
    run(experiment, Workdir(tmp_path / "run"))
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert metrics == (finished(experiment) / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("which", "code"),
    [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)],
    ids=["SIGTERM", "SIGHUP", "SIGINT"],
)
def test_a_stop_during_start_up_ends_in_time(which, code, tmp_path):
    process = start(tmp_path)
    time.sleep(1.5)
    process.send_signal(which)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == code, said
    assert "Traceback" not in said


def test_what_cannot_be_interrupted_is_ended_in_time(tmp_path):
    """A long computation outside Python, as a compilation is."""
    code = (
        "import ctypes, os, signal, threading\n"
        "from multimodal_vit import interruption\n"
        "interruption.SECONDS_TO_STOP = 0.5\n"
        "with interruption.in_time(), interruption.stop_on_signal():\n"
        "    kill = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Timer(0.3, kill).start()\n"
        "    libc, left = ctypes.CDLL(None), 60\n"
        "    while left: left = libc.sleep(left)\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=command_environment(),
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "The same command continues" in done.stderr
    assert time.monotonic() - began < 20


@pytest.mark.long
def test_killed_runs_lose_nothing(tmp_path):
    """One of the kills of `benchmarks/crash_test.py`: while a checkpoint is written."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "crash_test.py"), "--kinds=run", "--kills=1",
         "--moments", "checkpoint", "--epochs=3", "--json", str(tmp_path / "found.json")],
        cwd=tmp_path, env=command_environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = json.loads((tmp_path / "found.json").read_text())["counts"]["run"]
    assert (counts["checkpoint"]["tried"], counts["checkpoint"]["lost"]) == (1, 0)
