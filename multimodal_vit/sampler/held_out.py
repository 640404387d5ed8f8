"""What no training pair shows or says: a fixed tenth of sequences, or of pairs of classes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def sequence_is_held_out(labels: jax.Array, num_classes: int) -> jax.Array:
    """Whether a sequence of labels is one of a fixed tenth, int32 [..., n] → bool [...].

    A hash of the sequence decides; sequences of one label throughout never are.
    """
    del num_classes
    code = jnp.full(labels.shape[:-1], 2166136261, jnp.uint32)
    for i in range(labels.shape[-1]):
        code = (code ^ labels[..., i].astype(jnp.uint32)) * jnp.uint32(2654435769)
        code ^= code >> 15
    return (code % 10 == 0) & (labels != labels[..., :1]).any(axis=-1)


def pair_is_held_out(labels: jax.Array, num_classes: int) -> jax.Array:
    """Whether two classes of a fixed tenth of all pairs of classes occur together.

    int32 [..., n] → bool [...]; of ten classes four pairs are held out, of 45.
    """
    first, second = np.triu_indices(num_classes, 1)
    count = max(1, len(first) // 10)
    which = np.random.default_rng(0).permutation(len(first))[:count]
    table = np.zeros((num_classes, num_classes), bool)
    table[first[which], second[which]] = table[second[which], first[which]] = True
    return jnp.asarray(table)[labels[..., :, None], labels[..., None, :]].any(axis=(-2, -1))


HELD_OUT: dict[str, Callable[[jax.Array, int], jax.Array] | None] = {
    "nothing": None,
    "sequences": sequence_is_held_out,
    "pairs": pair_is_held_out,
}


def can_hold_out(kind: str, num_classes: int, num_positions: int) -> bool:
    """Whether there are enough sequences or pairs of classes to hold a tenth out."""
    if kind == "sequences":
        return num_classes**num_positions >= 100
    return kind == "nothing" or (num_classes >= 5 and num_positions >= 2)
