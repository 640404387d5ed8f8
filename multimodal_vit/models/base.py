"""What the parts of a model have in common: an embedding, a stem, a fusion.

Each part is a linen module in a file of its own and says what it reads, how it is built from a
configuration, what is wrong with one, and what the report shows of it.
"""

from collections.abc import Iterator
from typing import ClassVar

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from multimodal_vit.components import get
from multimodal_vit.sampler import Task


class Part(nn.Module):
    """A part of a model that a configuration can name."""

    uses: ClassVar[tuple[str, ...] | None] = None
    """The shared fields that it acts by, such as "model.num_heads"; None: any."""

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Part":
        """The module that a valid configuration describes.

        Args:
          model: `config.model`.
          task: on the data at hand.
          options: the part's own.
        """
        raise NotImplementedError(f"{cls.__name__} needs a classmethod build(model, task, options)")

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Yields a line for every mistake in what concerns this part: field, value, rule, way out.

        Args:
          config: whole; its fields have the right types and ranges.
          task: on the data at hand; None before the data is read: then only what needs none.
        """
        del config, task
        yield from ()

    def describe(self) -> dict[str, str]:
        """Rows of the report's table of models: what it is and how large."""
        return {}


class Embedding(Part):
    """Raw inputs to tokens: `__call__(inputs, *, train) -> [B, T, D]`."""

    reads: ClassVar[str] = ""
    """The input that it is given: "image", "words" or "audio"."""
    for_fusions: ClassVar[tuple[str, ...]] = ()
    """The only fusions that can read its tokens; (): every one can."""

    def token_grid(self, task: Task) -> tuple[int, int] | None:
        """Rows and columns of tokens that tile the image, row by row; None: they do not."""
        del task
        return None


def image_token_grid(model: ConfigDict, task: Task) -> tuple[int, int]:
    """Rows and columns of the image tokens of a model that reads "patches"."""
    embedding = get("model.modalities", "patches").target
    return embedding.build(model, task, ConfigDict()).token_grid(task)


class Stem(Part):
    """What an image passes through before its patches: [B, H, W, C] to [B, H', W', C']."""

    takes_train: ClassVar[bool] = False
    """Whether it acts otherwise in training, as batch normalisation does, and is told `train`."""

    def of(self, image: jax.Array, train: bool) -> jax.Array:
        """Its output; it is told whether it trains where it asks for that."""
        return self(image, train=train) if self.takes_train else self(image)

    @staticmethod
    def output_side(side: int, num_layers: int) -> int:
        """The side that is left of `side` pixels after `model.num_conv_layers` layers."""
        raise NotImplementedError


class Fusion(Part):
    """Tokens of all modalities to one summary.

    `__call__(tokens, *, train, return_attention) -> summary [B, D], intermediates`; one that
    `takes_kept` is also given `kept`, and one that `takes_causal` `causal`, see
    `MultimodalViT.fuse`. Tokens come without positions. Intermediates are a dict: "tokens", its
    outputs for each modality [B, T_m, D]; "summaries", one for each modality [B, D], where it has
    streams of their own; "blocks", the output of each encoder block, where it has one encoder over
    all tokens. On request "attention_weights" [B, heads, T, T], one for each layer, of which token
    0 is the summary; "spans", where each modality stands among these tokens, "index", where all
    kinds of tokens stand; "readout": True says that the last is no layer, but what the summary is
    made of (`joint_map`). "losses" [B] by name, weighted, are added to the objective in training;
    "gates" are a design's own evidence, of any shape.
    """

    reads: ClassVar[tuple[str, ...] | None] = None
    """The only modalities that it can read; None: any."""
    needs_all: ClassVar[bool] = False
    """Whether it needs each modality of `reads`, in this order."""
    makes_logits: ClassVar[bool] = False
    """Whether its summary is the logits, and no head follows."""
    takes_kept: ClassVar[bool] = False
    """Whether it can be told which tokens enter."""
    takes_causal: ClassVar[bool] = False
    """Whether it can read a modality from left to right."""
    no_attention: ClassVar[str] = ""
    """Why it has no attention, for the probe to say; "": it has."""
    num_extra_tokens: ClassVar[int] = 0
    """Tokens of its own in the sequence, such as a class token; for the report."""
