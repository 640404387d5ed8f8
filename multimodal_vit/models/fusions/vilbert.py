"""ViLBERT: two streams that look at each other (Lu et al. 2019)."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.encoder import encoder_problems
from multimodal_vit.models.joint_map import (
    class_names,
    joint_attention,
    joint_map,
    joint_sizes,
    stream_extras,
    stream_names,
)
from multimodal_vit.models.streams import Stream, Trunk, TrunkFusion, of_streams
from multimodal_vit.sampler import Task


@component("model.fusion", "vilbert")
class Vilbert(TrunkFusion):
    """A stream for each modality; in turn they look at each other and at themselves.

    X' = X + Attn(LN X, LN Y), Y' = Y + Attn(LN Y, LN X), both from the same X and Y, each with its
    MLP (Co-TRM); then a block of self-attention in each (TRM). Of three streams each looks at the
    two others together. s = ReLU(W x_CLS + b) ⊙ ReLU(V y_CLS + c). The original is post-norm.

    Attributes:
      trunk: `num_layers` is the number of pairs of Co-TRM and TRM.
      alone: blocks of self-attention of the streams but the image's, before the first pair.
      pool: how the class tokens are joined, "product" or "sum".
    """

    alone: int = 0
    pool: str = "product"

    class Options:
        """Where the streams meet, and how they end."""

        text_layers: int = option(
            0, "blocks of the streams but the image's, before they meet", least=0, most=512
        )
        pool: str = option("product", "of the class tokens", choices=("product", "sum"))

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Vilbert":
        """`model.num_encoder_layers` pairs of co-attention and self-attention."""
        del task
        return cls(Trunk.of(model), options.text_layers, options.pool)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the blocks; a single stream has none to look at."""
        yield from encoder_problems(config, task)
        if task is None and len(config.model.modalities) < 2:
            yield (
                "model.fusion='vilbert' joins at least two streams, not model.modalities="
                f"{tuple(config.model.modalities)}"
            )

    def describe(self) -> dict[str, str]:
        """The pairs of blocks."""
        return self.trunk.describe() | {"layers": f"{self.trunk.num_layers} × 2"}

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        trunk, asked = self.trunk, return_attention
        sizes = joint_sizes(tokens, stream_extras(list(tokens), trunk.num_registers))
        x = {name: Stream(trunk, name=f"{name}_stream")(t, train) for name, t in tokens.items()}
        maps = []

        def look_at_itself(names: list[str], i: str) -> None:
            blocks = []
            for name in names:
                x[name], weights = trunk.block(f"{name}_self_{i}")(x[name], train, asked)
                blocks.append((stream_names(name), stream_names(name), weights))
            if asked:
                maps.append(joint_map(blocks, sizes))

        for i in range(self.alone):
            look_at_itself([name for name in tokens if name != "patches"], f"alone_{i}")
        for i in range(trunk.num_layers):
            before, blocks = dict(x), []
            for name in tokens:
                others = [other for other in tokens if other != name]
                seen = jnp.concatenate([before[other] for other in others], axis=1)
                block = trunk.cross(f"{name}_cross_{i}")
                x[name], weights = block(before[name], seen, train, asked)
                columns = [own for other in others for own in stream_names(other)]
                blocks.append((stream_names(name), columns, weights))
            if asked:
                maps.append(joint_map(blocks, sizes))
            look_at_itself(list(tokens), str(i))
        x = {name: trunk.norm(f"{name}_norm")(y) for name, y in x.items()}
        found = of_streams(x, tokens)
        summaries = found["summaries"]
        if asked:
            names = list(tokens)
            found |= joint_attention(maps, sizes, names, readout=class_names(names))
        pooled = jnp.stack(
            [nn.relu(trunk.dense(y.shape[-1], f"pool_{name}")(y)) for name, y in summaries.items()]
        )
        return pooled.sum(axis=0) if self.pool == "sum" else pooled.prod(axis=0), found
