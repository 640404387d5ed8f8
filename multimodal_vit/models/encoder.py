"""The pre-norm Transformer encoder (Vaswani et al. 2017, Dosovitskiy et al. 2020)."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jax.extend.backend import get_backend
from ml_collections import ConfigDict

from multimodal_vit.models.dropout import Dropout
from multimodal_vit.parameters import declare
from multimodal_vit.sampler import Task

# What flax initialises its layers with; they stand here to say how the tensor layout cuts them.
KERNEL, BIAS = nn.initializers.lecun_normal(), nn.initializers.zeros
# The shared fields that a fusion with encoders acts by.
TRUNK = (
    "model.num_encoder_layers",
    "model.num_heads",
    "model.mlp_dim",
    "model.dropout_rate",
    "model.attention",
    "model.remat",
)

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


def _best_attention(dtype: Dtype, head_dim: int) -> str:
    if jax.default_backend() == "cpu":
        return "products"
    return "cudnn" if fits_cudnn(dtype, head_dim) and has_cudnn() else "xla"


class SelfAttention(nn.Module):
    """Multi-head self-attention.

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
        self, x: jax.Array, return_weights: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array | None]:
        """Maps [B, T, D] to [B, T, D] and, on request, attention weights [B, heads, T, T].

        Row t of a head's weights says how much token t takes from each token; it sums to 1.

        Args:
          x: the tokens.
          return_weights: whether the weights are wanted.
          mask: bool [T, T], the tokens that each token sees, itself among them; None: all.

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
        implementation = self.implementation
        if implementation == "auto":
            implementation = _best_attention(self.dtype, head_dim)
        weights = None
        if implementation != "products" and not return_weights:
            query, key, value = jnp.moveaxis(qkv, 2, 0)  # each (B, T, heads, d)
            y = jax.nn.dot_product_attention(
                query, key, value, mask=mask, implementation=implementation
            )
        else:
            query, key, value = qkv.transpose(2, 0, 3, 1, 4)  # each (B, heads, T, d)
            scores = query @ key.swapaxes(-1, -2) / jnp.sqrt(head_dim).astype(self.dtype)
            scores = scores.astype(jnp.float32)
            if mask is not None:
                scores = jnp.where(mask, scores, -1e30)  # not -inf, whose gradient is NaN
            weights = jax.nn.softmax(scores).astype(self.dtype)
            y = (weights @ value).transpose(0, 2, 1, 3)  # (B, T, heads, d)
        out = nn.Dense(D, dtype=self.dtype, name="out", kernel_init=declare(KERNEL, cut=-2))
        y = out(y.reshape(B, T, D))
        return y, weights if return_weights else None


class EncoderBlock(nn.Module):
    """Attention and MLP, each normalised before and added to its input."""

    num_heads: int
    mlp_dim: int
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32
    attention: str = "auto"

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
        y = nn.LayerNorm(dtype=self.dtype, name="attention_norm")(x)
        attention = SelfAttention(self.num_heads, self.dtype, self.attention, name="attention")
        y, weights = attention(y, return_weights, mask)
        x = x + dropout(y)
        y = nn.LayerNorm(dtype=self.dtype, name="mlp_norm")(x)
        y = nn.gelu(
            nn.Dense(
                self.mlp_dim, dtype=self.dtype, name="mlp_in",
                kernel_init=declare(KERNEL, cut=-1), bias_init=declare(BIAS, cut=-1),
            )(y)
        )  # fmt: skip
        y = nn.Dense(
            x.shape[-1], dtype=self.dtype, name="mlp_out", kernel_init=declare(KERNEL, cut=-2)
        )(dropout(y))
        return x + dropout(y), weights


class Encoder(nn.Module):
    """`num_layers` blocks and a last layer normalisation.

    Dropout acts on the output of attention, inside the MLP and on its output.

    Attributes:
      attention: how it is computed, one of `ATTENTION`.
      remat: whether the backward pass computes each block anew, so that only the blocks' inputs are
        kept in memory.
    """

    num_layers: int
    num_heads: int
    mlp_dim: int
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32
    attention: str = "auto"
    remat: bool = False

    @classmethod
    def build(cls, model: ConfigDict, **changes: Any) -> "Encoder":
        """The encoder that `config.model` describes, with some attributes changed."""
        own = {
            "num_layers": model.num_encoder_layers,
            "num_heads": model.num_heads,
            "mlp_dim": model.mlp_dim,
            "dropout_rate": model.dropout_rate,
            "dtype": jnp.dtype(model.dtype),
            "attention": model.attention,
            "remat": model.remat,
        }
        return cls(**own | changes)

    def describe(self) -> dict[str, str]:
        """Its size, for the report."""
        return {
            "layers": str(self.num_layers),
            "MLP": str(self.mlp_dim),
            "heads": str(self.num_heads),
        }

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
        for i in range(self.num_layers):
            x, weights = block(*sizes, name=f"block_{i}")(x, train, return_weights, mask)
            intermediates["blocks"].append(x)
            if return_weights:
                intermediates.setdefault("attention_weights", []).append(weights)
        return nn.LayerNorm(dtype=self.dtype, name="norm")(x), intermediates


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
