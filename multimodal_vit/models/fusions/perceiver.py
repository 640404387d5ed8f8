"""Perceiver IO: latents read all tokens, a query reads the latents (Jaegle et al. 2021)."""

from collections.abc import Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.encoder import TRUNK, encoder_problems
from multimodal_vit.models.joint_map import joint_attention, joint_map, joint_sizes
from multimodal_vit.models.streams import NORMAL, Trunk, TrunkFusion, learned
from multimodal_vit.sampler import Task

LATENT = nn.initializers.truncated_normal(0.02)


@component("model.fusion", "perceiver")
class Perceiver(TrunkFusion):
    """Latents read all tokens, work among themselves, and are read by one query.

    Z = Z + Attn(LN Z, LN tokens) and an MLP as wide as the tokens; blocks of self-attention;
    s = LN of the query's Attn(q, LN Z), without q added, and such an MLP. The tokens have a learned
    position and a learned vector for each modality.

    Attributes:
      trunk: `num_layers` blocks on the latents.
      num_latents: N.
      repeats: how often the blocks are gone through, with the same weights.
      cross_heads: of reading and of the query.
    """

    num_latents: int
    repeats: int = 1
    cross_heads: int = 1
    uses: ClassVar[tuple[str, ...]] = tuple(f for f in TRUNK if f != "model.num_registers")

    class Options:
        """The latents, and what is done with them."""

        num_latents: int = option(10, "latent tokens", least=1, most=4_096)
        repeats: int = option(1, "times that the blocks are gone through", least=1, most=64)
        cross_heads: int = option(1, "heads of reading and of the query", least=1, most=1_024)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Perceiver":
        """`model.num_encoder_layers` blocks on the latents."""
        del task
        return cls(Trunk.of(model), options.num_latents, options.repeats, options.cross_heads)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the blocks, and heads that do not divide the width or each other."""
        yield from encoder_problems(config, task)
        model = config.model
        heads = model.fusion_options.cross_heads
        if task is None and (model.embedding_dim % heads or model.num_heads % heads):
            yield (
                f"model.fusion_options.cross_heads={heads} does not divide both "
                f"model.embedding_dim={model.embedding_dim} and model.num_heads="
                f"{model.num_heads}; 1 always does"
            )

    def describe(self) -> dict[str, str]:
        """Layers between the two cross-attentions."""
        layers = f"1 + {self.trunk.num_layers} × {self.repeats} + 1"
        return self.trunk.describe() | {"layers": layers}

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk, asked = self.trunk, return_attention
        parts = []
        for name, x in tokens.items():
            own = self.param(f"modality_{name}", NORMAL, (1, 1, D))
            positions = self.param(f"positions_{name}", NORMAL, (1, *x.shape[1:]))
            parts.append(x + (own + positions).astype(trunk.dtype))
        array = trunk.dropout(jnp.concatenate(parts, axis=1), train)
        latents = learned(self, "latents", B, (self.num_latents, D), trunk.dtype, LATENT)
        query = learned(self, "query", B, (1, D), trunk.dtype)
        cross = {"num_heads": self.cross_heads, "mlp_dim": D}
        sizes = joint_sizes(tokens, {"latents": self.num_latents})
        maps = []

        def keep(rows: str, columns: list[str], weights: jax.Array | None) -> None:
            if weights is not None:
                heads = jnp.repeat(weights, trunk.num_heads // weights.shape[1], axis=1)
                maps.append(joint_map([([rows], columns, heads)], sizes))

        latents, weights = trunk.cross("read", **cross)(latents, array, train, asked)
        keep("latents", list(tokens), weights)
        blocks = [trunk.block(f"block_{i}") for i in range(trunk.num_layers)]
        for block in blocks * self.repeats:
            latents, weights = block(latents, train, asked)
            keep("latents", ["latents"], weights)
        decode = trunk.cross("decode", **cross, keeps_queries=False)
        summary, weights = decode(query, latents, train, asked)
        keep("summary", ["latents"], weights)
        found: dict[str, Any] = {"tokens": dict(zip(tokens, parts, strict=True))}
        if asked:
            found |= joint_attention(maps, sizes, list(tokens))
        return trunk.norm()(summary)[:, 0], found
