"""Whether a run fits the memory of its devices, by the least that it must hold there.

What is counted, on each device: the parameters, the optimizer's state and the gradients, for each
seed that is trained at once; one batch, or the part of it that is computed at once, and the largest
of the model's activations for it; the training images and recordings. The other activations are on
top, so that a run that is not refused may still be too large; one that is refused cannot run.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax

from multimodal_vit.errors import UserError
from multimodal_vit.models import example_inputs
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes on each device.

    Attributes:
      parameters: of the model.
      optimizer: its state, with everything else that the training state holds.
      gradients: as many as parameters.
      batch: images, words and sounds of what is computed at once.
      activation: the largest output of a module of the model for them.
      data: the training part.
    """

    parameters: int
    optimizer: int
    gradients: int
    batch: int
    activation: int
    data: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(dataclasses.astuple(self))


def need(experiment: Experiment, memory: int = 0) -> Need:
    """The least that a training holds on each of its devices; nothing is allocated for it.

    Args:
      experiment: what is to run.
      memory: of each device. Where a batch is less than a ten-thousandth of it, activations are not
        looked at (0 bytes), which takes some tenths of a second.
    """
    config, task = experiment.config, experiment.task
    state = experiment.abstract_state()
    parameters, everything = _on_a_device(state.params), _on_a_device(state)
    seeds = config.train.num_seeds
    at_once = config.train.batch_size // config.train.accumulate_steps
    share = math.prod(
        experiment.mesh.shape[axis]
        for axis in experiment.layout.batch_axes
        if axis in experiment.mesh.shape
    )
    rows = -(-at_once // share)
    pair = math.prod(task.canvas_shape) + 4 * task.num_positions
    if task.audio_shape is not None:
        pair += 4 * task.num_positions * math.prod(task.audio_shape)
    batch, data = pair * rows, experiment.host_data()
    return Need(
        parameters=parameters * seeds,
        optimizer=(everything - parameters) * seeds,
        gradients=parameters,
        batch=batch,
        activation=_largest_activation(experiment, state) * rows if 10_000 * batch > memory else 0,
        data=sum(array.nbytes for array in jax.tree.leaves(data)),
    )


def _largest_activation(experiment: Experiment, state: TrainState) -> int:
    """The bytes of the largest output of a module of the model, for one example."""

    def forward(variables: Any) -> Any:
        _, kept = experiment.model.apply(
            variables,
            example_inputs(experiment.task),
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )
        return kept

    outputs = jax.tree.leaves(jax.eval_shape(forward, state.variables))
    return max(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in outputs)


def _on_a_device(tree: Any) -> int:
    """The bytes of a tree of shapes with shardings on one device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def available(device: jax.Device) -> int | None:
    """The memory that one device may use, in bytes; None where nobody knows.

    Of an accelerator what it says of itself. On the CPU the devices of a process share the memory
    of the machine, or of its container where that is less.
    """
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    known = [size for size in (_machine(), _container()) if size]
    return min(known) // jax.local_device_count() if known else None


def _machine(path: Path = Path("/proc/meminfo")) -> int | None:
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, size = line.partition(":")
            if name == "MemTotal":
                return int(size.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _container(path: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or "max"
        return None


def check(experiment: Experiment, memory: int | None = None) -> None:
    """Refuses a run that cannot fit its devices.

    Args:
      experiment: what is to run.
      memory: bytes of each device; by default what `available` finds.

    Raises:
      UserError: with the estimate.
    """
    memory = available(jax.local_devices()[0]) if memory is None else memory
    if memory is None:
        return
    needed = need(experiment, memory)
    if needed.total <= memory:
        return
    parts = ", ".join(
        f"{field.name} {_shown(getattr(needed, field.name))}"
        for field in dataclasses.fields(needed)
    )
    raise UserError(
        f"this run needs at least {_shown(needed.total)} on each device, which has "
        f"{_shown(memory)}: {parts}; more activations come on top. Take a smaller model, a smaller "
        "train.batch_size or more train.accumulate_steps, or cut the parameters over more devices "
        "with train.layout='fsdp'"
    )


def _shown(size: int) -> str:
    """Bytes in the largest unit that leaves a number from 1 on."""
    units = ("bytes", "KiB", "MiB", "GiB")
    power = min(max(size.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / 1024**power:,.{1 if power else 0}f} {units[power]}"
