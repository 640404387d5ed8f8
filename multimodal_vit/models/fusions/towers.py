"""Late fusion: a tower for each modality, their class tokens joined. A catalogue of four.

Two of them are additive, f(image) + g(text), and cannot learn the task: docs/fusion.md.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.joint_map import (
    class_names,
    joint_attention,
    joint_sizes,
    stream_extras,
    towers_maps,
)
from multimodal_vit.models.streams import Tower, Trunk, TrunkFusion, of_streams, thin_options
from multimodal_vit.sampler import Task


class Towers(TrunkFusion):
    """A tower for each modality; `join` makes one summary of their class tokens.

    Attributes:
      trunk: of the image's tower.
      text_trunk: of the others.
    """

    text_trunk: Trunk

    Options = type("Options", (), thin_options())

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Towers":
        """`model.num_encoder_layers` are those of each tower."""
        del task
        trunk = Trunk.of(model)
        return cls(trunk, trunk.thin(options.text_layers, options.text_mlp_dim))

    def join(self, summaries: dict[str, jax.Array]) -> jax.Array:
        """The towers' class tokens, [B, D] each, to one summary."""
        raise NotImplementedError

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary, and intermediates: see `Fusion`."""
        summaries, found = self.towers(tokens, train, return_attention)
        return self.join(summaries), found

    def towers(
        self, tokens: dict[str, jax.Array], train: bool, return_attention: bool
    ) -> tuple[dict[str, jax.Array], dict[str, Any]]:
        """Each modality through its tower: the class tokens, and the intermediates of all."""
        streams, weights = {}, {}
        for name, x in tokens.items():
            trunk = self.trunk if name == "patches" else self.text_trunk
            streams[name], own = Tower(trunk, name=name)(x, train, return_attention)
            weights[name] = own.get("attention_weights", [])
        found = of_streams(streams, tokens)
        if return_attention:
            extras = stream_extras(list(tokens), self.trunk.num_registers)
            sizes = joint_sizes(tokens, extras)
            maps, names = list(towers_maps(weights, sizes)), list(tokens)
            found |= joint_attention(maps, sizes, names, readout=class_names(names))
        return found["summaries"], found


@component("model.fusion", "product")
class Product(Towers):
    """Each tower's class token projected, then multiplied (MLB, Kim et al. 2017; ViLBERT's VQA).

    s = (W_w t_w + b_w) ⊙ (W_p t_p + b_p); of three modalities the product of three.
    """

    def join(self, summaries: dict[str, jax.Array]) -> jax.Array:
        """[B, D] each to [B, D]."""
        product = jnp.ones((), self.trunk.dtype)
        for name, x in summaries.items():
            product = product * self.trunk.dense(x.shape[-1], f"project_{name}")(x)
        return product


@component("model.fusion", "concat")
class Concat(Towers):
    """The towers' class tokens one after the other, then a hidden layer with GELU."""

    def join(self, summaries: dict[str, jax.Array]) -> jax.Array:
        """[B, D] each to [B, D]."""
        x = jnp.concatenate(list(summaries.values()), axis=-1)
        dim = next(iter(summaries.values())).shape[-1]
        return nn.gelu(self.trunk.dense(dim, "hidden")(x))


@component("model.fusion", "add")
class Add(Towers):
    """The towers' class tokens added: a control, which cannot be better than chance."""

    def join(self, summaries: dict[str, jax.Array]) -> jax.Array:
        """[B, D] each to [B, D]."""
        first, *others = summaries.values()
        return sum(others, first)


@component("model.fusion", "concat_linear")
class ConcatLinear(Towers):
    """The towers' class tokens one after the other, and no hidden layer: a control, as `add`."""

    def join(self, summaries: dict[str, jax.Array]) -> jax.Array:
        """[B, D] each to [B, ΣD]."""
        return jnp.concatenate(list(summaries.values()), axis=-1)
