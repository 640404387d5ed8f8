"""Several processes on loopback: one run, whichever of them is asked to stop, on any number."""

import json
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT, command_environment, run_command

from multimodal_vit import distributed
from multimodal_vit import main as main_module
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.loop import train
from multimodal_vit.train.writer import read_metrics


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def train_by(num_processes, config, workdir, stopped, dispatches, devices=1):
    """Trains in several processes, of which the one `stopped` wishes to stop; their answers."""
    task = {
        "config": json.loads(json.dumps(config.to_dict())),
        "workdir": str(workdir),
        "stopped": stopped,
        "dispatches": dispatches,
    }
    address = f"localhost:{free_port()}"
    processes = [
        subprocess.Popen(
            [
                sys.executable, ROOT / "tests" / "one_of_several.py",
                address, str(num_processes), str(process_id), json.dumps(task),
            ],
            env=command_environment(devices), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for process_id in range(num_processes)
    ]  # fmt: skip
    said = [process.communicate(timeout=250) for process in processes]
    for process, (_, error) in zip(processes, said, strict=True):
        assert process.returncode == 0, error
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def test_two_processes_then_four_then_one_are_one_straight_run(tiny_config, tiny_splits, tmp_path):
    """To 1e-5. Parameters that two processes share are read by four that hold all of them."""
    tiny_config.model.update({"num_conv_layers": 0, "patch_size": 28})
    tiny_config.train.update({"num_samples": 4 * 88, "epochs_per_validation": 4})
    for name in ("straight", "several"):
        (tmp_path / name).mkdir()
    alone = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
    train(alone, tmp_path / "straight")

    folder = tmp_path / "several"
    shared = tiny_config.copy_and_resolve_references()
    shared.train.update({"layout": "fsdp", "model_devices": 2})
    first = train_by(2, shared, folder, stopped=1, dispatches=1)
    assert first[0] == first[1]
    assert not first[0]["finished"]
    second = train_by(4, tiny_config, folder, stopped=2, dispatches=1)
    assert all(answer == second[0] for answer in second)
    assert first[0]["step"] < second[0]["step"] < 12
    outcome = train(alone, folder)
    assert (outcome.finished, outcome.step) == (True, 12)

    rows = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("straight", "several")]
    assert [(r["split"], r["step"]) for r in rows[0]] == [(r["split"], r["step"]) for r in rows[1]]
    for straight, several in zip(*rows, strict=True):
        np.testing.assert_allclose(several["loss"], straight["loss"], rtol=1e-5)


def test_alone_the_same_functions_do_as_they_are_told():
    assert not distributed.several()
    assert distributed.is_main()
    assert distributed.from_main(lambda: {"a": 1}) == {"a": 1}
    np.testing.assert_array_equal(distributed.agree([1, 0.5]), [1, 0.5])


DIGITS = f"--config={ROOT / 'configs' / 'digits_conv.py'}"
GIVEN = ["--coordinator=localhost:9", "--num_processes=2", "--process_id=1"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (GIVEN[:2], "belong together; give --process_id too"),
        (GIVEN[2:], "give --coordinator and --num_processes too"),
        (
            [*GIVEN, "--process_id=2"],
            "--process_id=2 must be from 0 to --num_processes - 1, here 1",
        ),
        ([*GIVEN, "--coordinator=host"], "--coordinator=host must be HOST:PORT"),
        ([*GIVEN, "--distributed"], "give either it or these"),
        ([*GIVEN, "--mode=sample"], "--mode=sample is for one process"),
    ],
)
def test_flags_that_do_not_fit_each_other_are_refused(tmp_path, capsys, arguments, reason):
    assert main_module.main(["main", DIGITS, *arguments, f"--workdir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--distributed"], [*GIVEN, "--coordinator=no.such.host:9"]])
def test_processes_that_cannot_find_each_other_say_why(tmp_path, arguments):
    done = run_command(DIGITS, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "error: the processes of this run could not find each other" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
