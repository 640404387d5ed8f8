"""The launch scripts: really run where that is possible here, under a stand-in `srun` elsewhere."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import QUICK, ROOT, command_environment
from test_commands import TINY

RAW = ["--config.model.stem=conv", "--config.model.num_conv_layers=0"]  # compiles faster
SMALL = [*TINY, *RAW, "--config.model.patch_size=28"]


def environment(tmp_path, **more):
    """The scripts set the number of devices themselves."""
    return command_environment() | {"PYTHON": sys.executable, "XLA_FLAGS": QUICK} | more


def launch(tmp_path, *arguments, script="local.sh", **more):
    return subprocess.run(
        ["bash", ROOT / "launch" / script, *arguments], cwd=tmp_path,
        env=environment(tmp_path, **more), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.long
def test_local_trains_on_as_many_virtual_devices_as_asked_for(tmp_path):
    done = launch(tmp_path, "--cpu-devices", "4", *SMALL, "--workdir=run")
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


def test_a_dry_run_of_several_processes_names_each(tmp_path):
    done = launch(tmp_path, "--dry-run", "--cpu-processes", "2", "--config=c.py")
    lines = done.stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["--process_id=0", "--process_id=1"]
    assert all("JAX_PLATFORMS=cpu" in line and "--num_processes=2" in line for line in lines)


def wait_for_steps(process, metrics, rows=0):
    """Waits until a run has written metrics, more than so many rows."""
    deadline = time.monotonic() + 250
    while not (metrics.exists() and metrics.read_text().count("\n") > rows):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def signal_one_of_two(tmp_path, which):
    """Starts a run of two processes, sends the second a signal once it trains; code and output."""
    metrics = tmp_path / "run" / "metrics.jsonl"
    rows = metrics.read_text().count("\n") if metrics.exists() else 0
    arguments = ["--cpu-processes", "2", *SMALL, "--config.train.num_samples=500000"]
    process = subprocess.Popen(
        ["bash", ROOT / "launch" / "local.sh", *arguments, "--workdir=run"], cwd=tmp_path,
        env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_for_steps(process, metrics, rows + 3)  # one of them of a validation, with a checkpoint
        found = subprocess.run(
            ["pgrep", "-P", str(process.pid), "-f", "process_id=1"], capture_output=True, text=True
        )
        os.kill(int(found.stdout), which)
        said, _ = process.communicate(timeout=200)
    finally:
        process.terminate()  # it passes that on
    return process.returncode, said


def test_a_signal_to_one_process_stops_all_in_the_same_step_and_its_death_ends_all(tmp_path):
    code, said = signal_one_of_two(tmp_path, signal.SIGKILL)
    assert code not in (0, None)
    assert said.count("error: another process of this run has ended or cannot be reached") == 1
    assert "Traceback" not in said
    code, said = signal_one_of_two(tmp_path, signal.SIGTERM)  # the same command goes on
    assert code == 0, said
    assert "Continuing from step" in said
    assert said.count("and saved. The same command continues.") == 1
    step = int(said.partition("Stopped at step ")[2].split()[0])
    assert (tmp_path / "run" / "checkpoints" / str(step) / "checksums.json").exists()


@pytest.mark.parametrize("arguments", [[], ["--cpu-devices"], ["--cpu-processes", "two"]])
def test_local_refuses_what_it_cannot_do(tmp_path, arguments):
    done = launch(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


SRUN = """#!/bin/bash
[ "$1 $2" = "--kill-on-bad-exit=1 --cpus-per-task=8" ] || exit 1
shift 2
if [ "${SLURM_JOB_NUM_NODES:-1}" = 1 ]; then exec "$@"; fi
for ((i = 0; i < SLURM_JOB_NUM_NODES; i++)); do SLURM_PROCID=$i "$@"; done
"""


@pytest.fixture
def cluster(tmp_path):
    """A folder with stand-ins: srun and ssh run their command here, scontrol notes."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "srun").write_text(SRUN)
    (tools / "ssh").write_text('#!/bin/sh\nshift\nexec bash -c "$*"\n')
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol.log\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    more = {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
    return more | {"SLURM_JOB_ID": "42"}


def test_the_slurm_job_runs_and_is_not_queued_again(tmp_path, cluster):
    done = launch(tmp_path, "--dry-run", "--config=c.py", script="slurm.sbatch", **cluster)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("-m multimodal_vit.main --config=c.py \n")
    assert not (tmp_path / "scontrol.log").exists()


def test_a_slurm_job_of_two_nodes_is_one_run_of_two_processes(tmp_path, cluster):
    cluster["SLURM_JOB_NUM_NODES"] = "2"
    arguments = ["--dry-run", "--config=c.py", "--workdir=a b"]
    done = launch(tmp_path, *arguments, script="slurm.sbatch", **cluster)
    address = f"{socket.gethostname()}:20042"
    assert [line.partition("main ")[2] for line in done.stdout.splitlines()] == [
        rf"--config=c.py --workdir=a\ b --coordinator={address} --num_processes=2 --process_id={i} "
        for i in range(2)
    ]


OWN = """
import flax.linen as nn

from multimodal_vit.extend import Fusion, component


@component("model.fusion", "mean")
class Mean(Fusion):
    '''The mean of all tokens.'''

    @classmethod
    def build(cls, model, task, options):
        return cls()

    @nn.compact
    def __call__(self, tokens, *, train=False, return_attention=False):
        return sum(nn.Dense(x.shape[-1])(x.mean(axis=1)) for x in tokens.values()), {}
"""


def test_two_hosts_train_one_run_of_a_component_of_ones_own(tmp_path, cluster):
    """Really: the stand-in ssh starts both processes here."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    (tmp_path / "own.py").write_text(OWN)
    arguments = ["--hosts", "localhost,me@localhost", "--port", str(port), *SMALL, "--workdir=run"]
    arguments += ["--config.components=('own.py',)", "--config.model.fusion=mean"]
    done = launch(tmp_path, *arguments, script="multi_host.sh", **cluster)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["versions"]["devices"].startswith("2 × cpu")
    assert done.stdout.count("best checkpoint: step") == 1  # one of them speaks
    (kept,) = (tmp_path / "run" / "components").iterdir()
    assert kept.read_text() == OWN


def test_a_tpu_slice_is_asked_on_all_its_hosts(tmp_path):
    slice_ = ["--dry-run", "--tpu", "name", "--zone", "zone"]
    done = launch(tmp_path, *slice_, "--config=c.py", "--workdir=a b", script="tpu_pod.sh")
    command = shlex.split(done.stdout)
    assert command[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "name"]
    assert command[6:8] == ["--zone=zone", "--worker=all"]
    assert command[8].endswith(
        r"python -m multimodal_vit.main --distributed --config=c.py --workdir=a\ b"
    )
    done = launch(tmp_path, *slice_, "--stop", script="tpu_pod.sh")
    assert "pkill -TERM" in shlex.split(done.stdout)[8]


@pytest.mark.parametrize("script", ["multi_host.sh", "tpu_pod.sh"])
@pytest.mark.parametrize("arguments", [[], ["--hosts", "a"], ["--tpu"], ["--config=c.py"]])
def test_scripts_for_hosts_say_what_they_need(tmp_path, script, arguments):
    done = launch(tmp_path, *arguments, script=script)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_a_slurm_job_out_of_time_saves_and_is_queued_again(tmp_path, cluster):
    arguments = [*SMALL, "--config.train.num_samples=500000", "--workdir=run"]
    process = subprocess.Popen(
        ["bash", ROOT / "launch" / "slurm.sbatch", *arguments], cwd=tmp_path,
        env=environment(tmp_path, **cluster), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    wait_for_steps(process, tmp_path / "run" / "metrics.jsonl")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=200)
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
