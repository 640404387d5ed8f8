"""Dropout that spends little on random bits.

In float32 the masks are those of `flax.linen.Dropout`, drawn several times faster on the CPU: there
JAX computes the bits (threefry, Salmon et al. 2011) by a loop over rounds that passes all counters
through memory five times. Written out, the twenty rounds become one loop over elements that stays
in registers. The bits are the same; elsewhere JAX writes the rounds out itself.

In bfloat16, which has eight digits itself, an entry gets eight bits, and a block of threefry, of 64
bits, serves eight entries instead of one: twenty rounds for each would take an accelerator about as
long as a matrix product. The rate is then a multiple of 1/256, and what is kept is scaled by it.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_ENTRIES_PER_BLOCK = 8


def _blocks(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 of the numbers from 0 on, two uint32 of a shape of fewer than 2^32 entries."""
    counter = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        place = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        counter += place * jnp.uint32(math.prod(shape[axis + 1 :]))
    first, second = jax.random.key_data(key)
    keys = (first, second, first ^ second ^ jnp.uint32(0x1BD11BDA))
    a, b = jnp.broadcast_to(first, shape), counter + second
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            a = a + b
            b = ((b << rotation) | (b >> (32 - rotation))) ^ a
        a = a + keys[(i + 1) % 3]
        b = b + keys[(i + 2) % 3] + jnp.uint32(i + 1)
    return a, b


def _is_threefry(key: jax.Array) -> bool:
    return jax.random.key_impl(key) == "threefry2x32"


def bernoulli(key: jax.Array, p: float, shape: tuple[int, ...]) -> jax.Array:
    """What `jax.random.bernoulli` draws with a chance of p, bool of a shape, on any backend."""
    own = _is_threefry(key) and jax.config.jax_threefry_partitionable
    if jax.default_backend() != "cpu" or not own or math.prod(shape) >= 2**32:
        return jax.random.bernoulli(key, p, shape)
    a, b = _blocks(key, shape)
    # As jax.random.uniform: 23 bits become the fraction of a float from 1 to 2.
    bits = ((a ^ b) >> 9) | jnp.uint32(0x3F800000)
    return jax.lax.bitcast_convert_type(bits, jnp.float32) - 1 < p


def random_bytes(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Random uint8 of a shape with at least one dimension, the same on any backend."""
    *rows, last = shape
    blocks = (*rows, -(-last // _ENTRIES_PER_BLOCK))
    if _is_threefry(key) and math.prod(blocks) < 2**32:
        words = _blocks(key, blocks)
    else:
        words = tuple(jax.random.bits(key, (2, *blocks), jnp.uint32))
    words = jax.lax.optimization_barrier(words)  # else a fusion would draw a block for each entry
    planes = [(word >> shift).astype(jnp.uint8) for word in words for shift in (0, 8, 16, 24)]
    return jnp.concatenate(planes, axis=-1)[..., :last]


class Dropout(nn.Module):
    """Sets each entry to 0 with a chance of `rate` and scales the others up.

    Attributes:
      rate: 0 to below 1; in bfloat16 the nearest multiple of 1/256 from 1/256 to 255/256.
      deterministic: whether nothing happens.
    """

    rate: float
    deterministic: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps an array of any shape to the same; draws from the random stream "dropout"."""
        if self.deterministic or not self.rate:
            return x
        key, keep = self.make_rng("dropout"), 1 - self.rate
        if x.dtype == jnp.bfloat16:
            kept = min(max(round(256 * keep), 1), 255)
            mask, keep = random_bytes(key, x.shape) < kept, kept / 256
        else:
            mask = bernoulli(key, keep, x.shape)
        return jnp.where(mask, x / keep, 0)
