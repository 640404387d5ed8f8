"""Which classes are in the image, whatever the order."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models import MultimodalViT
from multimodal_vit.objectives.base import Keys, Objective, Outputs, Variables
from multimodal_vit.objectives.labels import Read
from multimodal_vit.objectives.rules import fusion_problems, text_problems
from multimodal_vit.sampler import Batch, Task


@component("train.objective", "bag")
class Bag(Objective):
    """Which classes are in the image, whatever the order: the thesis's class units alone.

    The bag of words of CLIP's own comparison (Radford et al. 2021, section 2.3). No word enters.
    Its score of a text is the log-probability that exactly the classes it names are there, so that
    neither count nor order can matter: the control beside the others.
    """

    uses: ClassVar[tuple[str, ...]] = ()
    scores: ClassVar[bool] = True

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A fusion that cannot leave the words out, and what is wrong with any other."""
        yield from text_problems(config, task)
        yield from fusion_problems(config, task, "takes_kept", "can be told to leave words out")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The share of class units that are right."""
        return ("class_accuracy",)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """Binary cross entropy, averaged over the class units."""
        logits, added, collections = self._read(variables, batch.inputs, keys, train)
        losses = optax.sigmoid_binary_cross_entropy(logits, batch.classes)
        right = (logits > 0) == batch.classes
        metrics = {"class_accuracy": right.mean(axis=-1)}
        return Outputs(losses.mean(axis=-1), None, metrics, dict(added), collections)

    def verdict(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """The score of the text and the class logits, [B, 1 + K]."""
        logits = self._read(variables, inputs, Keys(), False).logits
        named = (inputs["words"][..., None] == jnp.arange(logits.shape[-1])).any(axis=1)
        score = -optax.sigmoid_binary_cross_entropy(logits, named).sum(axis=-1)  # (B,)
        score = score - self.threshold(variables)
        return jnp.concatenate([score[:, None], logits], axis=-1)

    def _read(
        self, variables: Variables, inputs: Mapping[str, jax.Array], keys: Keys, train: bool
    ) -> Read:
        none = {"words": jnp.zeros((len(inputs["words"]), 0), jnp.int32)}

        def classes(model: MultimodalViT) -> tuple[jax.Array, dict[str, Any]]:
            tokens = model.embed(inputs, train=train)
            summary, found = model.fuse(tokens, none, train=train)
            return model.head(summary.astype(jnp.float32)), found.get("losses", {})

        (logits, losses), collections = self.ask(variables, classes, keys, train)
        return Read(logits[:, -self.task.num_classes :], losses, collections)
