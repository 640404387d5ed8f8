"""Attention weights between words and image, and what can be counted in them.

They say where a token takes its input from, not what the answer rests on (Jain & Wallace 2019,
"Attention is not Explanation"); `multimodal_vit.probes.occlusion` checks that.

Sizes: B pairs, n words and quadrants (the places of the grid, whatever its shape), P image tokens,
L layers, T tokens in all. "Own" is quadrant i for word i, and word i for the tokens of quadrant i.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit.models import MultimodalViT
from multimodal_vit.objectives import Objective, match_logit
from multimodal_vit.sampler import Task


def patch_grid(model: MultimodalViT, task: Task) -> tuple[int, int] | None:
    """Rows and columns of the image tokens, which stand row by row; None where there are none."""
    embedding = model.embeddings.get("patches")
    return None if embedding is None else embedding.token_grid(task)


def quadrant_overlap(patches: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """How much of each image token's area lies in each quadrant.

    The tokens are taken to tile the image evenly, also where a stem without padding has cut its
    border off.

    Args:
      patches: rows and columns of image tokens.
      grid: rows and columns of the task's grid.

    Returns:
      float64 [P, n], fractions of a token's area; rows sum to 1.
    """

    def along(num_patches: int, num_cells: int) -> np.ndarray:
        patch, cell = np.arange(num_patches)[:, None], np.arange(num_cells)
        start = np.maximum(patch / num_patches, cell / num_cells)
        end = np.minimum((patch + 1) / num_patches, (cell + 1) / num_cells)
        return np.maximum(end - start, 0) * num_patches  # (num_patches, num_cells)

    return np.kron(along(patches[0], grid[0]), along(patches[1], grid[1]))


def shares(weights: jax.Array) -> jax.Array:
    """Weights as shares of their sum over the last axis; all alike where that sum is 0."""
    total = weights.sum(axis=-1, keepdims=True)
    return jnp.where(total > 0, weights / total, 1 / weights.shape[-1])


def own_quadrant_share(word_to_patch: jax.Array, overlap: np.ndarray) -> jax.Array:
    """The share of word i's attention to the image that falls on quadrant i; chance is 1 / n.

    Args:
      word_to_patch: attention weights [..., n, P].
      overlap: [P, n], see `quadrant_overlap`.

    Returns:
      [..., n], from 0 to 1.
    """
    return jnp.einsum("...ip,pi->...i", shares(word_to_patch), overlap)


def own_word_share(patch_to_word: jax.Array, overlap: np.ndarray) -> jax.Array:
    """The share of quadrant i's attention to the text that falls on word i; chance is 1 / n.

    Args:
      patch_to_word: attention weights [..., P, n].
      overlap: [P, n], see `quadrant_overlap`.

    Returns:
      [..., n], from 0 to 1, the mean over the quadrant's area.
    """
    return jnp.einsum("...pi,pi->...i", shares(patch_to_word), overlap / overlap.sum(axis=0))


def rollout(weights: jax.Array) -> jax.Array:
    """Attention rollout: how much of each input token arrives at each output token.

    The product of the layers' attention, averaged over heads, with half of each token passed on by
    the residual connection (Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers").

    Args:
      weights: [..., L, heads, T, T].

    Returns:
      [..., T, T]; rows sum to 1.
    """
    layers = 0.5 * weights.mean(axis=-3) + 0.5 * jnp.eye(weights.shape[-1])  # (..., L, T, T)
    found = layers[..., 0, :, :]
    for i in range(1, layers.shape[-3]):
        found = layers[..., i, :, :] @ found
    return found


class AttentionMaps(NamedTuple):
    """The parts of the attention weights that join words and image, of B pairs.

    Attributes:
      logit: of "the text is true", float32 [B].
      word_to_patch: float32 [B, L, heads, n, P].
      patch_to_word: float32 [B, L, heads, P, n].
      rollout: from the class token to the image tokens, float32 [B, P].
    """

    logit: Any
    word_to_patch: Any
    patch_to_word: Any
    rollout: Any


def attention_maps(
    objective: Objective, variables: Any, inputs: dict[str, jax.Array]
) -> AttentionMaps:
    """Asks a model for its attention; it has to return "attention_weights" and "spans".

    A last matrix that is no layer ("readout", see `models.base.Fusion`) enters the rollout alone.

    Args:
      objective: what it was trained for, which says what its answer is.
      variables: of both.
      inputs: of B pairs.
    """
    _, intermediates = objective.model.apply(variables, inputs, return_attention=True)
    logits = objective.verdict(variables, inputs)  # where the same pass gives it, XLA makes one
    weights = jnp.stack(intermediates["attention_weights"], axis=1).astype(jnp.float32)
    patches = slice(*intermediates["spans"]["patches"])
    return AttentionMaps(
        logit=match_logit(logits, objective.task.num_classes),
        word_to_patch=between(intermediates, "words", "patches"),
        patch_to_word=between(intermediates, "patches", "words"),
        rollout=rollout(weights)[:, 0, patches],  # (B, P)
    )


def between(intermediates: Mapping[str, Any], rows: str, columns: str) -> jax.Array:
    """The attention of one modality's tokens to another's, float32 [B, L, heads, rows, columns].

    Args:
      intermediates: of a model that returns attention; a "readout" is no layer.
      rows: the modality whose tokens look.
      columns: the one that is looked at.
    """
    weights = intermediates["attention_weights"]
    layers = weights[:-1] if intermediates.get("readout") else weights
    own, other = (slice(*intermediates["spans"][name]) for name in (rows, columns))
    return jnp.stack([layer[..., own, other] for layer in layers], axis=1).astype(jnp.float32)
