"""Bottlenecks: streams that see each other through a few tokens (MBT, Nagrani et al. 2021)."""

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
from multimodal_vit.models.streams import Stream, Trunk, TrunkFusion, learned, of_streams
from multimodal_vit.sampler import Task


@component("model.fusion", "mbt")
class Mbt(TrunkFusion):
    """A stream for each modality; from a layer on they share a few bottleneck tokens.

    [x_m; ẑ_m] = Block_m([x_m; z]), then z = mean over m of ẑ_m. s = mean over m of LN(CLS_m).

    Attributes:
      trunk: of each stream.
      fusion_layer: the first layer with bottlenecks; as many as there are layers: none.
      num_bottlenecks: of all streams.
      share_weights: whether the streams have one set of blocks.
    """

    fusion_layer: int = 0
    num_bottlenecks: int = 4
    share_weights: bool = False

    class Options:
        """Where and how the streams meet."""

        fusion_layer: int = option(
            0, "the first layer with bottlenecks; model.num_encoder_layers: none", least=0, most=512
        )
        num_bottlenecks: int = option(4, "tokens through which the streams meet", least=1,
                                      most=4_096)  # fmt: skip
        share_weights: bool = option(False, "one set of blocks for all streams")

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Mbt":
        """`model.num_encoder_layers` blocks a stream."""
        del task
        sizes = options.fusion_layer, options.num_bottlenecks, options.share_weights
        return cls(Trunk.of(model), *sizes)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the blocks, and a fusion layer behind the last."""
        yield from encoder_problems(config, task)
        model = config.model
        first, layers = model.fusion_options.fusion_layer, model.num_encoder_layers
        if task is None and first > layers:
            yield (
                f"model.fusion_options.fusion_layer={first} is behind the last of "
                f"model.num_encoder_layers={layers}; take {layers} for streams that never meet"
            )

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk, asked = self.trunk, return_attention
        x = {name: Stream(trunk, name=f"{name}_stream")(t, train) for name, t in tokens.items()}
        fused = self.fusion_layer < trunk.num_layers
        if fused:
            z = learned(self, "bottlenecks", B, (self.num_bottlenecks, D), trunk.dtype)
        extras = stream_extras(list(tokens), trunk.num_registers)
        sizes = joint_sizes(tokens, extras | {"bottlenecks": self.num_bottlenecks * fused})
        maps = []
        for i in range(trunk.num_layers):
            meets, blocks, seen = i >= self.fusion_layer, [], []
            if self.share_weights:
                shared = trunk.block(f"block_{i}")
            for name, y in x.items():
                block = shared if self.share_weights else trunk.block(f"{name}_block_{i}")
                own = jnp.concatenate([y, z], axis=1) if meets else y
                own, weights = block(own, train, asked)
                x[name] = own[:, : y.shape[1]]
                seen.append(own[:, y.shape[1] :])
                places = [*stream_names(name), *(["bottlenecks"] if meets else [])]
                blocks.append((places, places, weights))
            if meets:
                z = jnp.stack(seen).mean(axis=0)
            if asked:
                maps.append(joint_map(blocks, sizes))
        norm = trunk.norm()
        x = {name: norm(y) for name, y in x.items()}
        found = of_streams(x, tokens)
        summaries = found["summaries"]
        if asked:
            names = list(tokens)
            found |= joint_attention(maps, sizes, names, readout=class_names(names))
        return jnp.stack(list(summaries.values())).mean(axis=0), found
