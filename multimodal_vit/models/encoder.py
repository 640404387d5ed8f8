"""The pre-norm Transformer encoder (Vaswani et al. 2017, Dosovitskiy et al. 2020)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from multimodal_vit.models.dropout import Dropout


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Attributes:
      num_heads: divides D.
      dtype: of the computation.
      fused: whether to call `jax.nn.dot_product_attention`, JAX's entry to the accelerator's own
        attention, which never returns the weights; None chooses by backend (on the CPU plain
        products in [B, heads, T, d] order are faster).
    """

    num_heads: int
    dtype: Dtype = jnp.float32
    fused: bool | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, return_weights: bool = False
    ) -> tuple[jax.Array, jax.Array | None]:
        """Maps [B, T, D] to [B, T, D] and, on request, attention weights [B, heads, T, T].

        Row t of a head's weights says how much token t takes from each token; it sums to 1.

        Raises:
          ValueError: the heads do not divide D.
        """
        B, T, D = x.shape
        if D % self.num_heads:
            raise ValueError(f"{self.num_heads} heads do not divide {D} dimensions")
        head_dim = D // self.num_heads
        qkv = nn.DenseGeneral((3, self.num_heads, head_dim), dtype=self.dtype, name="qkv")(x)
        fused = jax.default_backend() != "cpu" if self.fused is None else self.fused
        weights = None
        if fused and not return_weights:
            y = jax.nn.dot_product_attention(*jnp.moveaxis(qkv, 2, 0))  # (B, T, heads, d)
        else:
            query, key, value = qkv.transpose(2, 0, 3, 1, 4)  # each (B, heads, T, d)
            scores = query @ key.swapaxes(-1, -2) / jnp.sqrt(head_dim).astype(self.dtype)
            weights = jax.nn.softmax(scores.astype(jnp.float32)).astype(self.dtype)
            y = (weights @ value).transpose(0, 2, 1, 3)  # (B, T, heads, d)
        y = nn.Dense(D, dtype=self.dtype, name="out")(y.reshape(B, T, D))
        return y, weights if return_weights else None


class EncoderBlock(nn.Module):
    """Attention and MLP, each normalised before and added to its input."""

    num_heads: int
    mlp_dim: int
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, return_weights: bool = False
    ) -> tuple[jax.Array, jax.Array | None]:
        """Maps [B, T, D] to [B, T, D] and, on request, attention weights [B, heads, T, T]."""
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        y = nn.LayerNorm(dtype=self.dtype, name="attention_norm")(x)
        y, weights = SelfAttention(self.num_heads, self.dtype, name="attention")(y, return_weights)
        x = x + dropout(y)
        y = nn.LayerNorm(dtype=self.dtype, name="mlp_norm")(x)
        y = nn.gelu(nn.Dense(self.mlp_dim, dtype=self.dtype, name="mlp_in")(y))
        y = nn.Dense(x.shape[-1], dtype=self.dtype, name="mlp_out")(dropout(y))
        return x + dropout(y), weights


class Encoder(nn.Module):
    """`num_layers` blocks and a last layer normalisation.

    Dropout acts on the output of attention, inside the MLP and on its output.
    """

    num_layers: int
    num_heads: int
    mlp_dim: int
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool = False, return_weights: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps [B, T, D] to [B, T, D] and intermediates.

        Returns:
          The normalised output, and a dict with "attention_weights" on request: for each layer
          [B, heads, T, T].
        """
        intermediates = {}
        for i in range(self.num_layers):
            x, weights = EncoderBlock(
                self.num_heads, self.mlp_dim, self.dropout_rate, self.dtype, name=f"block_{i}"
            )(x, train, return_weights)
            if return_weights:
                intermediates.setdefault("attention_weights", []).append(weights)
        return nn.LayerNorm(dtype=self.dtype, name="norm")(x), intermediates
