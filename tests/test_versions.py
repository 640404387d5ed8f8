"""What the bits of a result rest on: the number of CPU threads, and how it is fixed."""

import os
import subprocess
import sys

import jax
import pytest
from conftest import ROOT, command_environment

from multimodal_vit.errors import UserError
from multimodal_vit.versions import arithmetic, cpu_threads, devices, fix_threads

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
# XLA's threads add up the parts of a sum, and of matrix products as those of gradients.
SUM = """
import hashlib, json, os, sys
os.sched_setaffinity(0, json.loads(sys.argv[1]))
if "fixed" in sys.argv:
    from multimodal_vit.versions import fix_threads
    fix_threads()
import jax, numpy as np
from multimodal_vit.versions import devices
x = np.random.default_rng(0).normal(size=(65536, 16)).astype(np.float32)
found = jax.jit(lambda x: (x.sum(), x.T @ x))(x)
print(devices(), *(hashlib.sha256(np.asarray(x)).hexdigest() for x in found), sep="; ")
"""


def computed(*arguments: str, cores: list[int]) -> subprocess.Popen:
    """A process that computes on some cores; it prints its devices and a checksum of the bits."""
    return subprocess.Popen(
        [sys.executable, "-c", SUM, str(cores), *arguments],
        env=command_environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_fixed_threads_give_the_same_bits_on_one_core_and_two():
    free = [computed(cores=CORES[:n]) for n in (1, 2)]
    fixed = [computed("fixed", cores=CORES[:n]) for n in (1, 2)]
    one, two = (process.communicate(timeout=120)[0].strip() for process in free)
    assert one.startswith("1 × cpu (cpu), 1 thread;")
    assert two.startswith("1 × cpu (cpu), 2 threads;")
    for bits, others in zip(one.split("; ")[1:], two.split("; ")[1:], strict=True):
        assert bits != others  # else the test would show nothing
    assert [process.communicate(timeout=120)[0].strip() for process in fixed] == [two, two]


def test_threads_are_at_least_one_for_each_device():
    assert cpu_threads() == max(len(jax.devices()), len(CORES) or os.cpu_count())
    assert devices() == f"8 × cpu (cpu), {cpu_threads()} threads"
    assert arithmetic() == f"jax {jax.__version__}, {devices()}"


def test_where_threads_have_no_names_their_number_is_what_xlas_rule_gives(monkeypatch):
    counted = cpu_threads()
    monkeypatch.setattr("multimodal_vit.versions._POOL", "of another system")
    assert cpu_threads() == counted
    monkeypatch.setenv("PJRT_NPROC", "12")
    assert cpu_threads() == 12
    monkeypatch.setenv("PJRT_NPROC", "3")
    assert cpu_threads() == len(jax.devices())


def test_a_number_of_threads_that_was_given_is_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")
    monkeypatch.setenv("PJRT_NPROC", "5")
    fix_threads()
    fix_threads()
    assert os.environ["PJRT_NPROC"] == "5"
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_cpu_multi_thread_eigen=true", "--xla_gpu_deterministic_ops=true"
    ]  # fmt: skip
    monkeypatch.delenv("PJRT_NPROC")
    fix_threads()
    assert os.environ["PJRT_NPROC"] == "2"


@pytest.mark.parametrize("given", ["", "two", "0", "-1", "1.5"])
def test_no_number_of_threads_is_refused(monkeypatch, given):
    monkeypatch.setenv("PJRT_NPROC", given)
    with pytest.raises(UserError, match="PJRT_NPROC=.* is no number of threads"):
        fix_threads()
