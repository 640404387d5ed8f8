"""What fusions with several streams are made of: a trunk's sizes, streams, towers.

A stream is the sequence of one modality with a class token and registers of its own.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import Option, option
from multimodal_vit.models.attention import SelfAttention
from multimodal_vit.models.base import Fusion
from multimodal_vit.models.dropout import Dropout
from multimodal_vit.models.encoder import (
    TRUNK,
    CrossBlock,
    Encoder,
    EncoderBlock,
    encoder_problems,
)
from multimodal_vit.sampler import Task

NORMAL = nn.initializers.normal(0.02)  # of positions, registers, latents, queries


def registers(module: nn.Module, batch_size: int, count: int, dim: int, dtype: Dtype) -> jax.Array:
    """A module's own learned tokens, [B, r, D] (Darcet et al. 2024)."""
    return learned(module, "registers", batch_size, (count, dim), dtype)


def learned(
    module: nn.Module,
    name: str,
    batch_size: int,
    shape: tuple[int, int],
    dtype: Dtype,
    init: nn.initializers.Initializer = NORMAL,
) -> jax.Array:
    """Tokens [N, D] that are parameters of a module, the same for every example: [B, N, D]."""
    own = module.param(name, init, (1, *shape)).astype(dtype)
    return jnp.broadcast_to(own, (batch_size, *shape))


@dataclasses.dataclass(frozen=True)
class Trunk:
    """What the parts of a fusion share: the sizes that `config.model` gives.

    Attributes:
      num_layers: of the part that joins, or of each tower.
      num_heads: of every attention.
      mlp_dim: F, the width of every MLP.
      num_registers: r, learned tokens of each stream.
      dropout_rate: of every block, and after positions.
      dtype: of the computation.
      attention: how it is computed; see `attention.ATTENTION`.
      remat: whether the backward pass computes blocks anew.
    """

    num_layers: int
    num_heads: int
    mlp_dim: int
    num_registers: int = 0
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32
    attention: str = "auto"
    remat: bool = False

    @classmethod
    def of(cls, model: ConfigDict, **changes: Any) -> "Trunk":
        """The trunk that `config.model` describes, with some attributes changed."""
        own = {
            "num_layers": model.num_encoder_layers,
            "num_heads": model.num_heads,
            "mlp_dim": model.mlp_dim,
            "num_registers": model.num_registers,
            "dropout_rate": model.dropout_rate,
            "dtype": jnp.dtype(model.dtype),
            "attention": model.attention,
            "remat": model.remat,
        }
        return cls(**own | changes)

    def thin(self, layers: int, mlp_dim: int) -> "Trunk":
        """The trunk with other layers and another MLP, where these are not 0."""
        return dataclasses.replace(
            self, num_layers=layers or self.num_layers, mlp_dim=mlp_dim or self.mlp_dim
        )

    def encoder(self, num_layers: int | None = None, **more: Any) -> Encoder:
        """An encoder of these sizes."""
        layers = self.num_layers if num_layers is None else num_layers
        return Encoder(layers, *self._sizes(), remat=self.remat, **more)

    def block(self, name: str) -> EncoderBlock:
        """A block of self-attention; called with tokens, `train` and `return_weights`."""
        block = nn.remat(EncoderBlock, static_argnums=(2, 3)) if self.remat else EncoderBlock
        return block(*self._sizes(), name=name)

    def self_attention(self, name: str) -> SelfAttention:
        """Self-attention without norm and MLP."""
        return SelfAttention(self.num_heads, self.dtype, self.attention, name=name)

    def cross(self, name: str, **more: Any) -> CrossBlock:
        """A block of attention to other tokens; see `CrossBlock`."""
        block = nn.remat(CrossBlock, static_argnums=(3, 4)) if self.remat else CrossBlock
        sizes = dict(
            zip(
                ("num_heads", "mlp_dim", "dropout_rate", "dtype", "attention"),
                self._sizes(),
                strict=True,
            )
        )
        return block(**sizes | more, name=name)

    def norm(self, name: str = "norm") -> nn.LayerNorm:
        """A layer normalisation."""
        return nn.LayerNorm(dtype=self.dtype, name=name)

    def dense(self, dim: int, name: str, **more: Any) -> nn.Dense:
        """A layer from all inputs to `dim` outputs."""
        return nn.Dense(dim, dtype=self.dtype, name=name, **more)

    def dropout(self, x: jax.Array, train: bool) -> jax.Array:
        """Dropout of the trunk's rate."""
        return Dropout(self.dropout_rate, deterministic=not train)(x)

    def describe(self) -> dict[str, str]:
        """Its size, for the report."""
        return {
            "layers": str(self.num_layers),
            "MLP": str(self.mlp_dim),
            "heads": str(self.num_heads),
        }

    def _sizes(self) -> tuple[int, int, float, Dtype, str]:
        return self.num_heads, self.mlp_dim, self.dropout_rate, self.dtype, self.attention


class TrunkFusion(Fusion):
    """A fusion whose parts have the sizes of one trunk.

    Attributes:
      trunk: these sizes.
    """

    trunk: Trunk
    uses: ClassVar[tuple[str, ...]] = TRUNK

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the trunk's blocks."""
        yield from encoder_problems(config, task)

    def describe(self) -> dict[str, str]:
        """The trunk's size."""
        return self.trunk.describe()


class Stream(nn.Module):
    """The sequence of a stream: [class token; tokens; registers], positions, dropout.

    Attributes:
      trunk: its sizes.
      class_last: whether the class token stands behind all others.
    """

    trunk: Trunk
    class_last: bool = False

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        """Maps [B, T, D] to [B, 1 + T + r, D]."""
        B, _, D = tokens.shape
        dtype = self.trunk.dtype
        summary = learned(self, "class_token", B, (1, D), dtype, nn.initializers.zeros)
        parts = [tokens]
        if self.trunk.num_registers:
            parts.append(registers(self, B, self.trunk.num_registers, D, dtype))
        parts = [*parts, summary] if self.class_last else [summary, *parts]
        x = jnp.concatenate(parts, axis=1)
        x = x + self.param("positions", NORMAL, (1, *x.shape[1:])).astype(dtype)
        return self.trunk.dropout(x, train)


class Tower(nn.Module):
    """A stream and an encoder over it: one modality alone.

    Attributes:
      trunk: its sizes.
      last_norm: whether the encoder's output is normalised.
    """

    trunk: Trunk
    last_norm: bool = True

    @nn.compact
    def __call__(
        self, tokens: jax.Array, train: bool = False, return_weights: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps [B, T, D] to [B, 1 + T + r, D] and the intermediates of `Encoder`."""
        x = Stream(self.trunk, name="stream")(tokens, train)
        encoder = self.trunk.encoder(last_norm=self.last_norm, name="encoder")
        return encoder(x, train=train, return_weights=return_weights)


def of_streams(streams: Mapping[str, jax.Array], tokens: Mapping[str, jax.Array]) -> dict[str, Any]:
    """The intermediates "tokens" and "summaries" of streams' outputs, [B, 1 + T + r, D] each."""
    return {
        "tokens": {name: streams[name][:, 1 : 1 + x.shape[1]] for name, x in tokens.items()},
        "summaries": {name: y[:, 0] for name, y in streams.items()},
    }


def thin_options() -> dict[str, Option]:
    """The options of streams other than the image's, which has many more tokens at full size."""
    about = "of the streams other than the image's; 0: as model."
    return {
        "text_layers": option(0, f"layers {about}num_encoder_layers", least=0, most=512),
        "text_mlp_dim": option(0, f"MLP {about}mlp_dim", least=0, most=2**18),
    }
