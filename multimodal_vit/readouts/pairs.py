"""Grids with their true texts, drawn from a part of the data, in host memory."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit import sampler
from multimodal_vit.sampler import named_key
from multimodal_vit.train.experiment import Experiment


class Grids(NamedTuple):
    """N grids.

    Attributes:
      image: uint8 [N, H, W, C].
      labels: int32 [N, n], also the true text.
    """

    image: np.ndarray
    labels: np.ndarray


def draw_grids(experiment: Experiment, part: str, count: int) -> Grids:
    """So many grids of a part of the data, the same for every model.

    Args:
      experiment: its data and task; what the task holds out is held out here too.
      part: "train", "validation" or "test".
      count: N.
    """
    key = named_key(jax.random.key(experiment.config.evaluation.seed), f"readouts {part}")
    image_set = getattr(experiment.splits, part)
    task = dataclasses.replace(experiment.task, false_rate=0.0, audio_shape=None)
    base = jax.random.randint(named_key(key, "base"), (count,), 0, len(image_set))
    weight = jnp.ones(count)

    @jax.jit
    def draw(images: Any, labels: Any) -> tuple[jax.Array, jax.Array]:
        batch = sampler.sample_batch(key, images, labels, base, weight, task)
        return batch.inputs["image"], batch.labels

    return Grids(*jax.device_get(draw(image_set.images, image_set.labels)))


def in_batches(function: Any, size: int, *arrays: np.ndarray) -> Any:
    """Applies a compiled function to rows, `size` at a time; the last batch is filled up.

    Args:
      function: of arrays [size, …], to a tree of arrays [size, …].
      size: of a batch.
      *arrays: [N, …].

    Returns:
      The same tree of arrays [N, …], in host memory.
    """
    count, parts = len(arrays[0]), []
    for start in range(0, count, size):
        rows = np.arange(start, start + size) % count
        parts.append(jax.device_get(function(*(array[rows] for array in arrays))))
    return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)
