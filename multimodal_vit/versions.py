"""What the bits of a result rest on besides its configuration: versions, devices, CPU threads.

XLA cuts sums and matrix products on the CPU into parts for its threads, one for each core that the
process may use, and adds up the parts: with another number of threads they are rounded differently.
`fix_threads` makes that number the same on every machine.
"""

import importlib.metadata
import os
import platform
from pathlib import Path

import jax

from multimodal_vit import __version__
from multimodal_vit.errors import UserError

THREADS_VARIABLE = "PJRT_NPROC"  # XLA reads it when its client for the CPU comes into being
FIXED_THREADS = 2  # of --deterministic: costs nothing on one core or two, docs/reliability.md
_POOL = "tf_XLAEigen"  # what XLA names the threads that share its matrix products
_GPU_FLAG = "--xla_gpu_deterministic_ops"


def versions() -> dict[str, str]:
    """The versions and the device that a result rests on."""
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {"multimodal_vit": __version__}
    found |= {name: importlib.metadata.version(name) for name in packages}
    return found | {"python": platform.python_version(), "devices": devices()}


def devices() -> str:
    """The devices in words: "1 × cpu (cpu), 2 threads", "8 × NVIDIA H100 (gpu)"."""
    device = jax.devices()[0]
    text = f"{jax.device_count()} × {device.device_kind} ({device.platform})"
    if device.platform != "cpu":
        return text
    count = cpu_threads()
    return f"{text}, {count} thread{'s' if count > 1 else ''}"


def arithmetic() -> str:
    """What decides how sums are rounded, in words; where it is the same, so are the bits."""
    return f"jax {importlib.metadata.version('jax')}, {devices()}"


def cpu_threads() -> int:
    """The threads that XLA computes with on this process's CPU.

    Counted where the system lists them by name (Linux), else what XLA's rule gives: `PJRT_NPROC`
    or the cores that the process may use, and at least one for each of its devices.
    """
    at_least = len(jax.local_devices(backend="cpu"))
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        try:
            names.append(path.read_text().strip())
        except OSError:  # it has just ended
            continue
    if count := names.count(_POOL):
        return count
    given = os.environ.get(THREADS_VARIABLE, "")
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(at_least, int(given) if given.isdecimal() else cores)


def fix_threads() -> None:
    """Lets the bits not depend on how many cores there are; before JAX computes anything.

    `FIXED_THREADS`, or as many as `PJRT_NPROC` says, share the cores, be these more or fewer. On a
    GPU it asks XLA for operations that are deterministic.

    Raises:
      UserError: `PJRT_NPROC` is no number of threads.
    """
    given = os.environ.setdefault(THREADS_VARIABLE, str(FIXED_THREADS))
    if not given.isdecimal() or int(given) < 1:
        raise UserError(
            f"{THREADS_VARIABLE}={given!r} is no number of threads; unset it (--deterministic "
            f"takes {FIXED_THREADS}) or set it to a whole number from 1"
        )
    flags = os.environ.get("XLA_FLAGS", "")
    if _GPU_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_GPU_FLAG}=true".strip()
