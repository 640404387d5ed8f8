"""The assembly: embeddings → fusion → head."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from multimodal_vit import shapes
from multimodal_vit.models.base import Embedding, Fusion
from multimodal_vit.parameters import declare
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

    embeddings: Mapping[str, Embedding]
    fusion: Fusion
    num_outputs: int
    modality_dropout_rate: float = 0.0

    def setup(self) -> None:
        """The head; it is made when it is first used."""
        # No matrix to make orthogonal: its outputs are units of their own.
        init = declare(nn.initializers.lecun_normal(), matrix=None)
        self.head = nn.Dense(self.num_outputs, kernel_init=init)

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

        Raises:
          ShapeError: an input, or what a part returns, has not the shape or dtype that it must.
        """
        tokens = self.embed(inputs, train=train)
        return self.answer(tokens, train=train, return_attention=return_attention)

    def embed(
        self, inputs: Mapping[str, jax.Array], *, train: bool = False
    ) -> dict[str, jax.Array]:
        """The tokens of each modality, [B, T, D]; see `__call__`."""
        shapes.check_inputs(inputs)
        tokens = {
            name: embed(inputs[embed.reads], train=train) for name, embed in self.embeddings.items()
        }
        shapes.check_tokens(tokens, "its embedding", next(iter(inputs.values())).shape[0])
        if "present" in inputs:
            present = self._present(inputs["present"], train)
            for name, embed in self.embeddings.items():
                there = present[:, INPUTS.index(embed.reads)]  # (B,)
                tokens[name] = jnp.where(there[:, None, None], tokens[name], 0)
        return tokens

    def answer(
        self,
        tokens: Mapping[str, jax.Array],
        *,
        train: bool = False,
        return_attention: bool = False,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The logits [B, U] of embedded tokens, and intermediates; see `__call__` and `fuse`."""
        summary, intermediates = self.fuse(tokens, train=train, return_attention=return_attention)
        if self.fusion.makes_logits:
            return summary, intermediates
        return self.head(summary.astype(jnp.float32)), intermediates  # (B, U)

    def fuse(
        self,
        tokens: Mapping[str, jax.Array],
        kept: Mapping[str, jax.Array] | None = None,
        causal: str | None = None,
        *,
        train: bool = False,
        return_attention: bool = False,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The summary of tokens, and intermediates.

        Args:
          tokens: of each modality, [B, T, D], without positions.
          kept: for a modality, int32 [B, K], the tokens that enter, each with its own position; a
            modality that is not named enters whole, one with K = 0 not at all. None: all.
          causal: a modality whose tokens are read from left to right: each sees those before it and
            all other modalities, which do not see it. None: every token sees every other.
          train: as in `__call__`.
          return_attention: as in `__call__`.

        Returns:
          As `__call__`, with the summary [B, D] in place of the logits.

        Raises:
          ValueError: the fusion cannot choose tokens, or not read from left to right.
        """
        more: dict[str, Any] = {}
        if kept is not None:
            if not self.fusion.takes_kept:
                raise ValueError(f"{type(self.fusion).__name__} cannot be told which tokens enter")
            more["kept"] = kept
        if causal is not None:
            if not self.fusion.takes_causal:
                raise ValueError(f"{type(self.fusion).__name__} cannot read from left to right")
            more["causal"] = causal
        shapes.check_tokens(tokens, "the caller", next(iter(tokens.values())).shape[0])
        summary, found = self.fusion(
            dict(tokens), train=train, return_attention=return_attention, **more
        )
        shapes.check_summary(summary, next(iter(tokens.values())).shape[0], found)
        return summary, {"embedded": dict(tokens), "summary": summary} | found

    def _present(self, present: jax.Array, train: bool) -> jax.Array:
        """Which inputs are there, bool [B, 3]; in training some fall out."""
        if not train or not self.modality_dropout_rate:
            return present
        reads = sorted({INPUTS.index(embed.reads) for embed in self.embeddings.values()})
        shape = (len(present), len(reads))
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.modality_dropout_rate, shape)
        kept |= ~kept.any(axis=1, keepdims=True)  # all, where none would be left
        return present.at[:, jnp.array(reads)].set(present[:, jnp.array(reads)] & kept)
