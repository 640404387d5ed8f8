"""Words to tokens."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.base import Embedding
from multimodal_vit.sampler import Task


@component("model.modalities", "words")
class WordEmbedding(Embedding):
    """Words to tokens: a trained table of `vocabulary_size` vectors (thesis, section 2.1)."""

    vocabulary_size: int
    dim: int
    dtype: Dtype = jnp.float32
    reads: ClassVar[str] = "words"
    uses: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "WordEmbedding":
        """One vector for each class."""
        del options
        return cls(task.num_classes, model.embedding_dim, jnp.dtype(model.dtype))

    @nn.compact
    def __call__(self, words: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps int32 [B, n], each 0 to `vocabulary_size` - 1, to [B, n, D]."""
        del train
        init = nn.initializers.normal(0.02)
        table = nn.Embed(self.vocabulary_size, self.dim, embedding_init=init, dtype=self.dtype)
        return table(words)
