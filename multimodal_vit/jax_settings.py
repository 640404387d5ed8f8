"""What JAX is told first: its numerics, and where compiled programs are kept."""

import platform
import zlib
from pathlib import Path

import jax

from multimodal_vit.data import default_cache_directory
from multimodal_vit.errors import UserError
from multimodal_vit.locking import Lock

# What JAX computes by default. An environment may say otherwise, for another program; with these
# the same configuration and seed give the same numbers in every one.
NUMERICS = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_legacy_prng_key": "allow",
}


MAX_CACHE_BYTES = 2**30  # of compiled programs; the longest unused go first


def compute_as_documented() -> None:
    """Sets what `NUMERICS` names, whatever the environment says of it."""
    for name, value in NUMERICS.items():
        if hasattr(jax.config, name):  # not every version has every one
            jax.config.update(name, value)


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the cache folder, so that a second start begins at once.

    Nothing is changed where JAX was told already (JAX_COMPILATION_CACHE_DIR; empty: not at all).
    The folder is the processor's own: hosts that share a home may differ in their instructions.
    """
    if jax.config.jax_compilation_cache_dir is None:
        info = Path("/proc/cpuinfo")
        flags = {line for line in info.read_text().splitlines() if line.startswith("flags")} if (
            info.exists()
        ) else {platform.processor()}  # fmt: skip
        kind = zlib.crc32("".join(sorted(flags)).encode())
        folder = default_cache_directory() / "programs" / f"{platform.machine()}-{kind:08x}"
        if not _mend_programs(folder):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)


def _mend_programs(folder: Path) -> bool:
    """Removes the programs that a killed process left in part; whether JAX can keep others here.

    JAX writes a program, then a file of the time of its use. Where that is missing, the program may
    be cut off, and JAX could neither read it nor make room for others.
    """
    if not folder.is_dir():
        return True  # JAX makes it with the first program
    try:
        lock = Lock(folder / ".lockfile")  # JAX's own
        if lock.acquire():
            try:
                for path in folder.glob("*-cache"):
                    if not path.with_name(path.name.removesuffix("-cache") + "-atime").exists():
                        path.unlink()
            finally:
                lock.release()
    except (OSError, UserError):  # not to be written, or without locks: then without a cache
        return False
    return True
