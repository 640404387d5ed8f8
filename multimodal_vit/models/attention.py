"""Multi-head attention (Vaswani et al. 2017): of tokens to themselves, and to others."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jax.extend.backend import get_backend

from multimodal_vit.parameters import declare

# What flax initialises its layers with; they stand here to say how the tensor layout cuts them.
KERNEL, BIAS = nn.initializers.lecun_normal(), nn.initializers.zeros

# How attention is computed: as suits backend and dtype, or one of "products", in [B, heads, T, d]
# order, fastest on the CPU, and the only way that gives the weights; "xla" and "cudnn", those of
# `jax.nn.dot_product_attention`. cuDNN's never writes the weights to memory.
ATTENTION = ("auto", "products", "xla", "cudnn")


def has_cudnn() -> bool:
    """Whether there is a GPU whose cuDNN can compute attention (compute capability 8 or later)."""
    if jax.default_backend() != "gpu" or "cuda" not in get_backend().platform_version:
        return False
    return float(jax.local_devices()[0].compute_capability) >= 8


def fits_cudnn(dtype: Dtype, head_dim: int) -> bool:
    """Whether cuDNN's attention takes such heads."""
    return jnp.dtype(dtype).itemsize == 2 and head_dim % 8 == 0 and head_dim <= 128


def chosen_implementation(implementation: str, dtype: Dtype, head_dim: int) -> str:
    """How attention is computed where "auto" leaves it to backend and dtype."""
    if implementation != "auto":
        return implementation
    if jax.default_backend() == "cpu":
        return "products"
    return "cudnn" if fits_cudnn(dtype, head_dim) and has_cudnn() else "xla"


def fused(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    implementation: str,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Attention by `jax.nn.dot_product_attention`.

    Args:
      query: [B, T, heads, d].
      key: [B, S, heads, d].
      value: the same.
      implementation: "xla" or "cudnn"; cuDNN's is taken where all see all, and T is S.
      mask: bool [T, S], what each query sees; None: all.

    Returns:
      [B, T, heads, d].
    """
    if mask is not None or query.shape[1] != key.shape[1]:
        implementation = "xla"  # cuDNN takes such with restrictions on the lengths
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=implementation)


def products(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Attention as two products.

    Args:
      query: [B, heads, T, d].
      key: [B, heads, S, d].
      value: the same.
      mask: bool [T, S], what each query sees; None: all.

    Returns:
      [B, heads, T, d], and the weights [B, heads, T, S].
    """
    dtype, head_dim = query.dtype, query.shape[-1]
    scores = query @ key.swapaxes(-1, -2) / jnp.sqrt(head_dim).astype(dtype)
    scores = scores.astype(jnp.float32)
    if mask is not None:
        scores = jnp.where(mask, scores, -1e30)  # not -inf, whose gradient is NaN
    weights = jax.nn.softmax(scores).astype(dtype)
    return weights @ value, weights


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Attributes:
      num_heads: divides D.
      dtype: of the computation.
      implementation: one of `ATTENTION`.
      num_slots: m, learned keys and values besides those of the tokens (Cornia et al. 2020).
    """

    num_heads: int
    dtype: Dtype = jnp.float32
    implementation: str = "auto"
    num_slots: int = 0

    @nn.compact
    def __call__(
        self, x: jax.Array, return_weights: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array | None]:
        """Maps [B, T, D] to [B, T, D] and, on request, attention weights [B, heads, T, T + m].

        Row t of a head's weights says how much token t takes from each token, and from the slots;
        it sums to 1.

        Args:
          x: the tokens.
          return_weights: whether the weights are wanted.
          mask: bool [T, T], the tokens that each token sees, itself among them; None: all. Slots
            are seen by every token.

        Raises:
          ValueError: the heads do not divide D.
        """
        B, T, D = x.shape
        if D % self.num_heads:
            raise ValueError(f"{self.num_heads} heads do not divide {D} dimensions")
        head_dim = D // self.num_heads
        qkv = nn.DenseGeneral(
            (3, self.num_heads, head_dim), dtype=self.dtype, name="qkv",
            kernel_init=declare(KERNEL, cut=-2), bias_init=declare(BIAS, cut=-2),
        )(x)  # fmt: skip
        implementation = chosen_implementation(self.implementation, self.dtype, head_dim)
        weights = None
        if mask is not None and self.num_slots:
            mask = jnp.pad(mask, ((0, 0), (0, self.num_slots)), constant_values=True)
        if implementation != "products" and not return_weights:
            query, key, value = jnp.moveaxis(qkv, 2, 0)  # each (B, T, heads, d)
            key, value = self._with_slots(key, value, axis=1)
            y = fused(query, key, value, implementation, mask)
        else:
            query, key, value = qkv.transpose(2, 0, 3, 1, 4)  # each (B, heads, T, d)
            key, value = self._with_slots(key, value, axis=2)
            y, weights = products(query, key, value, mask)
            y = y.transpose(0, 2, 1, 3)  # (B, T, heads, d)
        out = nn.Dense(D, dtype=self.dtype, name="out", kernel_init=declare(KERNEL, cut=-2))
        y = out(y.reshape(B, T, D))
        return y, weights if return_weights else None

    def _with_slots(
        self, key: jax.Array, value: jax.Array, axis: int
    ) -> tuple[jax.Array, jax.Array]:
        """Keys and values with those of the slots behind them, along the axis of the tokens.

        They are initialised as the authors do it: keys with a deviation of 1 / sqrt(d), values with
        1 / sqrt(m).
        """
        if not self.num_slots:
            return key, value
        head_dim = key.shape[-1]
        shape, found = (self.num_slots, self.num_heads, head_dim), []
        for name, part, size in (
            ("slot_keys", key, head_dim),
            ("slot_values", value, self.num_slots),
        ):
            init = declare(nn.initializers.normal(size**-0.5), cut=-2)
            slots = self.param(name, init, shape).astype(self.dtype)
            slots = slots if axis == 1 else slots.swapaxes(0, 1)
            slots = jnp.broadcast_to(slots, (part.shape[0], *slots.shape))
            found.append(jnp.concatenate([part, slots], axis=axis))
        return found[0], found[1]


class MultiHeadAttention(nn.Module):
    """Attention of some tokens to others; as `SelfAttention`, with queries of their own.

    Attributes:
      num_heads: divides D.
      dtype: of the computation.
      implementation: one of `ATTENTION`.
    """

    num_heads: int
    dtype: Dtype = jnp.float32
    implementation: str = "auto"

    @nn.compact
    def __call__(
        self,
        queries: jax.Array,
        others: jax.Array,
        return_weights: bool = False,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Maps [B, T, D] and [B, S, D] to [B, T, D] and, on request, weights [B, heads, T, S].

        Args:
          queries: the tokens that look.
          others: the tokens that are looked at.
          return_weights: whether the weights are wanted.
          mask: bool [T, S], what each query sees; None: all.
        """
        D = queries.shape[-1]
        head_dim = D // self.num_heads

        def project(x: jax.Array, name: str, *parts: int) -> jax.Array:
            return nn.DenseGeneral(
                (*parts, self.num_heads, head_dim), dtype=self.dtype, name=name,
                kernel_init=declare(KERNEL, cut=-2), bias_init=declare(BIAS, cut=-2),
            )(x)  # fmt: skip

        query, key_value = project(queries, "query"), project(others, "key_value", 2)
        key, value = jnp.moveaxis(key_value, 2, 0)  # each (B, S, heads, d)
        implementation = chosen_implementation(self.implementation, self.dtype, head_dim)
        weights = None
        if implementation != "products" and not return_weights:
            y = fused(query, key, value, implementation, mask)
        else:
            heads_first = (part.swapaxes(1, 2) for part in (query, key, value))
            y, weights = products(*heads_first, mask)
            y = y.swapaxes(1, 2)  # (B, T, heads, d)
        out = nn.Dense(D, dtype=self.dtype, name="out", kernel_init=declare(KERNEL, cut=-2))
        return out(y.reshape(queries.shape)), weights if return_weights else None
