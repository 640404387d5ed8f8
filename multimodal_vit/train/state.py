"""What a training keeps on the device: its state, its data, its sums of metrics."""

from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import numpy as np

from multimodal_vit.sampler import Speech


@flax.struct.dataclass
class TrainState:
    """All that a bitwise identical continuation needs.

    Attributes:
      step: int32, the updates made.
      params: the model's parameters, float32.
      statistics: what model and objective keep besides, such as {"batch_stats": …}.
      opt_state: the optimizer's state.
      sums: metrics summed since the last log line; see `metric_names`.
      skipped_in_a_row: int32, the latest steps that were all skipped; see `make_train_step`.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    sums: dict[str, jax.Array]
    skipped_in_a_row: jax.Array
    statistics: dict[str, Any] = flax.struct.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """What the model's `apply` takes."""
        return {"params": self.params} | self.statistics


@flax.struct.dataclass
class TrainData:
    """A training split on the device: images uint8 [N, H, W, C], labels int32 [N]; recordings."""

    images: jax.Array
    labels: jax.Array
    speech: Speech | None = None


@flax.struct.dataclass
class Epoch:
    """What the pairs and the dropout of an epoch are drawn from: all that a step knows of its seed.

    Attributes:
      key: of the training.
      order: int32 [steps · batch_size], the base images; see `sampler.epoch_order`.
    """

    key: jax.Array
    order: jax.Array


def zero_sums(names: Sequence[str]) -> dict[str, np.ndarray]:
    """The metric sums of no steps at all, by the names that `metric_names` gives."""
    per_step = ("steps", "gradient_norm", "skipped_steps")
    # From host memory: what is computed on a device waits there for its turn.
    return {name: np.zeros((), np.float32) for name in (*names, *per_step)}


def mean_metrics(sums: dict[str, Any]) -> dict[str, float | None]:
    """Sums to means: per example, and the gradient norm per step; and the number of steps skipped.

    Skipped steps do not count in the means, which are None where every step was skipped.
    """
    counts = dict.fromkeys(sums, "weight") | {"gradient_norm": "steps"}
    means = {
        name: float(total / sums[counts[name]]) if sums[counts[name]] else None
        for name, total in sums.items()
        if name not in ("weight", "steps", "skipped_steps")
    }
    return means | {"skipped_steps": int(sums["skipped_steps"])}
