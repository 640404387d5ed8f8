"""Flamingo: the text looks at resampled images through gates (Alayrac et al. 2022)."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.encoder import encoder_problems
from multimodal_vit.models.joint_map import joint_attention, joint_map, joint_sizes
from multimodal_vit.models.streams import NORMAL, Stream, Trunk, TrunkFusion, learned
from multimodal_vit.sampler import Task


@component("model.fusion", "flamingo")
class Flamingo(TrunkFusion):
    """Latents read the image; the text reads the latents through gates that are shut at first.

    Resampler: Z = Z + Attn(LN Z, [LN y; LN Z]) and an MLP, then LN. Text, [words; registers;
    answer]: x = x + tanh(α)·Attn(LN x, LN Z), x = x + tanh(β)·MLP(LN x), then a causal block;
    s = LN(x) at the answer. α and β are 0 at first. Modalities besides the text are resampled
    together.

    Attributes:
      trunk: `num_layers` pairs of a gated block and a block of self-attention.
      num_latents: N.
      resampler_layers: of the resampler.
      every: a gated block before every so-manieth block.
      causal: whether the text sees what stands before alone.
    """

    num_latents: int = 4
    resampler_layers: int = 1
    every: int = 1
    causal: bool = True

    class Options:
        """The resampler, the gated blocks and the text's mask."""

        num_latents: int = option(4, "latents of the resampler", least=1, most=4_096)
        resampler_layers: int = option(1, "layers of the resampler", least=1, most=512)
        every: int = option(1, "a gated block before every so-manieth block", least=1, most=512)
        causal: bool = option(True, "the text sees what stands before alone")

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Flamingo":
        """`model.num_encoder_layers` blocks on the text."""
        del task
        return cls(Trunk.of(model), **options.to_dict())

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the blocks, and a text without anything to look at."""
        yield from encoder_problems(config, task)
        if task is None and len(config.model.modalities) < 2:
            yield (
                "model.fusion='flamingo' reads a text beside something else, not model.modalities="
                f"{tuple(config.model.modalities)}"
            )

    def describe(self) -> dict[str, str]:
        """Layers of resampler and text."""
        layers = f"{self.resampler_layers} + {self.trunk.num_layers} × 2"
        return self.trunk.describe() | {"layers": layers}

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`.

        "gates", by layer, are tanh α and tanh β: how far the image is let in.
        """
        trunk, asked = self.trunk, return_attention
        text = "words" if "words" in tokens else next(iter(tokens))
        others = [name for name in tokens if name != text]
        sizes = joint_sizes(tokens, {"registers": trunk.num_registers, "latents": self.num_latents})
        latents, seen, maps = self._resample(tokens, others, sizes, train, asked)
        x = Stream(trunk, class_last=True, name="stream")(tokens[text], train)
        places = [text, "registers", "summary"]
        mask = np.tril(np.ones((x.shape[1], x.shape[1]), bool)) if self.causal else None
        gates = {}
        for i in range(trunk.num_layers):
            if i % self.every == 0:
                block = trunk.cross(f"gated_{i}", gated=True)
                x, weights = block(x, latents, train, asked)
                own = block.variables["params"]
                gates[str(i)] = jnp.stack(
                    [jnp.tanh(own[name]) for name in ("attention_gate", "mlp_gate")]
                )
                if asked:
                    maps.append(joint_map([(places, ["latents"], weights)], sizes))
            x, weights = trunk.block(f"block_{i}")(x, train, asked, mask)
            if asked:
                maps.append(joint_map([(places, places, weights)], sizes))
        x = trunk.norm()(x)
        found: dict[str, Any] = {
            "tokens": {text: x[:, : tokens[text].shape[1]]} | seen, "gates": gates
        }  # fmt: skip
        if asked:
            found |= joint_attention(maps, sizes, list(tokens))
        return x[:, -1], found

    def _resample(
        self,
        tokens: dict[str, jax.Array],
        others: list[str],
        sizes: dict[str, int],
        train: bool,
        asked: bool,
    ) -> tuple[jax.Array, dict[str, jax.Array], list[jax.Array]]:
        """The latents [B, N, D], what they read, and the joint maps of reading."""
        trunk, seen, maps = self.trunk, {}, []
        for name in others:
            positions = self.param(f"positions_{name}", NORMAL, (1, *tokens[name].shape[1:]))
            seen[name] = trunk.dropout(tokens[name] + positions.astype(trunk.dtype), train)
        array = jnp.concatenate(list(seen.values()), axis=1)
        shape = self.num_latents, array.shape[-1]
        latents = learned(self, "latents", array.shape[0], shape, trunk.dtype)
        for i in range(self.resampler_layers):
            block = trunk.cross(f"resampler_{i}", sees_itself=True)
            latents, weights = block(latents, array, train, asked)
            if asked:
                maps.append(joint_map([(["latents"], [*others, "latents"], weights)], sizes))
        return trunk.norm("resampler_norm")(latents), seen, maps
