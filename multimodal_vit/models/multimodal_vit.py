"""The assembly: embeddings → fusion → head."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from multimodal_vit.sampler import INPUTS


class MultimodalViT(nn.Module):
    """One model that reads several modalities.

    Attributes:
      embeddings: for each modality, in the order of the token sequence, a module that turns the
        input named by its `reads` into tokens [B, T, D].
      fusion: turns the dict of token sequences into a summary [B, D]; one that `makes_logits`
        needs no head.
      num_outputs: U, the logits: 11 for the thesis (section 3.3.3).
      modality_dropout_rate: the probability that an input is missing in training, where the inputs
        tell which are there; one is always left.
    """

    embeddings: Mapping[str, nn.Module]
    fusion: nn.Module
    num_outputs: int
    modality_dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self,
        inputs: Mapping[str, jax.Array],
        *,
        train: bool = False,
        return_attention: bool = False,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps the inputs of a batch to logits and intermediates.

        Args:
          inputs: raw inputs by name, such as "words" int32 [B, n] and "image" uint8 [B, H, W, C].
            Where "present" bool [B, 3] is among them, tokens of an input that is missing are 0:
            what a modality's positions say then stands for nothing being there.
          train: whether dropout acts (it then needs the random stream "dropout").
          return_attention: whether the intermediates hold attention weights.

        Returns:
          Logits float32 [B, U], and a dict: "embedded", the token sequences before fusion;
          "summary" [B, D]; and what the fusion adds.
        """
        tokens = {
            name: embed(inputs[embed.reads], train=train) for name, embed in self.embeddings.items()
        }
        if "present" in inputs:
            present = self._present(inputs["present"], train)
            for name, embed in self.embeddings.items():
                there = present[:, INPUTS.index(embed.reads)]  # (B,)
                tokens[name] = jnp.where(there[:, None, None], tokens[name], 0)
        summary, intermediates = self.fusion(tokens, train=train, return_attention=return_attention)
        intermediates = {"embedded": tokens, "summary": summary} | intermediates
        if getattr(self.fusion, "makes_logits", False):
            return summary, intermediates
        logits = nn.Dense(self.num_outputs, name="head")(summary.astype(jnp.float32))  # (B, U)
        return logits, intermediates

    def _present(self, present: jax.Array, train: bool) -> jax.Array:
        """Which inputs are there, bool [B, 3]; in training some fall out."""
        if not train or not self.modality_dropout_rate:
            return present
        reads = sorted({INPUTS.index(embed.reads) for embed in self.embeddings.values()})
        shape = (len(present), len(reads))
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.modality_dropout_rate, shape)
        kept |= ~kept.any(axis=1, keepdims=True)  # all, where none would be left
        return present.at[:, jnp.array(reads)].set(present[:, jnp.array(reads)] & kept)
