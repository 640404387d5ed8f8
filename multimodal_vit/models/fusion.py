"""Fusions: named token sequences in, one summary vector [B, D] and intermediates out.

To add a design, write a module with this call and a line in `multimodal_vit.models.FUSIONS`; head,
objective and training stay as they are.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from multimodal_vit.models.dropout import Dropout
from multimodal_vit.models.encoder import Encoder


class SingleEncoder(nn.Module):
    """The thesis's fusion: one encoder over all tokens (section 3.3.3, Figure 3.1).

    A learned class token, then the tokens of all modalities in the order of the dict; a learned
    position embedding is added; the class token's output is the summary.

    Attributes:
      encoder: over the whole sequence.
      modality_embeddings: whether all tokens of a modality get a learned vector besides. What it
        adds, positions can learn too; it lets a modality's tokens share it.
    """

    encoder: Encoder
    modality_embeddings: bool = False

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D] and intermediates.

        Returns:
          The summary, and a dict: "spans", where in the sequence each modality stands; "tokens",
          the encoder's output for each modality, [B, T_m, D]; on request "attention_weights".
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
        x = jnp.concatenate(sequence, axis=1)  # (B, 1 + ΣT_m, D)
        positions = self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], D))
        x = x + positions.astype(dtype)
        x = Dropout(self.encoder.dropout_rate, deterministic=not train)(x)
        x, intermediates = self.encoder(x, train=train, return_weights=return_attention)
        spans, start = {}, 1
        for name, sequence in tokens.items():
            spans[name] = (start, start + sequence.shape[1])
            start += sequence.shape[1]
        intermediates["spans"] = spans
        intermediates["tokens"] = {name: x[:, slice(*span)] for name, span in spans.items()}
        return x[:, 0], intermediates
