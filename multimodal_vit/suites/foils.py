"""False texts and grids made to show one thing."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit.sampler import (
    HELD_OUT,
    Batch,
    Corruption,
    Task,
    corruption_where,
    grids_where,
    named_key,
    replace_labels,
)
from multimodal_vit.suites.base import Suite, published_law


def replace_one(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Replaces exactly one label, int32 [B, n] → [B, n]; position and class are uniform."""
    return replace_labels(key, labels, dataclasses.replace(task, replacement_rate=0.0))


def replace_at(position: int) -> Corruption:
    """Replaces the label at one position, from 0."""

    def corrupt(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
        shift = jax.random.randint(named_key(key, "shift"), labels.shape, 1, task.num_classes)
        here = jnp.arange(labels.shape[1]) == position
        return jnp.where(here, (labels + shift) % task.num_classes, labels)

    return corrupt


def swap_adjacent(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Swaps two labels that follow each other in reading order and differ; any such pair alike.

    Rows of equal labels stay as they are.
    """
    del task
    differs = labels[:, :-1] != labels[:, 1:]  # (B, n-1)
    scores = jax.random.uniform(named_key(key, "place"), differs.shape)
    place = jnp.where(differs, scores, -1.0).argmax(axis=1)[:, None]  # (B, 1)
    position = jnp.arange(labels.shape[1])
    source = jnp.where(
        position == place, position + 1, jnp.where(position == place + 1, position - 1, position)
    )
    return jnp.take_along_axis(labels, source, axis=1)


def name_absent(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """One label becomes a class that the grid does not show, int32 [B, n] → [B, n].

    Position and class are uniform; where every class is shown the text stays as it is (FOIL,
    Shekhar et al. 2017; "existence" of VALSE, Parcalabescu et al. 2022).
    """
    B, n = labels.shape
    shown = (labels[:, :, None] == jnp.arange(task.num_classes)).any(axis=1)  # (B, K)
    place = jax.random.randint(named_key(key, "place"), (B, 1), 0, n)
    scores = jax.random.uniform(named_key(key, "class"), shown.shape)
    other = jnp.where(shown, -1.0, scores).argmax(axis=1)[:, None]  # (B, 1)
    here = (jnp.arange(n) == place) & ~shown.all(axis=1, keepdims=True)
    return jnp.where(here, other, labels)


def some_absent(batch: Batch, task: Task) -> jax.Array:
    """Grids that do not show every class: bool [B]."""
    shown = (batch.labels[:, :, None] == jnp.arange(task.num_classes)).any(axis=1)
    return ~shown.all(axis=1)


DIRECTIONS = ("row", "column", "diagonal")  # in which two cells of a grid can lie to each other


def lie_in(direction: str, grid: tuple[int, int]) -> np.ndarray:
    """Which two different positions of a grid lie in one row, one column, or neither: bool [n, n].

    Args:
      direction: one of `DIRECTIONS`, or "" for all.
      grid: rows and columns.
    """
    row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    same_row, same_column = row[:, None] == row, column[:, None] == column
    return {
        "": ~(same_row & same_column),
        "row": same_row & ~same_column,
        "column": same_column & ~same_row,
        "diagonal": ~same_row & ~same_column,
    }[direction]


def _exchangeable(labels: jax.Array, task: Task, direction: str) -> jax.Array:
    differs = labels[:, :, None] != labels[:, None, :]  # (B, n, n)
    return differs & jnp.asarray(lie_in(direction, task.grid))


def exchange(direction: str) -> Corruption:
    """Exchanges two labels that differ and lie in a direction to each other; any such two alike.

    Rows without any stay as they are ("spatial relations" of VALSE, Parcalabescu et al. 2022).

    Args:
      direction: one of `DIRECTIONS`, or "" for all.
    """

    def corrupt(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
        B, n = labels.shape
        fits = _exchangeable(labels, task, direction)
        scores = jnp.where(fits, jax.random.uniform(named_key(key, "place"), fits.shape), -1.0)
        best = scores.reshape(B, n * n).argmax(axis=1)[:, None]  # (B, 1)
        first, second = best // n, best % n
        place = jnp.arange(n)
        source = jnp.where(place == first, second, jnp.where(place == second, first, place))
        can = fits.any(axis=(1, 2))[:, None]
        return jnp.where(can, jnp.take_along_axis(labels, source, axis=1), labels)

    return corrupt


def can_exchange(direction: str) -> Callable[[Batch, Task], jax.Array]:
    """Grids with two different labels in a direction to each other: bool [B]."""

    def belongs(batch: Batch, task: Task) -> jax.Array:
        return _exchangeable(batch.labels, task, direction).any(axis=(1, 2))

    return belongs


def recount(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Keeps which labels occur and changes how often, int32 [B, n] → [B, n].

    One of several equal labels becomes another one of the row's; every such change alike. Rows of
    equal labels and rows of different ones stay as they are.
    """
    del task
    B, n = labels.shape
    same = labels[:, :, None] == labels[:, None, :]  # (B, n, n)
    fits = (same.sum(axis=2) > 1)[:, :, None] & ~same  # at i, the label of j
    scores = jnp.where(fits, jax.random.uniform(named_key(key, "place"), (B, n, n)), -1.0)
    best = scores.reshape(B, n * n).argmax(axis=1)[:, None]  # (B, 1)
    other = jnp.take_along_axis(labels, best % n, axis=1)
    changed = (jnp.arange(n) == best // n) & fits.any(axis=(1, 2))[:, None]
    return jnp.where(changed, other, labels)


def some_equal(batch: Batch, task: Task) -> jax.Array:
    """Grids in which a label occurs twice or more, and another one too: bool [B]."""
    del task
    ordered = jnp.sort(batch.labels, axis=1)
    differs = ordered[:, 1:] != ordered[:, :-1]  # (B, n-1)
    return differs.any(axis=1) & ~differs.all(axis=1)


def not_all_equal(batch: Batch, task: Task) -> jax.Array:
    """Grids whose labels can be put into another order: bool [B]."""
    del task
    return (batch.labels != batch.labels[:, :1]).any(axis=1)


def of_class(key: jax.Array, labels: jax.Array, wanted: jax.Array) -> jax.Array:
    """Images drawn uniformly from those of a class: places in the split.

    Args:
      key: a random key.
      labels: int32 [N], of the split.
      wanted: int32, any shape; each class occurs in the split.
    """
    order = jnp.argsort(labels)
    first = jnp.searchsorted(labels[order], wanted)
    count = jnp.searchsorted(labels[order], wanted, side="right") - first
    return order[first + jax.random.randint(key, wanted.shape, 0, count)]


def equal_grids(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
    """Grids that show the class of their base image throughout; see `sampler.uniform_grids`."""
    wanted = jnp.broadcast_to(labels[base][:, None], (len(base), task.num_positions))
    return of_class(named_key(key, "others"), labels, wanted).at[:, 0].set(base)


def held_out(kind: str) -> Suite:
    """Grids and texts that a training with `task.held_out` = `kind` never shows."""
    is_held_out = HELD_OUT[kind]
    assert is_held_out is not None

    def fits(labels: jax.Array, task: Task) -> jax.Array:
        return is_held_out(labels, task.num_classes)

    def grids(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
        return grids_where(functools.partial(fits, task=task))(key, labels, base, task)

    def corruption(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
        return corruption_where(functools.partial(fits, task=task), published_law)(
            key, labels, task
        )

    def belongs(batch: Batch, task: Task) -> jax.Array:
        return fits(batch.labels, task) & fits(batch.inputs["words"], task)

    return Suite(
        f"grids and texts of the {kind} that task.held_out={kind} keeps out of training",
        corruption, grids, belongs,
    )  # fmt: skip
