"""A classifier for each image of the grid, for the modular oracle."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component, get
from multimodal_vit.models.base import Embedding, Stem
from multimodal_vit.sampler import Task


@component("model.modalities", "quadrants")
class QuadrantClassifier(Embedding):
    """One small CNN for every cell of the grid: stem, one hidden layer, K class logits."""

    grid: tuple[int, int]
    num_classes: int
    stem: Stem
    hidden_dim: int
    dtype: Dtype = jnp.float32
    reads: ClassVar[str] = "image"
    for_fusions: ClassVar[tuple[str, ...]] = ("bayes_rule",)
    uses: ClassVar[tuple[str, ...]] = ("model.num_conv_layers",)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "QuadrantClassifier":
        """The stem that `model.stem` names; the hidden layer has `model.embedding_dim`."""
        del options
        stem = get("model.stem", model.stem).target.build(model, task, model.stem_options)
        dtype = jnp.dtype(model.dtype)
        return cls(task.grid, task.num_classes, stem, model.embedding_dim, dtype)

    def describe(self) -> dict[str, str]:
        """The stem."""
        return self.stem.describe()

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps uint8 [B, r·H, c·W, C] to class logits float32 [B, r·c, K], in reading order."""
        r, c = self.grid
        B, height, width, C = image.shape
        cells = image.reshape(B, r, height // r, c, width // c, C).transpose(0, 1, 3, 2, 4, 5)
        cells = cells.reshape(B * r * c, height // r, width // c, C).astype(self.dtype) / 255
        features = self.stem.of(cells, train).reshape(B, r * c, -1)
        hidden = nn.relu(nn.Dense(self.hidden_dim, dtype=self.dtype, name="hidden")(features))
        return nn.Dense(self.num_classes, name="classes")(hidden.astype(jnp.float32))
