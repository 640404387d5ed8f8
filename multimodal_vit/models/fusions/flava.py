"""Mid-fusion: unimodal encoders, then one over what they give; and the simple baseline.

FLAVA (Singh et al. 2022) hands all tokens on; `late_transformer` (the baseline of "Fusion or
Confusion?", 2025) one summary token of each modality.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.fusions.unimodal import Unimodal, unimodal_options, unimodal_trunk
from multimodal_vit.models.joint_map import (
    class_names,
    joint_attention,
    joint_map,
    joint_sizes,
    stream_names,
    towers_maps,
)
from multimodal_vit.models.streams import Trunk, learned, registers
from multimodal_vit.sampler import Task


@component("model.fusion", "flava")
class Flava(Unimodal):
    """An encoder for each modality, projections, then an encoder over all their tokens.

    s = LN(E([CLS; P_w E_w([CLS_w; words]); P_p E_p([CLS_p; patches]); registers])) at CLS; the
    unimodal encoders E_m without a last normalisation.

    Attributes:
      trunk: of the joint encoder.
      alone: the unimodal encoders.
    """

    whole: ClassVar[bool] = True

    Options = type("Options", (), unimodal_options("the joint one's"))

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Flava":
        """`model.num_encoder_layers` joint layers."""
        del task
        return cls(Trunk.of(model), unimodal_trunk(model, options))

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk, r = self.trunk, self.trunk.num_registers
        summary = learned(self, "class_token", B, (1, D), trunk.dtype, nn.initializers.zeros)
        read = self.unimodal(tokens, train, return_attention, self.whole)
        alone, found = read.projected, read.found
        parts = [summary, *alone.values()]
        if r:
            parts.append(registers(self, B, r, D, trunk.dtype))
        x = trunk.dropout(jnp.concatenate(parts, axis=1), train)
        x, joint = trunk.encoder(name="joint")(x, train=train, return_weights=return_attention)
        start = 1
        for name, y in alone.items():
            if self.whole:
                found["tokens"][name] = x[:, start + 1 : start + y.shape[1]]
            start += y.shape[1]
        if return_attention:
            extras = dict.fromkeys(class_names(list(tokens)), 1) | {"registers": r}
            sizes = joint_sizes(tokens, extras)
            places = ["summary"]
            for name in tokens:
                places += stream_names(name) if self.whole else [f"class_{name}"]
            places.append("registers")
            maps = [
                *(towers_maps(read.weights, sizes) if self.alone.num_layers else ()),
                *(joint_map([(places, places, w)], sizes) for w in joint["attention_weights"]),
            ]
            found |= joint_attention(maps, sizes, list(tokens))
        return x[:, 0], found


@component("model.fusion", "late_transformer")
class LateTransformer(Flava):
    """One summary token of each modality's encoder, joined by an encoder with a class token."""

    whole: ClassVar[bool] = False
