"""Mid-fusion: unimodal encoders, then one over what they give; and the simple baseline.

FLAVA (Singh et al. 2022) hands all tokens on; `late_transformer` (the baseline of "Fusion or
Confusion?", 2025) one summary token of each modality.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.joint_map import (
    joint_attention,
    joint_map,
    joint_sizes,
    stream_names,
    towers_maps,
)
from multimodal_vit.models.streams import NORMAL, Tower, Trunk, TrunkFusion, learned
from multimodal_vit.sampler import Task


@component("model.fusion", "flava")
class Flava(TrunkFusion):
    """An encoder for each modality, projections, then an encoder over all their tokens.

    s = LN(E([CLS; P_w E_w([CLS_w; words]); P_p E_p([CLS_p; patches]); registers])) at CLS; the
    unimodal encoders E_m without a last normalisation.

    Attributes:
      trunk: of the joint encoder.
      alone: the unimodal encoders.
    """

    alone: Trunk
    whole: ClassVar[bool] = True

    class Options:
        """The unimodal encoders."""

        unimodal_layers: int = option(
            1, "layers of each modality's encoder; model.num_encoder_layers are the joint one's",
            least=0, most=512,
        )  # fmt: skip
        unimodal_mlp_dim: int = option(0, "their MLP; 0: as model.mlp_dim", least=0, most=2**18)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Flava":
        """`model.num_encoder_layers` joint layers."""
        del task
        trunk = Trunk.of(model)
        alone = Trunk.of(
            model,
            num_layers=options.unimodal_layers,
            num_registers=0,
            mlp_dim=options.unimodal_mlp_dim or model.mlp_dim,
        )
        return cls(trunk, alone)

    def describe(self) -> dict[str, str]:
        """Unimodal and joint layers."""
        layers = f"{self.alone.num_layers} + {self.trunk.num_layers}"
        return self.trunk.describe() | {"layers": layers}

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk, r = self.trunk, self.trunk.num_registers
        summary = learned(self, "class_token", B, (1, D), trunk.dtype, nn.initializers.zeros)
        summaries, outputs, alone, weights = {}, {}, {}, {}
        for name, x in tokens.items():
            tower = Tower(self.alone, last_norm=not self.whole, name=name)
            y, own = tower(x, train, return_attention)
            summaries[name], outputs[name] = y[:, 0], y[:, 1:]
            weights[name] = own.get("attention_weights", [])
            alone[name] = trunk.dense(D, f"project_{name}")(y if self.whole else y[:, :1])
        parts = [summary, *alone.values()]
        if r:
            parts.append(learned(self, "registers", B, (r, D), trunk.dtype, NORMAL))
        x = trunk.dropout(jnp.concatenate(parts, axis=1), train)
        x, joint = trunk.encoder(name="joint")(x, train=train, return_weights=return_attention)
        start = 1
        for name, y in alone.items():
            if self.whole:
                outputs[name] = x[:, start + 1 : start + y.shape[1]]
            start += y.shape[1]
        found: dict[str, Any] = {"tokens": outputs, "summaries": summaries}
        if return_attention:
            extras = {f"class_{name}": 1 for name in tokens} | {"registers": r}
            sizes = joint_sizes(tokens, extras)
            places = ["summary"]
            for name in tokens:
                places += stream_names(name) if self.whole else [f"class_{name}"]
            places.append("registers")
            maps = [
                *(towers_maps(weights, sizes) if self.alone.num_layers else ()),
                *(joint_map([(places, places, w)], sizes) for w in joint["attention_weights"]),
            ]
            found |= joint_attention(maps, sizes, list(tokens))
        return x[:, 0], found


@component("model.fusion", "late_transformer")
class LateTransformer(Flava):
    """One summary token of each modality's encoder, joined by an encoder with a class token."""

    whole: ClassVar[bool] = False
