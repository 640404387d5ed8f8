"""UniT: an encoder for each modality, and a decoder with queries (Hu and Singh 2021)."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.encoder import TRUNK
from multimodal_vit.models.joint_map import (
    joint_attention,
    joint_map,
    joint_sizes,
    stream_names,
    towers_maps,
)
from multimodal_vit.models.streams import Tower, Trunk, TrunkFusion, learned
from multimodal_vit.sampler import Task


@component("model.fusion", "unit")
class Unit(TrunkFusion):
    """Unimodal encoders; learned queries read all that they give. The first query is the summary.

    H = LN [P_w E_w([CLS_w; words]); P_p E_p([CLS_p; patches])]; in each layer
    q = q + Attn(LN q, LN q), q = q + Attn(LN q, LN H), and an MLP; s = LN(q)[0]. The original is
    post-norm, and adds queries and positions in every layer; here they stand at the start.

    Attributes:
      trunk: of the decoder.
      alone: the unimodal encoders.
      num_queries: N.
    """

    alone: Trunk
    num_queries: int
    uses: ClassVar[tuple[str, ...]] = tuple(f for f in TRUNK if f != "model.num_registers")

    class Options:
        """The queries and the unimodal encoders."""

        num_queries: int = option(13, "queries of the decoder", least=1, most=4_096)
        unimodal_layers: int = option(
            1, "layers of each modality's encoder; model.num_encoder_layers are the decoder's",
            least=0, most=512,
        )  # fmt: skip
        unimodal_mlp_dim: int = option(0, "their MLP; 0: as model.mlp_dim", least=0, most=2**18)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Unit":
        """`model.num_encoder_layers` layers of the decoder."""
        del task
        trunk = Trunk.of(model, num_registers=0)
        alone = Trunk.of(
            model,
            num_layers=options.unimodal_layers,
            num_registers=0,
            mlp_dim=options.unimodal_mlp_dim or model.mlp_dim,
        )
        return cls(trunk, alone, options.num_queries)

    def describe(self) -> dict[str, str]:
        """Unimodal and decoder layers."""
        layers = f"{self.alone.num_layers} + {self.trunk.num_layers}"
        return self.trunk.describe() | {"layers": layers}

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk, asked = self.trunk, return_attention
        memory, outputs, summaries, weights, places = [], {}, {}, {}, []
        for name, x in tokens.items():
            y, own = Tower(self.alone, last_norm=False, name=name)(x, train, asked)
            summaries[name], outputs[name] = y[:, 0], y[:, 1:]
            weights[name] = own.get("attention_weights", [])
            memory.append(trunk.dense(D, f"project_{name}")(y))
            places += stream_names(name)
        seen = trunk.norm("memory_norm")(jnp.concatenate(memory, axis=1))
        queries = learned(self, "queries", B, (self.num_queries, D), trunk.dtype)
        extras = {f"class_{name}": 1 for name in tokens} | {"queries": self.num_queries - 1}
        sizes, own = joint_sizes(tokens, extras), ["summary", "queries"]
        maps = []
        if asked and self.alone.num_layers:
            maps += towers_maps(weights, sizes)
        for i in range(trunk.num_layers):
            y = trunk.norm(f"self_norm_{i}")(queries)
            y, among = trunk.self_attention(f"self_{i}")(y, asked)
            queries = queries + trunk.dropout(y, train)
            queries, taken = trunk.cross(f"cross_{i}")(queries, seen, train, asked)
            if asked:
                maps += [joint_map([(own, own, among)], sizes)]
                maps += [joint_map([(own, places, taken)], sizes)]
        found: dict[str, Any] = {"tokens": outputs, "summaries": summaries}
        if asked:
            found |= joint_attention(maps, sizes, list(tokens))
        return trunk.norm()(queries)[:, 0], found
