"""False texts and grids made to show one thing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

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
