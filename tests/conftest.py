"""What the tests share: where the real data lies, small data, and running a command."""

import importlib.util
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from forked import FORKED

# A suite that is started in the background, or with nohup, inherits that Ctrl-C or a lost terminal
# is ignored; its commands must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MULTIMODAL_VIT_TEST_DATA", ROOT.parent / "shared" / "data"))

# Every test process, subprocesses included, sees eight virtual CPU devices or the number it sets.
# Programs of small models are compiled more often than they run: without LLVM's optimisations that
# takes two thirds of the time. What is computed stays the same but for rounding.
QUICK = "--xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {QUICK}"
os.environ["JAX_PLATFORMS"] = "cpu"


# Files by the CPU seconds of their tests, the most first. They are handed out in this order: a long
# one that is begun last keeps one core busy while the other has nothing left to do.
LONGEST = (
    "test_study", "test_suites", "test_fusions", "test_search", "test_launch", "test_audio_image",
    "test_train", "test_models", "test_reliability", "test_commands", "test_attention",
    "test_seeds", "test_compute", "test_objectives", "test_components", "test_initial",
    "test_pretraining", "test_sampler", "test_audio", "test_fitting", "test_extend", "test_export",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest files first; within a file, and of all others, the order stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


def data_path(*parts: str) -> Path:
    """A folder of real data; the test is skipped where it is missing."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(
            f"no data in {path}; name the folder that holds idx/ and tfds/ with "
            "MULTIMODAL_VIT_TEST_DATA"
        )
    return path


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """Programs that several tests use are compiled once in a session, in subprocesses too."""
    import jax

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # that all workers share
    cache = str(base / "compilation_cache")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(scope="session")
def idx_directory() -> Path:
    return data_path("idx")


@pytest.fixture(scope="session")
def tfds_directory() -> Path:
    return data_path("tfds")


@pytest.fixture(scope="session")
def digits():
    from multimodal_vit.data import load_splits

    return load_splits("digits", "digits")


@pytest.fixture
def tiny_config():
    """A run of a few seconds on the digits: one layer, 96 training pairs an epoch."""
    from multimodal_vit.config import small

    config = small()
    config.name = "tiny"
    config.data.source = config.data.name = "digits"
    config.model.embedding_dim = 16
    config.model.num_encoder_layers = 1
    config.model.mlp_dim = 32
    config.model.num_heads = 2
    config.model.patch_size = 14
    config.model.dropout_rate = 0.1
    config.train.batch_size = 32
    config.train.warmup_steps = 2
    config.train.patience = 0
    config.train.log_every_steps = 2
    config.evaluation.batch_size = 32
    return config


@pytest.fixture(scope="session")
def tiny_splits(digits):
    """88 training, 8 validation and 40 test digits."""
    from multimodal_vit.data.splitting import split

    return split(digits.train[:96], digits.test[:40], "96 digits", rule="order")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """An experiment on the digits and the folder of its finished run, which describes its data."""
    import jax

    from multimodal_vit import about_data
    from multimodal_vit.train.experiment import Experiment
    from multimodal_vit.workdir import Workdir

    folder = tmp_path_factory.mktemp("runs")
    with zipfile.ZipFile(ROOT / "tests" / "legacy" / "runs.zip") as archive:
        archive.extractall(folder)
    workdir = Workdir(folder / "finished")
    experiment = Experiment.create(workdir.saved_config(), devices=jax.devices()[:1])
    about_data.keep(experiment.splits, workdir.path)
    return experiment, workdir.path


def run_command(*arguments: str, cwd: Path, devices: int = 1, **environment: str):
    """Runs `python -m multimodal_vit.main` as a user would; returns the finished process.

    Where the environment is the tests' own, the start of the interpreter is saved: `forked`.
    """
    whole = command_environment(devices, **environment)
    if not environment and FORKED.fits(whole):
        return FORKED.run(["multimodal_vit", *arguments], cwd, whole, timeout=600)
    return subprocess.run(
        [sys.executable, "-m", "multimodal_vit.main", *arguments],
        cwd=cwd,
        env=whole,
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
    )


def command_environment(devices: int = 1, **environment: str) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices} {QUICK}"
    return os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags} | environment


def assert_trees_equal(a, b):
    import jax

    jax.tree.map(np.testing.assert_array_equal, a, b)


def load_module(path: Path):
    """A Python file that is in no package: a benchmark, a configuration."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def six_losses(experiment):
    """The loss of each of six steps, and the state after them."""
    import jax

    state, data = experiment.init_state(), experiment.train_data()
    step, found = jax.jit(experiment.train_step()), []
    for _ in range(6):
        epoch = experiment.epoch(int(state.step) // experiment.steps_per_epoch)
        before = state.sums["loss"]
        state = step(state, data, epoch)
        found.append(float(state.sums["loss"] - before))
    return found, state


class StopAfter:
    """Asks to stop once so many dispatches were made."""

    def __init__(self, dispatches: int) -> None:
        self.left = dispatches

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0
