"""The assembly: embeddings → fusion → head."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class MultimodalViT(nn.Module):
    """One model that reads several modalities.

    Attributes:
      embeddings: for each modality, in the order of the token sequence, a module that turns the
        input named by its `reads` into tokens [B, T, D].
      fusion: turns the dict of token sequences into a summary [B, D]; one that `makes_logits`
        needs no head.
      num_outputs: U, the logits: 11 for the thesis (section 3.3.3).
    """

    embeddings: Mapping[str, nn.Module]
    fusion: nn.Module
    num_outputs: int

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
          train: whether dropout acts (it then needs the random stream "dropout").
          return_attention: whether the intermediates hold attention weights.

        Returns:
          Logits float32 [B, U], and a dict: "embedded", the token sequences before fusion;
          "summary" [B, D]; and what the fusion adds.
        """
        tokens = {name: embed(inputs[embed.reads]) for name, embed in self.embeddings.items()}
        summary, intermediates = self.fusion(tokens, train=train, return_attention=return_attention)
        intermediates = {"embedded": tokens, "summary": summary} | intermediates
        if getattr(self.fusion, "makes_logits", False):
            return summary, intermediates
        logits = nn.Dense(self.num_outputs, name="head")(summary.astype(jnp.float32))  # (B, U)
        return logits, intermediates
