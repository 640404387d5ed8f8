"""Other views of a grid: each of its images changed on its own, as a function of a key.

A crop, a flip or a turn of the whole grid would change what its text must say, so that everything
here acts within cells. A mirrored digit is another shape, so that nothing is flipped.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from multimodal_vit.sampler import cells, moved, named_key, paste

MOST_SHIFT = 3  # pixels each way
MOST_TURN = 10.0  # degrees
MOST_SCALE = 0.1  # larger or smaller
MOST_CONTRAST, MOST_BRIGHTNESS = 0.3, 0.1  # of the range of grey values
NOISE = 0.1  # the standard deviation
MOST_ERASED = 0.5  # of a side: a quarter of a cell

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


def shift(key: jax.Array, cell: jax.Array) -> jax.Array:
    """Moves a cell [H, W, C] by up to 3 pixels each way; black moves in."""
    return moved(cell, jax.random.randint(key, (2,), 0, 2 * MOST_SHIFT + 1), MOST_SHIFT)


def affine(key: jax.Array, cell: jax.Array) -> jax.Array:
    """Turns a cell [H, W, C] by up to 10 degrees and scales it by up to a tenth."""
    H, W, _ = cell.shape
    turn, scale = jax.random.uniform(key, (2,), minval=-1, maxval=1)
    angle, scale = jnp.deg2rad(MOST_TURN * turn), 1 + MOST_SCALE * scale
    y, x = jnp.meshgrid(jnp.arange(H) - (H - 1) / 2, jnp.arange(W) - (W - 1) / 2, indexing="ij")
    cos, sin = jnp.cos(angle) / scale, jnp.sin(angle) / scale
    places = [cos * y - sin * x + (H - 1) / 2, sin * y + cos * x + (W - 1) / 2]
    moved = [map_coordinates(cell[..., i], places, order=1) for i in range(cell.shape[-1])]
    return jnp.stack(moved, axis=-1)


def contrast(key: jax.Array, cell: jax.Array) -> jax.Array:
    """Changes contrast by up to 0.3 and brightness by up to 0.1 of the range."""
    factor, offset = jax.random.uniform(key, (2,), minval=-1, maxval=1)
    return cell * (1 + MOST_CONTRAST * factor) + MOST_BRIGHTNESS * offset


def noise(key: jax.Array, cell: jax.Array) -> jax.Array:
    """Adds Gaussian noise of a tenth of the range."""
    return cell + NOISE * jax.random.normal(key, cell.shape)


def erase(key: jax.Array, cell: jax.Array) -> jax.Array:
    """Blackens a rectangle of up to half of each side (random erasing, Zhong et al. 2017)."""
    H, W, _ = cell.shape
    y, x, height, width = jax.random.uniform(key, (4,))
    rows, columns = jnp.arange(H) / H, jnp.arange(W) / W

    def inside(place: jax.Array, start: jax.Array, size: jax.Array) -> jax.Array:
        size = MOST_ERASED * size
        start = start * (1 - size)
        return (place >= start) & (place < start + size)

    hidden = inside(rows, y, height)[:, None] & inside(columns, x, width)
    return jnp.where(hidden[..., None], 0.0, cell)


AUGMENTATIONS: dict[str, Augmentation] = {
    "shift": shift,
    "affine": affine,
    "contrast": contrast,
    "noise": noise,
    "erase": erase,
}


def augmented(
    key: jax.Array, image: jax.Array, grid: tuple[int, int], names: Sequence[str]
) -> jax.Array:
    """Grids whose every cell is changed on its own, one augmentation after the other.

    Args:
      key: each cell of each row has a key of its own from it.
      image: uint8 [B, H, W, C].
      grid: rows and columns.
      names: keys of `AUGMENTATIONS`, in the order in which they act; (): the image as it is.

    Returns:
      uint8 [B, H, W, C].
    """
    if not names:
        return image
    parts = cells(image, grid).astype(jnp.float32) / 255  # (B, n, H, W, C)
    B, n = parts.shape[:2]
    flat = parts.reshape(B * n, *parts.shape[2:])
    for name in names:
        keys = jax.random.split(named_key(key, name), B * n)
        flat = jax.vmap(AUGMENTATIONS[name])(keys, flat)
    changed = jnp.round(255 * jnp.clip(flat, 0, 1)).astype(image.dtype)
    return paste(changed.reshape(parts.shape), grid)
