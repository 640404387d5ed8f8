"""Where the time and the memory of training go: what `--mode=profile` measures.

The program that is measured is the one that trains: many steps in one dispatch, sampling inside,
all seeds of `train.num_seeds`. Times are of whole dispatches, the median of several.
"""

import dataclasses
import math
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from multimodal_vit.sampler import Batch
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.flop import flop_per_example, formula_flop, model_flop
from multimodal_vit.train.seeds import program
from multimodal_vit.train.state import Epoch, TrainData
from multimodal_vit.train.step import draw_batch

SECONDS_PER_REPEAT = 0.5
REPEATS = 7
TRACED_STEPS = 5
# What a device can do is measured by this many products of square matrices, one after the other.
CEILING_PRODUCTS = 4
CEILING_SIDE = 8192
CEILING_SIDE_CPU = 2048

# Dense bfloat16 FLOP/s of one device, from data sheets, by how its name in JAX begins.
PEAKS = {
    "NVIDIA H200 NVL": 835.5e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H100 NVL": 835.5e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
}


@dataclasses.dataclass(frozen=True)
class Profile:
    """What was measured of a configuration's training. Times are in seconds, memory in bytes.

    Attributes:
      name: of the configuration.
      devices: number, kind and platform.
      num_seeds: trained as one program.
      batch_size: of a step of one seed.
      step_seconds: median of a step of all seeds.
      examples_per_second: of all seeds.
      sampler_seconds: median of drawing a step's batches alone.
      sampler_share: its part of a step.
      compile_seconds: of tracing, lowering and compiling, without any cache.
      flop_per_example: XLA's count of a whole step: also sampler and optimizer.
      model_flop_per_example: XLA's count of the gradient of the loss alone.
      formula_flop_per_example: see `formula_flop`.
      ceiling_flop_per_second: what products of large matrices reach on all devices, measured.
      share_of_ceiling: of that, by the formula's count.
      peak_flop_per_second: of all devices.
      peak_source: where that is from.
      share_of_peak: of it, by the formula's count.
      program_bytes: what the program needs on one device by XLA's plan: arguments, results and
        temporary arrays; None where the backend does not say.
      peak_bytes: the most that was in use on a device, or on the CPU by the process.
      traces: the folder of the traces.
    """

    name: str
    devices: str
    num_seeds: int
    batch_size: int
    step_seconds: float
    examples_per_second: float
    sampler_seconds: float
    sampler_share: float
    compile_seconds: float
    flop_per_example: float
    model_flop_per_example: float
    formula_flop_per_example: float
    ceiling_flop_per_second: float
    share_of_ceiling: float
    peak_flop_per_second: float
    peak_source: str
    share_of_peak: float
    program_bytes: int | None
    peak_bytes: int
    traces: str


def profile(experiment: Experiment, traces: Path) -> Profile:
    """Compiles an experiment's training, runs some steps and measures them; trains nothing.

    Args:
      experiment: whose configuration names the seeds.
      traces: a folder that receives a trace, for TensorBoard (`plugins/profile/…`) and as
        `perfetto_trace.json.gz`.
    """
    config = experiment.config
    cached = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)  # the time of a compilation is asked
    try:
        timed = _Timed(experiment)
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
    first = experiment.mesh.devices.flat[0]
    step = _seconds_per_step(timed.train)
    peak_bytes = _peak_bytes(first)  # before anything else lies there
    sampling = _seconds_per_step(timed.sample)
    with jax.profiler.trace(str(traces), create_perfetto_trace=True):
        timed.train(TRACED_STEPS)
    examples = config.train.num_seeds * config.train.batch_size
    formula = formula_flop(experiment)
    ceiling, measured = ceiling_flop(experiment)
    peak, source = data_sheet_peak(experiment) or (ceiling, measured)
    achieved = formula * examples / step
    return Profile(
        name=config.name,
        devices=f"{experiment.mesh.size} × {first.device_kind} ({first.platform})",
        num_seeds=config.train.num_seeds,
        batch_size=config.train.batch_size,
        step_seconds=step,
        examples_per_second=examples / step,
        sampler_seconds=sampling,
        sampler_share=sampling / step,
        compile_seconds=timed.compile_seconds,
        flop_per_example=flop_per_example(experiment),
        model_flop_per_example=model_flop(experiment),
        formula_flop_per_example=formula,
        ceiling_flop_per_second=ceiling,
        share_of_ceiling=achieved / ceiling,
        peak_flop_per_second=peak,
        peak_source=source,
        share_of_peak=achieved / peak,
        program_bytes=timed.program_bytes,
        peak_bytes=peak_bytes,
        traces=str(traces),
    )


class _Timed:
    """The compiled programs, and calls of them that return their seconds."""

    def __init__(self, experiment: Experiment) -> None:
        config = experiment.config
        seeds = range(config.seed, config.seed + config.train.num_seeds)
        runs = [experiment.with_seed(seed) for seed in seeds]
        self._program = program(runs)
        self._data, self._epoch = experiment.train_data(), self._program.epoch(0)
        self._state = self._program.join([run.init_state() for run in runs])
        self._active = [True] * len(runs)
        began = time.monotonic()
        count = self._program.count(1, self._active)
        compiled = self._program.train_steps.lower(
            self._state, self._data, self._epoch, count
        ).compile()
        self.compile_seconds = time.monotonic() - began
        self._train_steps = compiled
        plan = compiled.memory_analysis()
        self.program_bytes: int | None = None
        if plan is not None:
            self.program_bytes = (
                plan.argument_size_in_bytes
                + plan.output_size_in_bytes
                + plan.temp_size_in_bytes
                - plan.alias_size_in_bytes
            )
        self._sample = jax.jit(_sampler(runs))

    def train(self, num_steps: int) -> float:
        """Makes steps of all seeds."""
        began = time.monotonic()
        count = self._program.count(num_steps, self._active)
        self._state, token = self._train_steps(self._state, self._data, self._epoch, count)
        jax.block_until_ready(token)
        return time.monotonic() - began

    def sample(self, num_steps: int) -> float:
        """Draws the batches of as many steps, and nothing else."""
        began = time.monotonic()
        jax.block_until_ready(self._sample(self._data, self._epoch, num_steps))
        return time.monotonic() - began


def _seconds_per_step(call: Callable[[int], float]) -> float:
    """The median over dispatches of about equal length, so that other load falls on all alike."""
    call(1)  # compiles, where that is still to be done
    num_steps = max(1, math.ceil(SECONDS_PER_REPEAT / call(1)))
    return statistics.median(call(num_steps) for _ in range(REPEATS)) / num_steps


def _sampler(runs: list[Experiment]) -> Callable[[TrainData, Epoch, jax.Array], Batch]:
    """Draws batches in a loop as training does; the last one is the result."""
    first, size = runs[0], runs[0].config.train.batch_size

    def sample(data: TrainData, epoch: Epoch, num_steps: jax.Array) -> Batch:
        epochs = epoch if len(runs) > 1 else jax.tree.map(lambda x: x[None], epoch)

        def draw(step: jax.Array) -> Batch:
            return jax.vmap(lambda epoch: draw_batch(step, data, epoch, first.task, size))(epochs)

        return jax.lax.fori_loop(1, num_steps, lambda step, _: draw(step), draw(jnp.int32(0)))

    return sample


def data_sheet_peak(experiment: Experiment) -> tuple[float, str] | None:
    """The FLOP/s in bfloat16 that `PEAKS` knows of all devices together, and of what."""
    if experiment.config.model.dtype == "bfloat16":
        for name, peak in PEAKS.items():
            if experiment.mesh.devices.flat[0].device_kind.startswith(name):
                return peak * experiment.mesh.size, f"data sheet of {name}, bfloat16"
    return None


def ceiling_flop(experiment: Experiment) -> tuple[float, str]:
    """The FLOP/s of products of large matrices on all devices together, and what was measured."""
    device, dtype = experiment.mesh.devices.flat[0], jnp.dtype(experiment.config.model.dtype)
    side = CEILING_SIDE_CPU if device.platform == "cpu" else CEILING_SIDE

    @jax.jit
    def products(x: jax.Array, y: jax.Array) -> jax.Array:
        for _ in range(CEILING_PRODUCTS):
            x = x @ y
        return x

    with jax.default_device(device):  # random numbers: a device runs faster on ones
        x, y = jax.random.normal(jax.random.key(0), (2, side, side), dtype)
        y = y / jnp.sqrt(side).astype(dtype)
    products(x, y).block_until_ready()
    seconds = []
    for _ in range(REPEATS):
        began = time.monotonic()
        products(x, y).block_until_ready()
        seconds.append(time.monotonic() - began)
    # The virtual devices of a CPU share its cores.
    count = 1 if device.platform == "cpu" else experiment.mesh.size
    found = f"measured: products of {side}×{side} matrices, {dtype.name}"
    return count * CEILING_PRODUCTS * 2 * side**3 / min(seconds), found


def _peak_bytes(device: jax.Device) -> int:
    stats = device.memory_stats() or {}
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return stats.get("peak_bytes_in_use", own)
