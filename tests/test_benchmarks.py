"""The benchmarks: the same computation on both sides, and rows with the fields they promise."""

import json
import re
import subprocess
import sys
import time

import jax
import pytest
from absl import flags
from conftest import ROOT, command_environment, load_module

from multimodal_vit import command_flags
from multimodal_vit.config import fields, problems
from multimodal_vit.study.definition import problems as study_problems
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


# ---- one command for a GPU ----


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = load_module(ROOT / "benchmarks" / "accelerator.py")
    monkeypatch.setattr(module, "SECONDS_TO_STOP", 2.0)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)  # of this process
    return module


def program(name, text, **more):
    """A step that is a line of Python; it finds what that has written into `found`."""
    from accelerator_steps import Step

    return Step(
        name, f"about {name}", 0.001, ((sys.executable, "-c", text, "{out}"),),
        lambda folder: (folder / "found").read_text(),
        lambda found: [("what", "found"), (name, found)], **more,
    )  # fmt: skip


WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1], 'found').open('a').write('x'); "


def test_what_is_measured_goes_on_and_keeps_to_its_time(accelerator, tmp_path):
    steps = [
        program("quick", WRITE),
        program("wrong", "print('why'); raise SystemExit(3)"),
        program("lacks", WRITE, needs=("torch",)),
        program("slow", WRITE + "import time; time.sleep(60)"),
        program(
            "open",
            WRITE + "import signal, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
            "time.sleep(60)",
            open_end=True,
        ),
        program("late", WRITE),
    ]
    lacks = {"torch": "PyTorch is not installed"}
    known = {"platform": "gpu"}

    def measured(seconds):
        found = accelerator.Measurement(tmp_path, steps, known)
        found.work(time.monotonic() + accelerator.SECONDS_TO_STOP + seconds, lacks)
        return {step.name: found.status(step) for step in steps}

    # The slow one gets three times what it says; the open one all that is left.
    assert measured(2.0) == {
        "quick": "done", "wrong": "failed", "lacks": "", "slow": "stopped", "open": "part",
        "late": "",
    }  # fmt: skip
    assert "why" in (tmp_path / "wrong" / "log.txt").read_text()
    content = json.loads((tmp_path / "accelerator.json").read_text())
    assert content["machine"] == known
    assert content["steps"]["quick"]["found"] == "x"
    text = (tmp_path / "accelerator.md").read_text()
    assert "| quick | x |" in text
    measured(0.0)
    assert (tmp_path / "quick" / "found").read_text() == "x", "what is done stays"
    assert measured(1.0)["open"] == "part"
    assert (tmp_path / "open" / "found").read_text() == "xx", "an open end goes on"


def test_the_steps_for_a_gpu_are_named_before_anything_runs(
    accelerator, tmp_path, monkeypatch, capsys
):
    known = {"python": "3.12", "jax": "0.11", "platform": "gpu", "devices": ["NVIDIA H100"]}
    monkeypatch.setattr(accelerator, "machine", lambda: known)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no data"))
    monkeypatch.setattr(sys, "argv", ["accelerator.py", "--dry-run", "--out", str(tmp_path / "o")])
    assert accelerator.main() == 0
    said = capsys.readouterr().out
    assert "missing: PyTorch is not installed" in said
    assert "missing: mnist is not found" in said
    assert "missing: the package" not in said
    names = re.findall(r"^ *\d+\. (\S+), about", said, re.MULTILINE)
    assert names[0] == "torch-conv-512-1"
    assert names[-1] == "table"
    assert "would run" in said, "bits and resume need no data"
    assert not (tmp_path / "o").exists()
    known |= {"torch": "2.13.0", "cuda": True}
    monkeypatch.setattr(accelerator, "load_local", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["accelerator.py", "--dry-run", "--minutes", "6"])
    assert accelerator.main() == 0
    said = capsys.readouterr().out
    assert "missing" not in said
    assert re.search(r"takes about 2.5 minutes, and \d\.\d are left", said)


def test_every_step_for_a_gpu_is_a_command_that_is_understood(accelerator, monkeypatch):
    """Programs know their arguments, and configurations their fields."""
    import accelerator_steps

    from multimodal_vit.main import config_argument, parse

    for tiny in (False, True):
        for step in accelerator_steps.steps(tiny):
            for command in step.commands:
                words = [part.replace("{out}", "o") for part in command]
                if "multimodal_vit.main" in words:
                    argv = words[2:]
                    values = flags.FlagValues()
                    command_flags.define(values)
                    config = parse(values, argv)
                    assert config_argument(argv)
                    found = study_problems if config.get("kind") == "study" else problems
                    assert list(found(config)) == []
                else:
                    (script,) = [word for word in words if word.endswith(".py")]
                    text = (ROOT / "benchmarks" / script).read_text()
                    for word in words:
                        assert not word.startswith("--") or f'"{word}"' in text, word


@pytest.mark.long
def test_everything_for_a_gpu_runs_small_on_a_cpu(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "accelerator.py"), "--tiny"]
    done = subprocess.run(
        [*command, "--minutes", "20", "--out", str(tmp_path)],
        env=command_environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    content = json.loads((tmp_path / "accelerator.json").read_text())["steps"]
    assert {kept["status"] for kept in content.values()} == {"done"}
    assert {"bits", "resume", "table", "profile-patch-5", "time-fashion"} <= content.keys()
    assert all(row["lost"] == 0 for row in content["resume"]["found"]["counts"]["run"].values())
    assert len(content["table"]["found"]["mnist_patch"]) == 1


def test_tables_of_studies_are_made_of_their_runs(tmp_path, monkeypatch):
    """Of a study of depth, and of few labels that pre-training precedes; written into a page."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = load_module(ROOT / "benchmarks" / "study_tables.py")

    def run(name, seed, test, **more):
        folder = tmp_path / "runs" / "a" / "runs" / name / f"seed_{seed}"
        folder.mkdir(parents=True)
        results = {"seed": seed, "test": test, "pflop": 0.5, "samples_seen": 8} | more
        (folder / "results.json").write_text(json.dumps(results))
        rows = [{"split": "train", "step": n, "samples": n, "loss": 1 / n} for n in (1, 4 + seed)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    for seed in (0, 1):
        run("plain_4", seed, {"loss": 0.5, "word_accuracy": 0.75})
        run("mae_100", seed, {"match_accuracy": 0.5 + seed / 100}, initial={"pflop": 0.25})
        run("scratch_100", seed, {"match_accuracy": 0.5})
    page = tmp_path / "page.md"
    begins = "<!-- table {} of a: {} -->\nold\n<!-- end of table -->\n"
    page.write_text(begins.format("depth", "") + begins.format("few_labels", ""))
    assert len(list(tables.write_into(page, tmp_path / "runs"))) == 2
    text = page.read_text()
    assert "old" not in text
    assert "| `plain_4` | 0.225 ± 0.035 | 0.500 ± 0.000 | 75.0 ± 0.0 % | 0.5000 |" in text
    assert "| `mae` | 50.5 ± 0.7 % | – | – | 0.2500 |" in text
    assert "| `scratch` | 50.0 ± 0.0 % | – | – | – |" in text
