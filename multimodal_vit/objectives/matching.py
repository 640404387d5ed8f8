"""Image-text matching with chosen false pairs (ALBEF, Li et al. 2021)."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, get, option
from multimodal_vit.models import MultimodalViT
from multimodal_vit.objectives.base import Keys, Outputs, Variables, mean_losses
from multimodal_vit.objectives.image_text import ContrastHead, ContrastObjective
from multimodal_vit.objectives.labels import true_inputs
from multimodal_vit.objectives.losses import FAR, contrast, same_text
from multimodal_vit.objectives.metrics import match_logit
from multimodal_vit.objectives.rules import text_problems
from multimodal_vit.sampler import Batch, Task, named_key, permute_labels

NEGATIVES = ("random", "hard", "law", "order")


@component("train.objective", "matching")
class Matching(ContrastObjective):
    """Image-text matching: is this text of this image? With one kind of false pairs.

    `negatives`: "random", another text and another image of the batch; "hard", the same, drawn by
    the similarities of a contrast trained along; "law", the task's own false texts; "order", the
    true words in another order. A text that equals the own one is never a false one. True and false
    pairs weigh the same; ALBEF has two false ones for each true one.
    """

    scores: ClassVar[bool] = False

    class Options:
        """Which pairs are the false ones."""

        negatives: str = option("random", "which pairs are the false ones", choices=NEGATIVES)
        dim: int = option(64, "of the contrast's space, for hard ones", least=1, most=65_536)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """No true/false unit, a fusion that cannot do what hard negatives need."""
        if config.train.objective_options.get("negatives") == "hard":
            yield from ContrastObjective.problems(config, task)
        else:
            yield from text_problems(config, task)
        if task is None and config.model.num_match_outputs == 0:
            yield (
                "train.objective='matching' trains the true/false output: take "
                "model.num_match_outputs=1"
            )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The share of right answers to the true and the false pairs of a row."""
        return ("match_accuracy",)

    @property
    def heads(self) -> nn.Module | None:
        """The contrast that finds hard negatives; none for the others."""
        if self.options.negatives != "hard":
            return None
        return ContrastHead(self.options.dim, 1 / 0.07)

    def verdict(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """The true/false unit of the model's head, [B, 1]; its class units were not trained."""
        logits, _ = self.model.apply(variables, inputs)
        return match_logit(logits, self.task.num_classes)[:, None]

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """Binary cross entropy of the true pair and of the false ones of each row."""
        inputs, key = true_inputs(batch), named_key(keys.objective, "negatives")
        real, equal = batch.weight > 0, same_text(batch.labels)
        added = jnp.zeros(len(real))
        kind = self.options.negatives
        passes: list[Mapping[str, jax.Array]] = []
        tokens, collections = self.tokens(variables, inputs, keys, train)
        if kind in ("law", "order"):
            law = get("task.corruption", self.task.corruption).target
            corrupt = permute_labels if kind == "order" else law
            words = corrupt(key, batch.labels, self.task)

            def embed(model: MultimodalViT) -> jax.Array:
                return model.embeddings["words"](words, train=train)

            other, _ = self.ask(variables, embed, keys, train)
            false = [tokens | {"words": other}]
            counts = [jnp.ones(len(real))]
        else:
            there = back = jnp.zeros(equal.shape)
            if kind == "hard":
                pair, losses, changed = self.contrasted(
                    variables | collections, tokens, batch.labels, keys, train
                )
                passes.append(losses)
                collections |= changed
                there = jax.lax.stop_gradient(pair.scale * pair.images @ pair.texts.T)
                back = there.T
                own = jnp.eye(len(equal), dtype=bool)
                added = contrast(pair.images, pair.texts, pair.scale, own, real)
            allowed = ~equal & real  # (B, B)
            texts = drawn(named_key(key, "texts"), there, allowed)
            images = drawn(named_key(key, "images"), back, allowed)
            false = [
                tokens | {"words": tokens["words"][texts]},
                tokens | {"patches": tokens["patches"][images]},
            ]
            counts = [allowed.any(axis=1).astype(jnp.float32)] * 2
        parts = [tokens, *false]
        rows = {name: jnp.concatenate([part[name] for part in parts]) for name in tokens}
        (logits, found), changed = self.ask(
            variables | collections, lambda model: model.answer(rows, train=train), keys, train, 4
        )
        collections |= changed
        passes.append(found.get("losses", {}))
        logit = match_logit(logits, self.task.num_classes).reshape(len(parts), -1)
        signs = jnp.array([1.0, *[-1.0] * len(false)])[:, None]
        weights = jnp.stack([jnp.ones(len(real)), *(count / len(false) for count in counts)]) / 2
        loss = (jax.nn.softplus(-signs * logit) * weights).sum(axis=0)  # (B,)
        right = ((signs * logit > 0) * weights).sum(axis=0) / weights.sum(axis=0)
        losses = mean_losses(passes, len(real))
        return Outputs(loss + added, None, {"match_accuracy": right}, losses, collections)


def drawn(key: jax.Array, logits: jax.Array, allowed: jax.Array) -> jax.Array:
    """For each row a column, drawn with the softmax of its logits among those allowed: int32 [B].

    Args:
      key: a random key.
      logits: [B, B].
      allowed: bool [B, B].
    """
    return jax.random.categorical(key, jnp.where(allowed, logits, FAR), axis=-1)
