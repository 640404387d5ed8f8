"""Fusions without attention: a catalogue of three, one that cannot read order among them."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.base import Fusion
from multimodal_vit.sampler import Task


class Pooled(Fusion):
    """What the three have in common: no shared field but the width."""

    dim: int
    dtype: Dtype = jnp.float32
    uses: ClassVar[tuple[str, ...]] = ()
    no_attention: ClassVar[str] = "the fusion has no attention"

    def dense(self, width: int, name: str) -> nn.Dense:
        """A layer with a bias."""
        return nn.Dense(width, dtype=self.dtype, name=name)


@component("model.fusion", "bag")
class Bag(Pooled):
    """Words and patches averaged, projected and multiplied: a control, blind to the text's order.

    s = (W mean(words) + b) ⊙ (V mean(patches) + c).
    """

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Bag":
        """Of the model's width."""
        del task, options
        return cls(model.embedding_dim, jnp.dtype(model.dtype))

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates."""
        del train, return_attention
        summaries = {
            name: self.dense(self.dim, f"project_{name}")(x.mean(axis=1))
            for name, x in tokens.items()
        }
        product = jnp.prod(jnp.stack(list(summaries.values())), axis=0)
        return product, {"tokens": tokens, "summaries": summaries}


@component("model.fusion", "lowrank")
class LowRank(Pooled):
    """All tokens of each modality projected and multiplied: low-rank bilinear (Kim et al. 2017).

    s = (W [w_1 … w_n] + b) ⊙ (V [y_1 … y_P] + c); it can solve the task exactly.
    """

    tanh: bool = False

    class Options:
        """How large, and what acts on the factors."""

        rank: int = option(0, "R, the width of the product; 0: model.embedding_dim", least=0,
                           most=2**16)  # fmt: skip
        tanh: bool = option(False, "a tanh on both factors")

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "LowRank":
        """Of the rank that is asked for."""
        del task
        width = options.rank or model.embedding_dim
        return cls(width, jnp.dtype(model.dtype), options.tanh)

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, R], and intermediates."""
        del train, return_attention
        summaries = {}
        for name, x in tokens.items():
            factor = self.dense(self.dim, f"project_{name}")(x.reshape(x.shape[0], -1))
            summaries[name] = jnp.tanh(factor) if self.tanh else factor
        product = jnp.prod(jnp.stack(list(summaries.values())), axis=0)
        return product, {"tokens": tokens, "summaries": summaries}


@component("model.fusion", "mlp")
class Mlp(Pooled):
    """All tokens one after the other through an MLP: early fusion without attention or products."""

    hidden: int = 512

    class Options:
        """How wide."""

        hidden: int = option(512, "units of its hidden layer", least=1, most=2**18)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Mlp":
        """To the model's width."""
        del task
        return cls(model.embedding_dim, jnp.dtype(model.dtype), options.hidden)

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates."""
        del train, return_attention
        flat = jnp.concatenate([x.reshape(x.shape[0], -1) for x in tokens.values()], axis=-1)
        hidden = nn.gelu(self.dense(self.hidden, "mlp_in")(flat))
        return self.dense(self.dim, "mlp_out")(hidden), {"tokens": tokens}
