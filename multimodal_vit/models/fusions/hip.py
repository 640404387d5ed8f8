"""Hierarchical Perceiver: latents for each part of the image (Carreira et al. 2022)."""

from collections.abc import Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.base import image_token_grid
from multimodal_vit.models.encoder import TRUNK, CrossBlock, EncoderBlock, encoder_problems
from multimodal_vit.models.fusions.perceiver import LATENT
from multimodal_vit.models.joint_map import joint_attention, joint_map, joint_sizes
from multimodal_vit.models.streams import NORMAL, Trunk, TrunkFusion, learned
from multimodal_vit.sampler import Task, cells


@component("model.fusion", "hip")
class Hip(TrunkFusion):
    """Latents read one part each, a quadrant or a modality; other latents read all of these.

    Two levels of: Z_g = Z_g + Attn(LN Z_g, LN tokens_g) and an MLP as wide as the tokens, blocks of
    self-attention within the group; weights are shared by the groups of a level, latents are not. A
    query reads the last latents, as in `perceiver`.

    Attributes:
      trunk: `num_layers` blocks in each level.
      group_latents: of each group of the first level.
      num_latents: of the second.
      groups: the image tokens of each quadrant, by their places.
    """

    group_latents: int
    num_latents: int
    groups: tuple[tuple[int, ...], ...]
    uses: ClassVar[tuple[str, ...]] = tuple(f for f in TRUNK if f != "model.num_registers")

    class Options:
        """The latents of the two levels."""

        group_latents: int = option(4, "latents of each quadrant, and of the text", least=1,
                                    most=4_096)  # fmt: skip
        num_latents: int = option(8, "latents that read all of these", least=1, most=4_096)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Hip":
        """`model.num_encoder_layers` blocks in each level."""
        groups: tuple[tuple[int, ...], ...] = ()
        if "patches" in model.modalities:
            rows, columns = image_token_grid(model, task)
            places = np.arange(rows * columns).reshape(1, rows, columns, 1)
            by_quadrant = cells(places, task.grid).reshape(task.num_positions, -1)
            groups = tuple(map(tuple, by_quadrant.tolist()))
        return cls(Trunk.of(model), options.group_latents, options.num_latents, groups)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the blocks, and image tokens that lie across quadrants."""
        yield from encoder_problems(config, task)
        if task is None or "patches" not in config.model.modalities:
            return
        grid = image_token_grid(config.model, task)
        if grid[0] % task.grid[0] or grid[1] % task.grid[1]:
            yield (
                f"model.fusion='hip' groups image tokens by the cells of task.grid={task.grid}; "
                f"{grid[0]}×{grid[1]} tokens do not come out even: take another model.patch_size"
            )

    def describe(self) -> dict[str, str]:
        """Blocks of the two levels."""
        return self.trunk.describe() | {"layers": f"2 × (1 + {self.trunk.num_layers}) + 1"}

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk, asked, K = self.trunk, return_attention, self.group_latents
        first, second = (self._level(level, D) for level in ("groups", "all"))
        count = {n: len(self.groups) if n == "patches" else 1 for n in tokens}
        sizes = joint_sizes(
            tokens,
            {f"latents_{n}": G * K for n, G in count.items()} | {"latents": self.num_latents},
        )
        seen, merged, layers = {}, {}, []
        for name, x in tokens.items():
            positions = self.param(f"positions_{name}", NORMAL, (1, *x.shape[1:]))
            seen[name] = x = trunk.dropout(x + positions.astype(trunk.dtype), train)
            G, own = count[name], f"latents_{name}"
            places = np.array(self.groups) if name == "patches" else np.arange(x.shape[1])[None]
            latents = learned(self, own, B, (G * K, D), trunk.dtype, LATENT)
            groups = x[:, places].reshape(B * G, -1, D)
            z, weights = _read(first, latents.reshape(B * G, K, D), groups, train, asked)
            merged[name] = z.reshape(B, G * K, D)
            if asked:
                where = jnp.asarray(np.eye(x.shape[1])[places], trunk.dtype)  # (G, T / G, T)
                within = jnp.eye(G, dtype=trunk.dtype)
                reading = _by_group(weights[0], G, "bghkm,gmt->bhgkt", where)
                among = [_by_group(w, G, "bghkj,gf->bhgkfj", within) for w in weights[1:]]
                layers.append([([own], [name], reading), *(([own], [own], w) for w in among)])
        array = jnp.concatenate(list(merged.values()), axis=1)
        latents = learned(self, "latents", B, (self.num_latents, D), trunk.dtype, LATENT)
        latents, weights = _read(second, latents, array, train, asked)
        query = learned(self, "query", B, (1, D), trunk.dtype)
        decode = trunk.cross("decode", mlp_dim=D, keeps_queries=False)
        summary, last = decode(query, latents, train, asked)
        found: dict[str, Any] = {
            "tokens": seen, "summaries": {name: z.mean(axis=1) for name, z in merged.items()}
        }  # fmt: skip
        if asked:
            maps = [joint_map(blocks, sizes) for blocks in zip(*layers, strict=True)]
            columns = [[f"latents_{name}" for name in tokens], *[["latents"]] * trunk.num_layers]
            for seen_from, w in zip(columns, weights, strict=True):
                maps.append(joint_map([(["latents"], seen_from, w)], sizes))
            maps.append(joint_map([(["summary"], ["latents"], last)], sizes))
            found |= joint_attention(maps, sizes, list(tokens))
        return trunk.norm()(summary)[:, 0], found

    def _level(self, name: str, dim: int) -> tuple[CrossBlock, list[EncoderBlock]]:
        """What reads, and the blocks behind it."""
        blocks = [self.trunk.block(f"{name}_block_{i}") for i in range(self.trunk.num_layers)]
        return self.trunk.cross(f"{name}_read", mlp_dim=dim), blocks


def _read(
    level: tuple[CrossBlock, list[EncoderBlock]],
    latents: jax.Array,
    array: jax.Array,
    train: bool,
    asked: bool,
) -> tuple[jax.Array, list[Any]]:
    """A level: the latents afterwards, and the attention weights of each of its layers."""
    cross, blocks = level
    latents, weights = cross(latents, array, train, asked)
    found = [weights]
    for block in blocks:
        latents, weights = block(latents, train, asked)
        found.append(weights)
    return latents, found


def _by_group(weights: jax.Array, groups: int, equation: str, where: jax.Array) -> jax.Array:
    """Weights [B·G, heads, K, M] of each group, over all groups: [B, heads, G·K, all columns]."""
    own = weights.reshape(-1, groups, *weights.shape[1:])
    found = jnp.einsum(equation, own, where)
    B, heads, G, K = found.shape[:4]
    return found.reshape(B, heads, G * K, -1)
