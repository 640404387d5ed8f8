"""The thesis's fusion: one encoder over all tokens."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.base import Fusion
from multimodal_vit.models.dropout import Dropout
from multimodal_vit.models.encoder import ACTIVATIONS, NORMS, TRUNK, Encoder, encoder_problems
from multimodal_vit.models.joint_map import joint_attention, joint_map
from multimodal_vit.models.streams import Trunk, registers
from multimodal_vit.sampler import Task


@component("model.fusion", "single_encoder")
class SingleEncoder(Fusion):
    """The thesis's fusion: one encoder over all tokens (section 3.3.3, Figure 3.1).

    A learned class token, then the tokens of all modalities in the order of the dict; a learned
    position embedding is added; the class token's output is the summary.

    Attributes:
      encoder: over the whole sequence.
      num_registers: learned tokens behind the others, whose outputs are not used (Darcet et al.
        2024).
      modality_embeddings: whether all tokens of a modality get a learned vector besides. What it
        adds, positions can learn too; it lets a modality's tokens share it.
    """

    encoder: Encoder
    modality_embeddings: bool = False
    num_registers: int = 0
    takes_kept: ClassVar[bool] = True
    takes_causal: ClassVar[bool] = True
    num_extra_tokens: ClassVar[int] = 1
    uses: ClassVar[tuple[str, ...]] = TRUNK

    class Options:
        """What each token gets besides its position; the blocks."""

        modality_embeddings: bool = option(False, "a learned vector for each modality besides")
        norm: str = option("pre", "before attention and MLP, or of the sums: post", choices=NORMS)
        activation: str = option("gelu", "of the MLP", choices=tuple(ACTIVATIONS))

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "SingleEncoder":
        """The encoder that `config.model` describes."""
        del task
        encoder = Trunk.of(model).encoder(norm=options.norm, activation=options.activation)
        return cls(encoder, options.modality_embeddings, model.num_registers)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the encoder."""
        yield from encoder_problems(config, task)

    def describe(self) -> dict[str, str]:
        """The encoder's size."""
        return self.encoder.describe()

    def mask(self, length: int, where: dict[str, tuple[int, int]]) -> np.ndarray | None:
        """What each of the tokens sees, bool [T, T]; None: all.

        Args:
          length: T.
          where: first, and one after the last, of each modality's tokens.
        """
        del length, where
        return None

    @nn.compact
    def __call__(
        self,
        tokens: dict[str, jax.Array],
        *,
        kept: Mapping[str, jax.Array] | None = None,
        causal: str | None = None,
        train: bool = False,
        return_attention: bool = False,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D] and intermediates.

        Args:
          tokens: of each modality.
          kept: which of them enter; see `MultimodalViT.fuse`.
          causal: the modality that is read from left to right; see there.
          train: whether dropout acts.
          return_attention: whether the weights are wanted.

        Returns:
          The summary, and a dict: "spans", where in the sequence each modality stands; "tokens",
          the encoder's output for each modality, [B, T_m, D]; "blocks", each block's output for
          the whole sequence; on request "attention_weights".
        """
        B, _, D = next(iter(tokens.values())).shape
        dtype = self.encoder.dtype
        class_token = self.param("class_token", nn.initializers.zeros, (1, 1, D))
        parts = tokens
        if self.modality_embeddings:
            init = nn.initializers.normal(0.02)
            parts = {
                name: part + self.param(f"modality_{name}", init, (1, 1, D)).astype(dtype)
                for name, part in tokens.items()
            }
        sequence = [jnp.broadcast_to(class_token, (B, 1, D)).astype(dtype), *parts.values()]
        if self.num_registers:
            sequence.append(registers(self, B, self.num_registers, D, dtype))
        x = jnp.concatenate(sequence, axis=1)  # (B, 1 + ΣT_m + r, D)
        positions = self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], D))
        x = x + positions.astype(dtype)
        sizes = {name: part.shape[1] for name, part in tokens.items()}
        if kept is not None:
            x, sizes = _choose(x, sizes, kept)  # the registers stay behind the others
        x = Dropout(self.encoder.dropout_rate, deterministic=not train)(x)
        spans, start = {}, 1
        for name, size in sizes.items():
            spans[name] = (start, start + size)
            start += size
        mask = self.mask(x.shape[1], spans)
        if causal is not None:
            prefix = _prefix_mask(x.shape[1], *spans[causal])
            mask = prefix if mask is None else prefix & mask
        x, intermediates = self.encoder(x, train=train, return_weights=return_attention, mask=mask)
        if return_attention:
            names = {"summary": 1} | sizes | {"registers": x.shape[1] - start}
            joint = names | {"slots": self.encoder.num_slots}
            maps = [
                joint_map([(list(names), list(joint), weights)], joint)
                for weights in intermediates["attention_weights"]
            ]
            intermediates |= joint_attention(maps, joint, list(sizes))
        intermediates["spans"] = spans
        intermediates["tokens"] = {name: x[:, slice(*span)] for name, span in spans.items()}
        return x[:, 0], intermediates


def _prefix_mask(length: int, start: int, end: int) -> jax.Array:
    """What each token sees, bool [T, T]: those from `start` to `end` also the ones before them.

    All other tokens see each other, and none of these: else a later word would reach an earlier one
    through them.
    """
    place = jnp.arange(length)
    inside = (place >= start) & (place < end)
    return ~inside[None, :] | (inside[:, None] & (place[None, :] <= place[:, None]))


def _choose(
    x: jax.Array, sizes: dict[str, int], kept: Mapping[str, jax.Array]
) -> tuple[jax.Array, dict[str, int]]:
    """The class token, the tokens that are kept, and the registers; how many tokens are kept.

    Args:
      x: [B, 1 + ΣT_m + r, D], with positions.
      sizes: T_m by modality.
      kept: int32 [B, K_m] by modality; one that is not named stays whole.
    """
    parts, start = [x[:, :1]], 1
    left = dict(sizes)
    for name, size in sizes.items():
        part = x[:, start : start + size]
        if name in kept:
            part = jnp.take_along_axis(part, kept[name][..., None], axis=1)  # (B, K_m, D)
            left[name] = kept[name].shape[1]
        parts.append(part)
        start += size
    return jnp.concatenate([*parts, x[:, start:]], axis=1), left
