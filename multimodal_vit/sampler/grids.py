"""Grids of images: which ones, and how they are pasted."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from multimodal_vit.sampler.task import Task, named_key
from multimodal_vit.sampler.texts import CANDIDATES, first_that_fits

Grids = Callable[[jax.Array, jax.Array, jax.Array, Task], jax.Array]


def uniform_grids(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
    """The images of each grid: the base image, then others drawn uniformly from the split.

    Args:
      key: a random key.
      labels: int32 [N], of the split.
      base: int32 [B].
      task: the task; its `num_positions` n is used.

    Returns:
      int32 [B, n], places in the split.
    """
    n = task.num_positions
    others = jax.random.randint(named_key(key, "others"), (len(base), n - 1), 0, len(labels))
    return jnp.concatenate([base[:, None].astype(others.dtype), others], axis=1)


def grids_where(fits: Callable[[jax.Array], jax.Array]) -> Grids:
    """Grids whose labels fit, int32 [..., n] → bool [...]; else as `uniform_grids`.

    A grid that none of 64 draws makes fit shows its base image throughout.
    """

    def draw(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
        keys = jax.random.split(key, CANDIDATES)
        candidates = jax.vmap(lambda k: uniform_grids(k, labels, base, task), out_axes=1)(keys)
        constant = jnp.broadcast_to(base[:, None, None], (len(base), 1, task.num_positions))
        candidates = jnp.concatenate([candidates, constant.astype(candidates.dtype)], axis=1)
        known = fits(labels[candidates]).at[:, -1].set(True)  # (B, CANDIDATES + 1)
        return first_that_fits(candidates, known)

    return draw


def paste(images: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Pastes the images of each example into one, in reading order.

    Args:
      images: [B, r·c, H, W, C], any dtype.
      grid: r rows and c columns.

    Returns:
      [B, r·H, c·W, C], the same dtype.
    """
    r, c = grid
    B, _, H, W, C = images.shape
    rows = images.reshape(B, r, c, H, W, C).transpose(0, 1, 3, 2, 4, 5)  # (B, r, H, c, W, C)
    return rows.reshape(B, r * H, c * W, C)


def cells(image: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """The images of a grid, in reading order: [B, r·H, c·W, C] → [B, r·c, H, W, C].

    The inverse of `paste`; like it for arrays of NumPy too.
    """
    r, c = grid
    B, height, width, C = image.shape
    parts = image.reshape(B, r, height // r, c, width // c, C).transpose(0, 1, 3, 2, 4, 5)
    return parts.reshape(B, r * c, height // r, width // c, C)


def moved(cell: jax.Array, start: jax.Array, most: int) -> jax.Array:
    """A cell [H, W, C] moved by most - start, int32 [2] from 0 to 2 · most; black moves in."""
    padded = jnp.pad(cell, ((most, most), (most, most), (0, 0)))
    return jax.lax.dynamic_slice(padded, (start[0], start[1], 0), cell.shape)
