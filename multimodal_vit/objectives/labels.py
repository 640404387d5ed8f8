"""Objectives that predict the words from the image: a catalogue of three.

They learn from true texts alone: the labels of each grid, whatever text the pair has. What a text
is worth then follows from the posterior of each word, and no threshold is fitted, but for the bag.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.errors import UserError
from multimodal_vit.models import MultimodalViT
from multimodal_vit.models.fusions.bayes_rule import bayes_logits, law_problems
from multimodal_vit.objectives.base import Keys, Objective, Outputs, Variables
from multimodal_vit.objectives.losses import masked_mean
from multimodal_vit.objectives.rules import fusion_problems, text_problems
from multimodal_vit.sampler import Batch, Task, named_key


def true_inputs(batch: Batch) -> dict[str, jax.Array]:
    """The inputs of a batch, each image with its true text."""
    return {"image": batch.inputs["image"], "words": batch.labels}


class WordHead(nn.Module):
    """A token of its own, and one linear layer from a word's output to the classes.

    Attributes:
      num_classes: K.
    """

    num_classes: int

    @nn.compact
    def __call__(self, outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps [B, n, D] to class logits float32 [B, n, K], and the token [D]."""
        init = nn.initializers.normal(0.02)
        token = self.param("token", init, (outputs.shape[-1],))
        classes = nn.Dense(self.num_classes, name="classes")
        return classes(outputs.astype(jnp.float32)), token


class Read(NamedTuple):
    """Class logits [B, n, K], the fusion's losses, the collections after the pass."""

    logits: jax.Array
    losses: Mapping[str, jax.Array]
    collections: dict[str, Any]


class PosteriorObjective(Objective):
    """Gives log p(w_i = c | image) of each position; the verdict is the Bayes rule on it.

    The images of a grid are drawn independently, so that the posterior of a text is the product
    over its words, and the law of the false texts gives the log odds: the rule of the modular
    oracle.
    """

    uses: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Other modalities, a task without false texts, an unknown law."""
        yield from text_problems(config, task)
        if task is None:
            yield from law_problems(config, f"the verdict of {config.train.objective!r}")

    @property
    def heads(self) -> nn.Module:
        """The token that stands for a word that is not told, and the classes."""
        return WordHead(self.task.num_classes)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The share of the predicted words that are right."""
        return ("word_accuracy",)

    def head_inputs(self, variables: Variables, inputs: Any) -> tuple[Any, ...]:
        """Zeros in the shape of the words' outputs."""
        _, found = jax.eval_shape(self.model.apply, variables, inputs)
        words = found.get("tokens", {}).get("words")
        if words is None or words.shape[1] != self.task.num_positions:
            raise UserError(
                f"{type(self).__name__} predicts words from the fusion's outputs for them, and "
                f"{type(self.model.fusion).__name__} gives none; take "
                "model.fusion='single_encoder', say"
            )
        return (jnp.zeros(words.shape, words.dtype),)

    def posterior(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """Log p(w_i = c | image), float32 [B, n, K]."""
        raise NotImplementedError

    def image_posterior(self, variables: Variables, image: jax.Array) -> jax.Array:
        """The same without any text, of images [B, H, W, C]."""
        words = jnp.zeros((len(image), self.task.num_positions), jnp.int32)
        return self.posterior(variables, {"image": image, "words": words})

    def verdict(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """The log odds of a true text and those of each class, [B, 1 + K]."""
        words = jax.nn.one_hot(inputs["words"], self.task.num_classes)
        return bayes_logits(self.posterior(variables, inputs), words, self.task)

    def token(self, variables: Variables) -> jax.Array:
        """The head's own token, [D]."""
        return variables["params"]["objective"]["token"]

    def predicted(self, read: "Read", batch: Batch, mask: jax.Array) -> Outputs:
        """The cross entropy of the words where `mask` bool [B, n] is True, the mean in each row."""
        logits = read.logits
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)  # (B, n)
        right = logits.argmax(axis=-1) == batch.labels
        metrics = {"word_accuracy": masked_mean(right, mask)}
        loss = masked_mean(losses, mask)
        return Outputs(loss, None, metrics, dict(read.losses), read.collections)


@component("train.objective", "masked_labels")
class MaskedLabels(PosteriorObjective):
    """Some words are masked; each is predicted from the image and the other words.

    After BERT (Devlin et al. 2019), with the image as in ViLBERT and FLAVA. The number of masked
    words is uniform from one to all: BERT's 15 % of four words is less than one, and the verdict
    asks with all of them masked.
    """

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The cross entropy of the masked words, the mean in each row."""
        B, n = batch.labels.shape
        noise = jax.random.uniform(named_key(keys.objective, "places"), (B, n))
        count = jax.random.randint(named_key(keys.objective, "count"), (B, 1), 1, n + 1)
        mask = noise.argsort(axis=1).argsort(axis=1) < count  # (B, n)
        read = self._read(variables, true_inputs(batch), mask, keys, train)
        return self.predicted(read, batch, mask)

    def posterior(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """All words masked at once: given the image they are independent, and one pass is exact."""
        mask = jnp.ones(inputs["words"].shape, bool)
        return jax.nn.log_softmax(self._read(variables, inputs, mask, Keys(), False).logits)

    def _read(
        self,
        variables: Variables,
        inputs: Mapping[str, jax.Array],
        mask: jax.Array,
        keys: Keys,
        train: bool,
    ) -> "Read":
        """Class logits, where `mask` is True without the word itself."""
        token = self.token(variables)

        def outputs(model: MultimodalViT) -> dict[str, Any]:
            tokens = model.embed(inputs, train=train)
            words = tokens["words"]
            tokens["words"] = jnp.where(mask[..., None], token.astype(words.dtype), words)
            return model.fuse(tokens, train=train)[1]

        found, collections = self.ask(variables, outputs, keys, train)
        logits, _ = self.of_heads(variables, found["tokens"]["words"])
        return Read(logits, found.get("losses", {}), collections)


@component("train.objective", "caption")
class Caption(PosteriorObjective):
    """A caption model: each word is predicted from the image and the words before it.

    The image tokens see each other and no word; a word's place sees them and the words before it
    (CLIP's own comparison, Radford et al. 2021, section 2.3; the prefix mask of UniLM, Dong et al.
    2019). The posterior is that of teacher forcing, with the text in question.
    """

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A fusion that cannot read from left to right, and what is wrong with any other."""
        yield from PosteriorObjective.problems(config, task)
        yield from fusion_problems(
            config, task, "takes_causal", "can read words from left to right"
        )

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The cross entropy of all words, the mean in each row."""
        read = self._read(variables, true_inputs(batch), keys, train)
        return self.predicted(read, batch, jnp.ones(batch.labels.shape, bool))

    def posterior(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """Log p(w_i = c | the words before it, image)."""
        return jax.nn.log_softmax(self._read(variables, inputs, Keys(), False).logits)

    def image_posterior(self, variables: Variables, image: jax.Array) -> jax.Array:
        """Each word given the likeliest words before it: n passes."""
        words = jnp.zeros((len(image), self.task.num_positions), jnp.int32)
        for i in range(self.task.num_positions):
            log_p = self.posterior(variables, {"image": image, "words": words})  # (B, n, K)
            words = words.at[:, i].set(log_p[:, i].argmax(axis=-1))
        return log_p

    def _read(
        self, variables: Variables, inputs: Mapping[str, jax.Array], keys: Keys, train: bool
    ) -> "Read":
        token = self.token(variables)

        def outputs(model: MultimodalViT) -> dict[str, Any]:
            tokens = model.embed(inputs, train=train)
            words = tokens["words"]  # (B, n, D)
            start = jnp.broadcast_to(token.astype(words.dtype), words[:, :1].shape)
            tokens["words"] = jnp.concatenate([start, words[:, :-1]], axis=1)
            return model.fuse(tokens, causal="words", train=train)[1]

        found, collections = self.ask(variables, outputs, keys, train)
        logits, _ = self.of_heads(variables, found["tokens"]["words"])
        return Read(logits, found.get("losses", {}), collections)
