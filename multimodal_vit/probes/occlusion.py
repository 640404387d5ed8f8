"""Occlusion: hide a part of the image and measure the change of the answer.

A causal check on what attention suggests (Zeiler & Fergus 2014, "Visualizing and Understanding
Convolutional Networks"). What is hidden becomes black: the background of digits and clothes, but
still an image that the model was never trained on.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit.sampler import Task


def quadrant_masks(task: Task) -> np.ndarray:
    """Where each quadrant lies in the pasted image: bool [n, H, W]."""
    r, c = task.grid
    height, width, _ = task.image_shape
    places = np.arange(r * c).reshape(r, c)
    pixels = places.repeat(height, axis=0).repeat(width, axis=1)  # (H, W)
    return pixels == np.arange(r * c)[:, None, None]


def window_masks(task: Task, steps: int = 8) -> np.ndarray:
    """Windows that slide over the pasted image, about a quarter of one image wide.

    Args:
      task: the task.
      steps: the windows along each side of one image, or one for each pixel if fewer.

    Returns:
      bool [r', c', H, W]; window (i, j) is centred on cell (i, j) of an even tiling of the image.
    """

    def along(num_images: int, side: int) -> np.ndarray:
        cell = side / min(steps, side)  # pixels
        centres = (np.arange(round(num_images * side / cell)) + 0.5) * cell
        pixels = np.arange(num_images * side) + 0.5
        return np.abs(pixels - centres[:, None]) <= cell  # (cells, pixels)

    rows, columns = (along(task.grid[i], task.image_shape[i]) for i in (0, 1))
    return rows[:, None, :, None] & columns[None, :, None, :]


def occluded_logits(
    logit: Callable[[jax.Array], jax.Array], image: jax.Array, masks: jax.Array
) -> jax.Array:
    """The logits where a part of the image is black.

    Args:
      logit: maps images [B, H, W, C] to logits [B].
      image: [B, H, W, C].
      masks: the parts, bool [M, H, W].

    Returns:
      [B, M].
    """

    def hidden(mask: jax.Array) -> jax.Array:
        return logit(jnp.where(mask[..., None], 0, image).astype(image.dtype))  # (B,)

    return jax.lax.map(hidden, masks).T


def wrong_against_right(change: np.ndarray, replaced: np.ndarray) -> dict[str, np.ndarray]:
    """What hiding a quadrant whose word is wrong does, against one whose word is right.

    Args:
      change: of an answer where each quadrant is hidden, float [N, n].
      replaced: bool [N, n], where the words are wrong.

    Returns:
      For the M pairs with both, float [M]: "wrong" and "right", the mean change over such
      quadrants; "difference", wrong - right; "highest", whether the change is highest at a wrong
      one, and "chance", how often it would be were all alike.
    """
    both = replaced.any(axis=1) & ~replaced.all(axis=1)
    change, replaced = change[both], replaced[both]
    wrong = np.where(replaced, change, 0).sum(axis=1) / replaced.sum(axis=1)
    right = np.where(replaced, 0, change).sum(axis=1) / (~replaced).sum(axis=1)
    highest = np.take_along_axis(replaced, change.argmax(axis=1)[:, None], axis=1)[:, 0]
    return {
        "wrong": wrong,
        "right": right,
        "difference": wrong - right,
        "highest": highest.astype(float),
        "chance": replaced.mean(axis=1),
    }
