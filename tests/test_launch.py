"""The launch scripts: really run where that is possible here, under a stand-in `srun` elsewhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, command_environment
from test_commands import TINY


def environment(tmp_path, **more):
    return command_environment() | {"PYTHON": sys.executable, "XLA_FLAGS": ""} | more


def launch(tmp_path, *arguments, script="local.sh", **more):
    return subprocess.run(
        ["bash", ROOT / "launch" / script, *arguments], cwd=tmp_path,
        env=environment(tmp_path, **more), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_local_trains_on_as_many_virtual_devices_as_asked_for(tmp_path):
    done = launch(tmp_path, "--cpu-devices", "4", *TINY, "--workdir=run")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["versions"]["devices"].startswith("4 × cpu")


def test_local_reports_a_batch_that_the_devices_cannot_share(tmp_path):
    done = launch(tmp_path, "--cpu-devices", "3", *TINY)
    assert done.returncode == 2
    assert "train.batch_size=64 cannot be shared equally by 3 devices" in done.stderr
    assert "evaluation.batch_size=256 cannot be shared equally by 3 devices" in done.stderr


def test_a_dry_run_only_says_what_it_would_run(tmp_path):
    done = launch(tmp_path, "--dry-run", "--cpu-devices", "2", "--config=c.py", "--workdir=a b")
    assert "device_count=2" in done.stdout
    assert done.stdout.strip().endswith(r"-m multimodal_vit.main --config=c.py --workdir=a\ b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["--cpu-devices"], ["--cpu-devices", "two"]])
def test_local_refuses_what_it_cannot_do(tmp_path, arguments):
    done = launch(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


@pytest.fixture
def cluster(tmp_path):
    """A folder with stand-ins for srun, which runs its command, and for scontrol, which notes."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol.log\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    more = {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
    return more | {"SLURM_JOB_ID": "42"}


def test_the_slurm_job_runs_and_is_not_queued_again(tmp_path, cluster):
    done = launch(tmp_path, "--config=c.py", script="slurm.sbatch", DRY_RUN="1", **cluster)
    assert done.returncode == 0, done.stderr
    assert "-m multimodal_vit.main --config=c.py" in done.stdout
    assert not (tmp_path / "scontrol.log").exists()


def test_a_slurm_job_out_of_time_saves_and_is_queued_again(tmp_path, cluster):
    arguments = [*TINY, "--config.train.num_samples=500000", "--workdir=run"]
    process = subprocess.Popen(
        ["bash", ROOT / "launch" / "slurm.sbatch", *arguments], cwd=tmp_path,
        env=environment(tmp_path, **cluster), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):  # steps are made
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "and saved. The same command continues." in said
    assert (tmp_path / "scontrol.log").read_text() == "requeue 42\n"


def test_the_scripts_are_clean():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian package shellcheck)")
    done = subprocess.run(
        ["shellcheck", *sorted((ROOT / "launch").iterdir())], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
