"""Dropout with the masks of `flax.linen.Dropout`, drawn several times faster on the CPU.

There JAX computes the random bits (threefry, Salmon et al. 2011) by a loop over rounds that passes
all counters through memory five times. Written out, the twenty rounds become one loop over elements
that stays in registers. The bits are the same; elsewhere JAX writes the rounds out itself.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def random_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The uint32 bits of `jax.random.bits` for a threefry key and fewer than 2^32 elements."""
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
    return a ^ b


def bernoulli(key: jax.Array, p: float, shape: tuple[int, ...]) -> jax.Array:
    """What `jax.random.bernoulli` draws with a chance of p, bool of a shape, on any backend."""
    threefry = jax.random.key_impl(key) == "threefry2x32" and jax.config.jax_threefry_partitionable
    if jax.default_backend() != "cpu" or not threefry or math.prod(shape) >= 2**32:
        return jax.random.bernoulli(key, p, shape)
    # As jax.random.uniform: 23 bits become the fraction of a float from 1 to 2.
    bits = (random_bits(key, shape) >> 9) | jnp.uint32(0x3F800000)
    return jax.lax.bitcast_convert_type(bits, jnp.float32) - 1 < p


class Dropout(nn.Module):
    """Sets each entry to 0 with a chance of `rate` and scales the others up.

    Attributes:
      rate: 0 to below 1.
      deterministic: whether nothing happens.
    """

    rate: float
    deterministic: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps an array of any shape to the same; draws from the random stream "dropout"."""
        if self.deterministic or not self.rate:
            return x
        keep = 1 - self.rate
        mask = bernoulli(self.make_rng("dropout"), keep, x.shape)
        return jnp.where(mask, x / keep, 0)
