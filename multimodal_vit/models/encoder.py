"""The Transformer encoder: pre-norm (Dosovitskiy et al. 2020), post-norm (Vaswani et al. 2017)."""

from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.models.attention import (
    BIAS,
    KERNEL,
    MultiHeadAttention,
    SelfAttention,
    fits_cudnn,
    has_cudnn,
)
from multimodal_vit.models.dropout import Dropout
from multimodal_vit.parameters import declare
from multimodal_vit.sampler import Task

# The shared fields that a fusion with encoders acts by.
TRUNK = (
    "model.num_encoder_layers",
    "model.num_heads",
    "model.mlp_dim",
    "model.num_registers",
    "model.dropout_rate",
    "model.attention",
    "model.remat",
)

NORMS = ("pre", "post")  # where a block normalises: what attention and MLP read, or the sums
ACTIVATIONS = {"gelu": nn.gelu, "relu": nn.relu}


class EncoderBlock(nn.Module):
    """Attention and MLP, each added to its input; that, or the sum, is normalised.

    Attributes:
      norm: "pre", x + f(LN(x)), or "post", LN(x + f(x)).
      activation: of the MLP, one of `ACTIVATIONS`.
    """

    num_heads: int
    mlp_dim: int
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32
    attention: str = "auto"
    num_slots: int = 0
    norm: str = "pre"
    activation: str = "gelu"

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        return_weights: bool = False,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Maps [B, T, D] to [B, T, D] and, on request, attention weights; see `SelfAttention`."""
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        attention_norm = nn.LayerNorm(dtype=self.dtype, name="attention_norm")
        attention = SelfAttention(
            self.num_heads, self.dtype, self.attention, self.num_slots, name="attention"
        )
        mlp_norm = nn.LayerNorm(dtype=self.dtype, name="mlp_norm")
        act = ACTIVATIONS[self.activation]
        if self.norm == "post":
            y, weights = attention(x, return_weights, mask)
            x = attention_norm(x + dropout(y))
            return mlp_norm(x + dropout(mlp(x, self.mlp_dim, dropout, self.dtype, act))), weights
        y, weights = attention(attention_norm(x), return_weights, mask)
        x = x + dropout(y)
        return x + dropout(mlp(mlp_norm(x), self.mlp_dim, dropout, self.dtype, act)), weights


def mlp(
    x: jax.Array,
    width: int,
    dropout: nn.Module,
    dtype: Dtype,
    activation: Callable[[jax.Array], jax.Array] = nn.gelu,
) -> jax.Array:
    """The MLP of a block, [..., D] to the same; its layers belong to the module that calls."""
    hidden = nn.Dense(
        width, dtype=dtype, name="mlp_in",
        kernel_init=declare(KERNEL, cut=-1), bias_init=declare(BIAS, cut=-1),
    )(x)  # fmt: skip
    out = nn.Dense(x.shape[-1], dtype=dtype, name="mlp_out", kernel_init=declare(KERNEL, cut=-2))
    return out(dropout(activation(hidden)))


class CrossBlock(nn.Module):
    """A block whose attention is to other tokens: attention and MLP, each normalised before.

    Attributes:
      gated: whether what attention and MLP add is multiplied by the tanh of a trained scalar each,
        0 at first (Alayrac et al. 2022).
      keeps_queries: whether the queries are added to what attention gives.
      sees_itself: whether the tokens also look at themselves, behind the others.
    """

    num_heads: int
    mlp_dim: int
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32
    attention: str = "auto"
    gated: bool = False
    keeps_queries: bool = True
    sees_itself: bool = False

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        others: jax.Array,
        train: bool = False,
        return_weights: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Maps [B, T, D] and [B, S, D] to [B, T, D] and, on request, attention weights.

        Args:
          x: the tokens that look.
          others: the tokens that are looked at.
          train: whether dropout acts.
          return_weights: whether the weights [B, heads, T, S] are wanted; S counts the tokens
            themselves where they see themselves.
        """
        dropout = Dropout(self.dropout_rate, deterministic=not train)
        query = nn.LayerNorm(dtype=self.dtype, name="attention_norm")(x)
        seen = nn.LayerNorm(dtype=self.dtype, name="others_norm")(others)
        if self.sees_itself:
            seen = jnp.concatenate([seen, query], axis=1)
        attention = MultiHeadAttention(self.num_heads, self.dtype, self.attention, name="attention")
        y, weights = attention(query, seen, return_weights)
        y = self._gate("attention_gate") * dropout(y)
        x = x + y if self.keeps_queries else y
        y = nn.LayerNorm(dtype=self.dtype, name="mlp_norm")(x)
        y = dropout(mlp(y, self.mlp_dim, dropout, self.dtype))
        return x + self._gate("mlp_gate") * y, weights

    def _gate(self, name: str) -> jax.Array | int:
        if not self.gated:
            return 1
        return jnp.tanh(self.param(name, nn.initializers.zeros, ())).astype(self.dtype)


class Encoder(nn.Module):
    """`num_layers` blocks and, but for post-norm, a last layer normalisation.

    Dropout acts on the output of attention, inside the MLP and on its output.

    Attributes:
      attention: how it is computed, one of `ATTENTION`.
      remat: whether the backward pass computes each block anew, so that only the blocks' inputs are
        kept in memory.
      num_slots: learned keys and values besides, in every layer; see `SelfAttention`.
      last_norm: whether the output is normalised; post-norm blocks have done that.
      norm: of the blocks, as is the activation; see `EncoderBlock`.
    """

    num_layers: int
    num_heads: int
    mlp_dim: int
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32
    attention: str = "auto"
    remat: bool = False
    num_slots: int = 0
    last_norm: bool = True
    norm: str = "pre"
    activation: str = "gelu"

    def describe(self) -> dict[str, str]:
        """Its size, and what is unusual of its blocks, for the report."""
        blocks = [f"{self.norm}-norm"] if self.norm != "pre" else []
        blocks += [self.activation] if self.activation != "gelu" else []
        return {
            "layers": str(self.num_layers),
            "MLP": str(self.mlp_dim),
            "heads": str(self.num_heads),
        } | ({"blocks": ", ".join(blocks)} if blocks else {})

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        return_weights: bool = False,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps [B, T, D] to [B, T, D] and intermediates.

        Args:
          x: the tokens.
          train: whether dropout acts.
          return_weights: whether the attention weights are wanted.
          mask: bool [T, T], the tokens that each token sees; None: all.

        Returns:
          The normalised output, and a dict: "blocks", each block's output [B, T, D]; on request
          "attention_weights", for each layer [B, heads, T, T].
        """
        intermediates: dict[str, Any] = {"blocks": []}
        block = nn.remat(EncoderBlock, static_argnums=(2, 3)) if self.remat else EncoderBlock
        sizes = self.num_heads, self.mlp_dim, self.dropout_rate, self.dtype, self.attention
        sizes += self.num_slots, self.norm, self.activation
        for i in range(self.num_layers):
            x, weights = block(*sizes, name=f"block_{i}")(x, train, return_weights, mask)
            intermediates["blocks"].append(x)
            if return_weights:
                intermediates.setdefault("attention_weights", []).append(weights)
        if self.last_norm and self.norm == "pre":
            x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
        return x, intermediates


def encoder_problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
    """What is wrong with the shared fields of an encoder, `TRUNK`; see `Part.problems`."""
    model = config.model
    dim, heads = model.embedding_dim, model.num_heads
    if task is not None:
        if model.attention == "cudnn" and not has_cudnn():
            yield (
                "model.attention='cudnn' needs an NVIDIA GPU and jax[cuda]; take 'auto', which "
                "uses it where it serves"
            )
        return
    if dim % heads:
        fitting = [str(h) for h in range(1, min(dim, 32) + 1) if dim % h == 0]
        yield (
            f"model.num_heads={heads} does not divide model.embedding_dim={dim}; "
            f"these do: {', '.join(fitting)}"
        )
    if model.attention == "cudnn" and not fits_cudnn(model.dtype, dim // heads):
        yield (
            "model.attention='cudnn' needs model.dtype='bfloat16' and heads of a multiple of 8 "
            f"dimensions, at most 128; here they are {model.dtype!r} and {dim // heads}"
        )
