"""UniT: an encoder for each modality, and a decoder with queries (Hu and Singh 2021)."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.encoder import TRUNK
from multimodal_vit.models.fusions.unimodal import Unimodal, unimodal_options, unimodal_trunk
from multimodal_vit.models.joint_map import (
    class_names,
    joint_attention,
    joint_map,
    joint_sizes,
    stream_names,
    towers_maps,
)
from multimodal_vit.models.streams import Trunk, learned
from multimodal_vit.sampler import Task


@component("model.fusion", "unit")
class Unit(Unimodal):
    """Unimodal encoders; learned queries read all that they give. The first query is the summary.

    H = LN [P_w E_w([CLS_w; words]); P_p E_p([CLS_p; patches])]; in each layer
    q = q + Attn(LN q, LN q), q = q + Attn(LN q, LN H), and an MLP; s = LN(q)[0]. The original is
    post-norm, and adds queries and positions in every layer; here they stand at the start.

    Attributes:
      trunk: of the decoder.
      alone: the unimodal encoders.
      num_queries: N.
    """

    num_queries: int
    uses: ClassVar[tuple[str, ...]] = tuple(f for f in TRUNK if f != "model.num_registers")

    Options = type(
        "Options",
        (),
        {"num_queries": option(13, "queries of the decoder", least=1, most=4_096)}
        | unimodal_options("the decoder's"),
    )

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Unit":
        """`model.num_encoder_layers` layers of the decoder."""
        del task
        trunk = Trunk.of(model, num_registers=0)
        alone = unimodal_trunk(model, options)
        return cls(trunk, alone, options.num_queries)

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk, asked = self.trunk, return_attention
        read = self.unimodal(tokens, train, asked)
        places = [own for name in tokens for own in stream_names(name)]
        seen = trunk.norm("memory_norm")(jnp.concatenate(list(read.projected.values()), axis=1))
        queries = learned(self, "queries", B, (self.num_queries, D), trunk.dtype)
        extras = dict.fromkeys(class_names(list(tokens)), 1) | {"queries": self.num_queries - 1}
        sizes, own = joint_sizes(tokens, extras), ["summary", "queries"]
        maps = []
        if asked and self.alone.num_layers:
            maps += towers_maps(read.weights, sizes)
        for i in range(trunk.num_layers):
            y = trunk.norm(f"self_norm_{i}")(queries)
            y, among = trunk.self_attention(f"self_{i}")(y, asked)
            queries = queries + trunk.dropout(y, train)
            queries, taken = trunk.cross(f"cross_{i}")(queries, seen, train, asked)
            if asked:
                maps += [joint_map([(own, own, among)], sizes)]
                maps += [joint_map([(own, places, taken)], sizes)]
        found = read.found
        if asked:
            found |= joint_attention(maps, sizes, list(tokens))
        return trunk.norm()(queries)[:, 0], found
