"""What is measured of a model's attention and answers, pair by pair; nothing is averaged."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit import distributed
from multimodal_vit.objectives import Objective, match_logit
from multimodal_vit.probes.maps import (
    attention_maps,
    own_quadrant_share,
    own_word_share,
    shares,
)
from multimodal_vit.probes.occlusion import (
    occluded_logits,
    quadrant_masks,
)
from multimodal_vit.train.experiment import Experiment

MAX_WEIGHTS = 2**25  # attention weights that a device holds at a time, L·heads·T·T for each pair


class Measures(NamedTuple):
    """What is measured of N pairs; `occluded` [N, n] are the logits with a quadrant hidden."""

    logit: np.ndarray  # (N,)
    own_quadrant: np.ndarray  # (N, L, heads, n)
    own_word: np.ndarray  # (N, L, heads, n)
    image_attention: np.ndarray  # (N, L, heads)
    rollout: np.ndarray  # (N, n)
    occluded: np.ndarray  # (N, n)


def make_measure(
    experiment: Experiment, overlap: np.ndarray, batch_size: int
) -> Callable[[Any, dict[str, np.ndarray]], Measures]:
    """Builds a function of parameters and inputs [N, …]; `batch_size` bounds the memory."""
    objective = experiment.objective
    over_examples = experiment.layout.batch(experiment.mesh)
    masks = quadrant_masks(experiment.task)

    @jax.jit
    def one_batch(variables: Any, inputs: dict[str, jax.Array]) -> Measures:
        maps = attention_maps(objective, variables, inputs)
        return Measures(
            logit=maps.logit,
            own_quadrant=own_quadrant_share(maps.word_to_patch, overlap),
            own_word=own_word_share(maps.patch_to_word, overlap),
            image_attention=maps.word_to_patch.sum(axis=-1).mean(axis=-1),
            rollout=shares(maps.rollout) @ overlap,
            occluded=occlude(objective, variables, inputs, masks),
        )

    def measure(variables: Any, inputs: dict[str, np.ndarray]) -> Measures:
        count = len(inputs["words"])
        found = []
        for start in range(0, count, batch_size):
            rows = np.arange(start, start + batch_size) % count  # the last batch begins anew
            batch = {name: array[rows] for name, array in inputs.items()}
            placed = distributed.place(batch, over_examples)
            found.append(distributed.to_host(one_batch(variables, placed)))
        return jax.tree.map(lambda *x: np.concatenate(x)[:count], *found)

    return measure


def occlude(
    objective: Objective,
    variables: Any,
    inputs: dict[str, jax.Array],
    masks: np.ndarray,
) -> jax.Array:
    """The true/false logits [B, M] where each of M masks bool [M, H, W] hides its pixels."""

    def logit(image: jax.Array) -> jax.Array:
        logits = objective.verdict(variables, inputs | {"image": image})
        return match_logit(logits, objective.task.num_classes)

    return occluded_logits(logit, inputs["image"], jnp.asarray(masks))
