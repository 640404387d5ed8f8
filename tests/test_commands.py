"""The command line as it is used: subprocesses, real files, exit codes, signals."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import pytest
from conftest import ROOT, command_environment, data_path, run_command
from PIL import Image

from multimodal_vit import about_data
from multimodal_vit import main as main_module
from multimodal_vit.files import file_checksum, read_json, write_json
from multimodal_vit.train.writer import read_metrics

DIGITS = f"--config={ROOT / 'configs' / 'digits_conv.py'}"
TINY = [
    DIGITS,
    "--config.data.name=digits",  # each once
    "--config.train.optimizer=adam",  # compiles faster
    "--config.model.embedding_dim=16",
    "--config.model.num_encoder_layers=1",
    "--config.model.mlp_dim=32",
    "--config.model.patch_size=14",
    "--config.train.num_samples=2824",  # two epochs
    "--config.train.batch_size=64",
    "--config.train.epochs_per_validation=1",
    "--config.train.log_every_steps=10",
    "--config.evaluation.num_passes=1",
    "--config.evaluation.suites=()",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a tiny run was trained to its end, and what the command said."""
    folder = tmp_path_factory.mktemp("project")
    return folder, run_command(*TINY, "--deterministic", cwd=folder)


def test_training_ends_in_a_table_results_and_pictures(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    workdir = folder / "runs" / "digits_conv"  # the default: runs/<config name>
    for text in ("1,412 / 128 / 257", "examples/s", "true/false accuracy", "per-class accuracy"):
        assert text in done.stdout
    results = json.loads((workdir / "results.json").read_text())
    assert results["config_name"] == "digits_conv"
    assert "1 × cpu (cpu), 2 threads, in runs/digits_conv" in done.stdout  # on any number of cores
    assert results["versions"]["devices"] == "1 × cpu (cpu), 2 threads"
    assert results["trained_on"] == [f"jax {jax.__version__}, 1 × cpu (cpu), 2 threads"]
    assert results["samples_seen"] == 2824
    assert results["train_seconds"] > 0
    assert results["examples_per_second"] > 0
    for name in ("match_accuracy", "class_accuracy", "class_exact_match", "loss"):
        low, high = results["test"]["intervals"][name]
        assert low <= results["test"][name] <= high
    assert 0.3 < results["test"]["match_accuracy"] < 1
    assert f"{results['test']['match_accuracy']:.2%}" in done.stdout
    assert about_data.read(workdir).fingerprint == results["data"]["fingerprint"]
    rows = read_metrics(workdir / "metrics.jsonl")
    assert [r["step"] for r in rows if r["split"] == "validation"] == [23, 46]
    for picture in ("samples.png", "curves.png"):
        with Image.open(workdir / picture) as image:
            assert min(image.size) > 300
            assert len(image.convert("L").getcolors()) > 20
    assert any((workdir / "tensorboard").iterdir())
    assert "Traceback" not in done.stderr


def test_a_finished_run_started_again_shows_its_results(finished):
    folder, first = finished
    done = run_command(*TINY, cwd=folder)
    assert done.returncode == 0
    assert "is finished" in done.stdout
    assert first.stdout[first.stdout.index("┏") : first.stdout.index("└")] in done.stdout


def test_a_different_config_in_the_same_workdir_is_refused_and_the_fields_named(finished):
    folder, _ = finished
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    done = run_command(*TINY, "--config.train.batch_size=32", "--config.seed=7", cwd=folder)
    assert done.returncode == 2
    assert "train.batch_size: 64 there, 32 given" in done.stderr
    assert "seed: 0 there, 7 given" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_evaluate_reports_the_same_from_the_workdir_alone(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "runs" / "digits_conv", tmp_path / "moved")
    done = run_command("--mode=evaluate", "--workdir=moved", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "true/false accuracy" in done.stdout
    found = json.loads((tmp_path / "moved" / "evaluation.json").read_text())
    results = json.loads((tmp_path / "moved" / "results.json").read_text())
    assert found["test"] == results["test"]
    assert found["best_step"] == results["best_step"]


def test_evaluate_on_other_devices_gives_the_same_accuracy(finished):
    folder, _ = finished
    done = run_command("--mode=evaluate", "--workdir=runs/digits_conv", cwd=folder, devices=2)
    assert done.returncode == 0, done.stderr
    workdir = folder / "runs" / "digits_conv"
    found = json.loads((workdir / "evaluation.json").read_text())["test"]
    results = json.loads((workdir / "results.json").read_text())["test"]
    assert found["match_accuracy"] == pytest.approx(results["match_accuracy"], abs=0.01)
    assert found["loss"] == pytest.approx(results["loss"], rel=1e-4)


def test_evaluate_uses_as_many_devices_as_can_share_the_batch(finished):
    folder, _ = finished
    done = run_command("--mode=evaluate", "--workdir=runs/digits_conv", cwd=folder, devices=3)
    assert done.returncode == 0, done.stderr


def test_evaluate_refuses_other_data_than_the_run_saw(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "runs" / "digits_conv", tmp_path / "run")
    (step,) = {p.name for p in (tmp_path / "run" / "checkpoints").iterdir() if p.name == "46"}
    progress = tmp_path / "run" / "checkpoints" / step / "progress" / "metadata"
    text = progress.read_text()
    fingerprint = json.loads(text)["data_fingerprint"]
    for checkpoint in (tmp_path / "run" / "checkpoints").iterdir():
        path = checkpoint / "progress" / "metadata"
        path.write_text(path.read_text().replace(fingerprint, "0" * len(fingerprint)))
        sums = read_json(checkpoint / "checksums.json")
        sums["files"]["progress/metadata"] = file_checksum(path)
        write_json(checkpoint / "checksums.json", sums)
    done = run_command("--mode=evaluate", "--workdir=run", cwd=tmp_path)
    assert done.returncode == 2
    assert "was trained on other data" in done.stderr


def test_sample_writes_a_sheet(tmp_path):
    done = run_command("--mode=sample", DIGITS, "--workdir=sheet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sheet/samples.png" in done.stdout
    with Image.open(tmp_path / "sheet" / "samples.png") as image:
        assert min(image.size) > 600


LONGER = [*TINY, "--config.train.num_samples=28240"]  # twenty epochs: time to send a signal


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The workdir of the longer run, which nothing stopped."""
    folder = tmp_path_factory.mktemp("straight")
    done = run_command(*LONGER, "--workdir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_that_is_stopped_continues_to_the_same_numbers(straight, tmp_path):
    metrics, stopped_at = tmp_path / "stopped" / "metrics.jsonl", None
    for signal_, code, least in ((signal.SIGHUP, 0, 2), (signal.SIGINT, 130, 12)):
        process = subprocess.Popen(
            [sys.executable, "-m", "multimodal_vit.main", *LONGER, "--workdir=stopped"],
            cwd=tmp_path, env=command_environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text().count("\n") > least):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal_)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "Traceback" not in err
        if stopped_at is not None:
            assert re.search(rf"Continuing from step {stopped_at} of 460", out)
        said = re.search(r"Stopped at step (\d+)", out)
        # On a machine too busy to save in nine seconds it ends without.
        assert said or "Stopped without a last checkpoint" in err
        stopped_at = int(said[1]) if said else r"\d+"
    again = run_command(*LONGER, "--workdir=stopped", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert re.search(rf"Continuing from step {stopped_at} of 460", again.stdout)
    assert read_metrics(metrics) == read_metrics(straight / "metrics.jsonl")
    tests = [
        json.loads((workdir / "results.json").read_text())["test"]
        for workdir in (metrics.parent, straight)
    ]
    assert tests[0] == tests[1]


def test_too_little_memory_is_said_in_one_line(tmp_path):
    """A hidden layer of 250,000, for 1,408 pairs at once: several of 7 GB."""
    large = ["--config.model.mlp_dim=250000", "--config.train.batch_size=1408"]
    words = "--config.model.modalities=('words',)"  # compiles faster
    tiny = [argument for argument in TINY if "patch_size" not in argument]  # of no use to words
    done = subprocess.run(
        ["bash", "-c", 'ulimit -v 12000000; exec "$@"', "", sys.executable, "-m",
         "multimodal_vit.main", *tiny, words, *large],
        cwd=tmp_path, env=command_environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "error: the device's memory is too small" in done.stderr
    assert "--config.train.accumulate_steps=4" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sheet_does_not_bind_the_run_that_follows(tmp_path):
    done = run_command("--mode=sample", DIGITS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_command(*TINY, "--config.train.num_samples=1412", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_command("--mode=sample", DIGITS, cwd=tmp_path)
    assert done.returncode == 2
    assert "model.embedding_dim: 16 there, 64 given" in done.stderr


def test_neither_tensorflow_nor_torch_is_needed(tmp_path):
    """Both names are made impossible to import, as on a machine without them."""
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('tensorflow', 'torch', 'keras'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from multimodal_vit.main import main\n"
        f"sys.exit(main(['main', {DIGITS!r}, '--mode=sample', '--workdir=sheet']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=command_environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.data
def test_the_thesis_size_on_a_cpu_says_when_it_ends_and_names_the_small_preset(tmp_path):
    directory = data_path("idx")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "multimodal_vit.main",
         f"--config={ROOT / 'configs' / 'mnist_patch.py'}", "--config.train.batch_size=4",
         f"--config.data.directory={directory}", "--workdir=thesis"],
        cwd=tmp_path, env=command_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    said = ""
    for line in process.stdout:
        said += line
        if "two cores" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert re.search(r"examples/s: about [\d.]+ (h|days) for", said), said
    assert "mnist_patch.py:small" in said
    assert process.returncode == 0


# ---- mistakes: one line on stderr that says what, why and what to do; exit code 2 ----

BAD = {
    "no config": ([], "no experiment is named"),
    "missing config": (["--config=configs/nothing.py"], "there is no configuration file"),
    "unknown preset": (
        [f"--config={ROOT / 'configs' / 'mnist_conv.py'}:tiny"],
        "there are: thesis, small",
    ),
    "no presets": ([DIGITS + ":small"], "digits_conv.py has no presets"),
    "digits of another name": ([DIGITS, "--config.data.name=mnist"], "not 'mnist'"),
    "no data name": ([DIGITS, "--config.data.name="], "data.name is empty"),
    "unknown field": ([DIGITS, "--config.train.bach_size=3"], "batch_size"),
    "unknown group": ([DIGITS, "--config.trian.batch_size=3"], "train"),
    "wrong type": ([DIGITS, "--config.train.batch_size=many"], "batch_size"),
    "out of range": ([DIGITS, "--config.train.batch_size=0"], "must be at least 1"),
    "impossible shape": ([DIGITS, "--config.model.patch_size=5"], "these patch sizes: 1, 2, 7, 14"),
    "unknown mode": ([DIGITS, "--mode=trian"], "train"),
    "suites of a training": ([DIGITS, "--suites=all"], "--suites is for --mode=evaluate"),
    "unknown flag": ([DIGITS, "--workdri=x"], "workdir"),
    "stray word": ([DIGITS, "train"], "not a flag: 'train'"),
    "missing data": (
        [DIGITS, "--config.data.source=auto", "--config.data.name=letters"],
        "no data set 'letters'",
    ),
    "nothing to evaluate": (["--mode=evaluate", "--workdir=nowhere"], "holds no run"),
    "workdir is a file": ([DIGITS, "--workdir=file"], "is a file"),
    "workdir of others": ([DIGITS, "--workdir=full"], "holds other files"),
    "workdir below a file": ([DIGITS, "--workdir=file/run"], "cannot be written"),
    "config raises": (["--config=raises.py"], "the way out is left"),
    "config without get_config": (["--config=empty.py"], "get_config"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_ends_in_one_clear_line_and_writes_nothing(what, tmp_path, monkeypatch, capsys):
    arguments, message = BAD[what]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("")
    (tmp_path / "raises.py").write_text(
        "def get_config():\n    raise ValueError('the way out is left')"
    )
    (tmp_path / "empty.py").write_text("")
    sys.modules.pop("config_config", None)  # ml_collections' name for the last configuration
    before = sorted(tmp_path.rglob("*"))
    assert main_module.main(["main", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
    assert "Traceback" not in said
    after = [path for path in sorted(tmp_path.rglob("*")) if "__pycache__" not in path.parts]
    assert after == before


def test_a_mistake_on_the_real_command_line_has_no_traceback(tmp_path):
    done = run_command(DIGITS, "--config.train.bach_size=3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
