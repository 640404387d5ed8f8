"""Contrast of images and texts: a catalogue of two objectives, CLIP's and SigLIP's.

Each reads the image alone and the text alone, and learns which belong together among the pairs of a
batch. They learn from true texts: the labels of each grid, whatever text the pair has.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models import MultimodalViT
from multimodal_vit.objectives.base import Keys, Objective, Outputs, Variables, mean_losses
from multimodal_vit.objectives.labels import true_inputs
from multimodal_vit.objectives.losses import (
    FAR,
    contrast,
    normalised,
    same_text,
    sigmoid_contrast,
)
from multimodal_vit.objectives.rules import fusion_problems, text_problems
from multimodal_vit.sampler import Batch, Task

MOST_SCALE = 100.0  # CLIP's; a similarity is at most 1


class Vectors(NamedTuple):
    """Of B images and B texts: vectors of length 1 [B, d], the scale and bias of their products."""

    images: jax.Array
    texts: jax.Array
    scale: jax.Array
    bias: jax.Array


def only(name: str, size: int) -> dict[str, jax.Array]:
    """What `MultimodalViT.fuse` is told to read one of words and patches alone."""
    other = {"words": "patches", "patches": "words"}[name]
    return {other: jnp.zeros((size, 0), jnp.int32)}


class ContrastHead(nn.Module):
    """Two projections without bias to a common space; the scale of the products, and their bias.

    Attributes:
      dim: d.
      scale: 1 / temperature before training.
      bias: before training; None: there is none.
      tower: reads the texts, where the model does not.
    """

    dim: int
    scale: float
    bias: float | None = None
    tower: MultimodalViT | None = None

    @nn.compact
    def __call__(self, images: jax.Array, texts: jax.Array, train: bool = False) -> Vectors:
        """Summaries [B, D] of images and of texts; with a tower, words int32 [B, n] instead."""
        if self.tower is not None:
            tokens = self.tower.embed({"words": texts}, train=train)
            texts, _ = self.tower.fuse(tokens, train=train)

        def project(name: str, x: jax.Array) -> jax.Array:
            return normalised(nn.Dense(self.dim, use_bias=False, name=name)(x.astype(jnp.float32)))

        start = nn.initializers.constant(math.log(self.scale))
        log_scale = self.param("log_scale", start, ())
        bias = jnp.zeros(())
        if self.bias is not None:
            bias = self.param("bias", nn.initializers.constant(self.bias), ())
        scale = jnp.exp(jnp.minimum(log_scale, math.log(MOST_SCALE)))
        return Vectors(project("images", images), project("texts", texts), scale, bias)


class ContrastObjective(Objective):
    """What contrasts of images and texts share: the vectors, and the score as verdict."""

    uses: ClassVar[tuple[str, ...]] = ()
    scores: ClassVar[bool] = True
    in_batch: ClassVar[bool] = True

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A fusion that cannot read a modality alone, and what is wrong with any text objective."""
        yield from text_problems(config, task)
        about = "can be told to read image and text each alone"
        yield from fusion_problems(config, task, "takes_kept", about)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """How often an image's most similar text of the batch is its own, or equal to it."""
        return ("retrieval_accuracy",)

    @property
    def towers(self) -> int:
        """1 where the model reads texts too, 2 where a second one does."""
        return getattr(self.options, "towers", 1)

    def head(self, scale: float, bias: float | None = None) -> ContrastHead:
        """The head that the options describe."""
        tower = None
        if self.towers == 2:
            words = {"words": self.model.embeddings["words"]}
            tower = self.model.clone(embeddings=words)
        return ContrastHead(self.options.dim, scale, bias, tower)

    def head_inputs(self, variables: Variables, inputs: Any) -> tuple[Any, ...]:
        """Zeros in the shape of summaries, or of words where a tower of its own reads them."""
        summary = jnp.zeros((1, self.summary_size(variables, inputs)))
        texts = summary
        if self.towers == 2:
            texts = jnp.zeros((1, self.task.num_positions), jnp.int32)
        return summary, texts

    def vectors(
        self, variables: Variables, inputs: Mapping[str, jax.Array], keys: Keys, train: bool
    ) -> tuple[Vectors, dict[str, jax.Array], dict[str, Any]]:
        """The vectors of images and texts; the fusion's losses; the collections after it."""
        tokens, collections = self.tokens(variables, inputs, keys, train)
        pair, losses, changed = self.contrasted(
            variables | collections, tokens, inputs["words"], keys, train
        )
        return pair, losses, collections | changed

    def tokens(
        self, variables: Variables, inputs: Mapping[str, jax.Array], keys: Keys, train: bool
    ) -> tuple[dict[str, jax.Array], dict[str, Any]]:
        """The tokens of each modality, [B, T, D], and the collections after it."""
        return self.ask(variables, lambda model: model.embed(inputs, train=train), keys, train)

    def contrasted(
        self,
        variables: Variables,
        tokens: Mapping[str, jax.Array],
        words: jax.Array,
        keys: Keys,
        train: bool,
    ) -> tuple[Vectors, dict[str, jax.Array], dict[str, Any]]:
        """As `vectors`, of embedded tokens and the words int32 [B, n] that a second tower reads."""
        found: list[Mapping[str, jax.Array]] = []
        collections: dict[str, Any] = {}

        def read(name: str, which: int) -> jax.Array:
            def of(model: MultimodalViT) -> Any:
                summary, found = model.fuse(tokens, only(name, len(words)), train=train)
                return summary, found.get("losses", {})

            (summary, losses), changed = self.ask(variables | collections, of, keys, train, which)
            found.append(losses)
            collections.update(changed)
            return summary

        images = read("patches", 1)
        texts = read("words", 2) if self.towers == 1 else words
        rngs = {} if keys.dropout is None else {"dropout": jax.random.fold_in(keys.dropout, 3)}
        pair = self.of_heads(variables, images, texts, train, rngs=rngs)
        return pair, mean_losses(found, len(words)), collections

    def image_vectors(self, variables: Variables, image: jax.Array) -> jax.Array:
        """Of images [B, H, W, C] alone, [B, d]."""
        words = jnp.zeros((len(image), self.task.num_positions), jnp.int32)
        return self.vectors(variables, {"image": image, "words": words}, Keys(), False)[0].images

    def text_vectors(self, variables: Variables, words: jax.Array) -> jax.Array:
        """Of texts int32 [B, n] alone, [B, d]."""
        image = jnp.zeros((len(words), *self.task.canvas_shape), jnp.uint8)
        return self.vectors(variables, {"image": image, "words": words}, Keys(), False)[0].texts

    def verdict(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """The scaled product of image and text, less the threshold, [B, 1]."""
        pair, _, _ = self.vectors(variables, inputs, Keys(), False)
        score = pair.scale * (pair.images * pair.texts).sum(axis=-1) + pair.bias
        return (score - self.threshold(variables))[:, None]


def retrieval_accuracy(pair: Vectors, equal: jax.Array, real: jax.Array) -> jax.Array:
    """Whether an image's most similar text of the batch is right, [B].

    Args:
      pair: of the batch.
      equal: bool [B, B], the texts that are equal.
      real: bool [B], the rows that count.
    """
    found = jnp.where(real, pair.images @ pair.texts.T, FAR).argmax(axis=1)
    return jnp.take_along_axis(equal, found[:, None], axis=1)[:, 0].astype(jnp.float32)


@component("train.objective", "clip")
class Clip(ContrastObjective):
    """CLIP's contrast (Radford et al. 2021): among a batch, each image finds its text and back.

    With `positives="equal"` every equal text is right: the multi-positive loss of UniCL (Yang et
    al. 2022) and Florence. Where equal texts have equal vectors, as without dropout, the two losses
    have the same value and gradient.
    """

    class Options:
        """The common space, and what is right."""

        dim: int = option(64, "of the common space", least=1, most=65_536)
        towers: int = option(1, "1: one model reads both; 2: texts have their own", choices=(1, 2))
        positives: str = option(
            "own", "right is the own text alone, or every equal one", choices=("own", "equal")
        )

    @property
    def heads(self) -> ContrastHead:
        """The projections and the temperature, 0.07 before training."""
        return self.head(1 / 0.07)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The cross entropy of finding the own text, and the own image, among the batch's."""
        pair, losses, collections = self.vectors(variables, true_inputs(batch), keys, train)
        real, equal = batch.weight > 0, same_text(batch.labels)
        own = jnp.eye(len(equal), dtype=bool)
        positives = equal if self.options.positives == "equal" else own
        loss = contrast(pair.images, pair.texts, pair.scale, positives, real)
        metrics = {"retrieval_accuracy": retrieval_accuracy(pair, equal, real)}
        return Outputs(loss, None, metrics, losses, collections)


@component("train.objective", "siglip")
class SigLip(ContrastObjective):
    """SigLIP (Zhai et al. 2023): of every image and text of a batch, do they belong together?

    Equal texts belong together. With the original's rule, the own text alone, a text that occurs
    twice is called right and wrong at once.
    """

    class Options:
        """The common space, and where the bias starts."""

        dim: int = option(64, "of the common space", least=1, most=65_536)
        towers: int = option(1, "1: one model reads both; 2: texts have their own", choices=(1, 2))
        positives: str = option(
            "equal", "right is the own text alone, or every equal one", choices=("own", "equal")
        )
        bias: float = option(-4.8, "before training; about -log(batch size)", least=-50, most=50)

    @property
    def heads(self) -> ContrastHead:
        """The projections, the scale, 10 before training, and the bias."""
        return self.head(10.0, self.options.bias)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The sum over a batch's texts of the loss of each question."""
        pair, losses, collections = self.vectors(variables, true_inputs(batch), keys, train)
        real, equal = batch.weight > 0, same_text(batch.labels)
        own = jnp.eye(len(equal), dtype=bool)
        logits = pair.scale * pair.images @ pair.texts.T + pair.bias
        positives = equal if self.options.positives == "equal" else own
        loss = sigmoid_contrast(logits, positives, real)
        metrics = {"retrieval_accuracy": retrieval_accuracy(pair, equal, real)}
        return Outputs(loss, None, metrics, losses, collections)
