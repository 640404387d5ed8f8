"""Words as they are, for the modular oracle."""

from typing import ClassVar

import jax
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.base import Embedding
from multimodal_vit.sampler import Task


@component("model.modalities", "word_ids")
class WordIds(Embedding):
    """Words as they are: one-hot vectors."""

    vocabulary_size: int
    reads: ClassVar[str] = "words"
    for_fusions: ClassVar[tuple[str, ...]] = ("bayes_rule",)
    uses: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "WordIds":
        """One place for each class."""
        del model, options
        return cls(task.num_classes)

    def __call__(self, words: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps int32 [B, n] to float32 [B, n, K]."""
        del train
        return jax.nn.one_hot(words, self.vocabulary_size)
