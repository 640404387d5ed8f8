"""False texts: the laws by which a text comes to differ from what the image shows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit.sampler.task import Task, named_key


def replace_labels(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """False texts by the thesis's law (section 3.4.1).

    One position, drawn uniformly, is always replaced; each other one with probability
    `replacement_rate`. A replacement is uniform over the K - 1 other classes.

    Args:
      key: a random key.
      labels: int32 [B, n].
      task: the task; its `num_classes` and `replacement_rate` are used.

    Returns:
      int32 [B, n], in each row different from `labels` in at least one place.
    """
    B, n = labels.shape
    first = jax.random.randint(named_key(key, "first"), (B, 1), 0, n)  # [B, 1]
    more = jax.random.bernoulli(named_key(key, "more"), task.replacement_rate, (B, n))
    replaced = more | (jnp.arange(n) == first)  # [B, n]
    shift = jax.random.randint(named_key(key, "shift"), (B, n), 1, task.num_classes)
    return jnp.where(replaced, (labels + shift) % task.num_classes, labels)


def replacement_chances(task: Task) -> np.ndarray:
    """The chance of one false text by `replace_labels`, by the labels that it differs in.

    d / n · r^(d-1) · (1 - r)^(n-d) / (K - 1)^d for d differences: float64 [n + 1], 0 for none.
    """
    n, r, K = task.num_positions, task.replacement_rate, task.num_classes
    d = np.arange(1, n + 1)
    chances = np.concatenate([[0.0], d / n * r ** (d - 1) * (1 - r) ** (n - d)])
    return chances / (K - 1) ** np.arange(n + 1)


def permute_labels(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """False texts that only order tells from true ones: the same labels in another order.

    All orders that change the text are equally likely. A row of equal labels, which no order
    changes, gets the false text of `replace_labels`.

    Args:
      key: a random key.
      labels: int32 [B, n].
      task: the task.

    Returns:
      int32 [B, n], in each row different from `labels` in at least one place.
    """
    B, n = labels.shape
    scores = jax.random.uniform(named_key(key, "order"), (B, _ORDERS, n))
    orders = jnp.argsort(scores, axis=-1)  # (B, _ORDERS, n)
    candidates = jnp.take_along_axis(labels[:, None, :], orders, axis=2)
    # Should none of them change the text, a rotation by one does, unless all labels are equal.
    candidates = jnp.concatenate([candidates, jnp.roll(labels, 1, axis=1)[:, None]], axis=1)
    differs = (candidates != labels[:, None, :]).any(axis=-1)  # (B, _ORDERS + 1)
    replaced = replace_labels(named_key(key, "replaced"), labels, task)
    return jnp.where(
        differs.any(axis=1, keepdims=True), first_that_fits(candidates, differs), replaced
    )


_ORDERS = 8  # drawn for each row; a text with four labels stays as it is with at most 1/4 each


def first_that_fits(candidates: jax.Array, fits: jax.Array) -> jax.Array:
    """The first candidate of each row that fits, [B, C, n] and bool [B, C] → [B, n].

    Where none does, the first of all.
    """
    return jnp.take_along_axis(candidates, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]


def mix_labels(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """False texts, each with equal chance by `replace_labels` or by `permute_labels`."""
    by_order = jax.random.bernoulli(named_key(key, "by order"), 0.5, (len(labels), 1))
    replaced = replace_labels(named_key(key, "replace"), labels, task)
    permuted = permute_labels(named_key(key, "permute"), labels, task)
    return jnp.where(by_order, permuted, replaced)


Corruption = Callable[[jax.Array, jax.Array, Task], jax.Array]


CORRUPTIONS: dict[str, Corruption] = {
    "replace": replace_labels,
    "permute": permute_labels,
    "mixed": mix_labels,
}


CANDIDATES = 64  # for each row; half of all grids and texts or more fit


def corruption_where(fits: Callable[[jax.Array], jax.Array], corruption: Corruption) -> Corruption:
    """False texts that fit, int32 [..., n] → bool [...]; else as `corruption`.

    A text that none of 64 draws makes fit says one wrong class throughout.
    """

    def corrupt(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
        keys = jax.random.split(key, CANDIDATES)
        candidates = jax.vmap(lambda k: corruption(k, labels, task), out_axes=1)(keys)
        constant = jnp.broadcast_to((labels[:, :1] + 1) % task.num_classes, labels.shape)
        candidates = jnp.concatenate([candidates, constant[:, None]], axis=1)
        return first_that_fits(candidates, fits(candidates).at[:, -1].set(True))

    return corrupt
