"""What objectives share that learn from images alone: passes, views, projections, a monitor.

They have no verdict. What they have learned shows in linear probes (`readouts`) and in runs that
start from them (`model.initial`).
"""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit import views
from multimodal_vit.components import Option, option
from multimodal_vit.errors import UserError
from multimodal_vit.models import MultimodalViT
from multimodal_vit.objectives.base import Keys, Objective, Variables, mean_losses
from multimodal_vit.objectives.losses import normalised
from multimodal_vit.objectives.rules import fusion_problems
from multimodal_vit.sampler import Batch, Task, cells, named_key

VIEW = ("shift", "affine", "contrast", "noise")
LEVELS = ("cells", "grid")


def level_option() -> Option:
    """The option that says what an example is."""
    return option("cells", "an example is an image of the grid, or the whole grid", choices=LEVELS)


class Images(NamedTuple):
    """What a model makes of V images, read without their texts.

    Attributes:
      vectors: float32 [V, m, D], the summaries: of the whole image, m = 1, or of each cell read
        alone, m = n.
      losses: of the fusion, [V · m] by name.
      collections: after the pass.
    """

    vectors: jax.Array
    losses: dict[str, jax.Array]
    collections: dict[str, Any]


class ImageObjective(Objective):
    """Learns from images alone."""

    uses: ClassVar[tuple[str, ...]] = ()
    answers: ClassVar[bool] = False
    best: ClassVar[str | None] = None

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A fusion that cannot read an image alone."""
        yield from fusion_problems(config, task, "takes_kept", "can be told to leave words out")
        if task is None and "patches" not in config.model.modalities:
            yield (
                f"train.objective={config.train.objective!r} learns from image tokens: "
                "model.modalities must name 'patches'"
            )

    def init(self, key: jax.Array, variables: Variables, inputs: Any) -> dict[str, Any]:
        """As `Objective.init`.

        Raises:
          UserError: cells are to be read alone, and tokens straddle them.
        """
        if getattr(self.options, "level", "") == "cells":
            self.cell_tokens()
        return super().init(key, variables, inputs)

    @property
    def token_grid(self) -> tuple[int, int]:
        """Rows and columns of the image tokens."""
        return self.model.embeddings["patches"].token_grid(self.task)

    def image_inputs(self, image: jax.Array) -> dict[str, jax.Array]:
        """Inputs with images [V, H, W, C] and words that say nothing."""
        words = jnp.zeros((len(image), self.task.num_positions), jnp.int32)
        return {"image": image, "words": words}

    def without_words(self, size: int, **kept: jax.Array) -> dict[str, jax.Array]:
        """What `MultimodalViT.fuse` keeps: no words, and of the image what is given."""
        none = {name: jnp.zeros((size, 0), jnp.int32) for name in self.model.embeddings}
        del none["patches"]
        return none | kept

    def cell_tokens(self) -> jax.Array:
        """The tokens of each cell, int32 [n, P / n].

        Raises:
          UserError: tokens straddle cells.
        """
        (rows, columns), (r, c) = self.token_grid, self.task.grid
        if rows % r or columns % c:
            raise UserError(
                f"{rows}×{columns} image tokens straddle the cells of a {r}×{c} grid; take another "
                "model.patch_size, or train.objective_options.level='grid'"
            )
        return cells(jnp.arange(rows * columns).reshape(1, rows, columns, 1), (r, c)).reshape(
            r * c, -1
        )

    def read(
        self, variables: Variables, image: jax.Array, level: str, keys: Keys, train: bool
    ) -> Images:
        """Reads images uint8 [V, H, W, C] at a level of `LEVELS`."""
        size = len(image)

        def of(model: MultimodalViT) -> Any:
            tokens = model.embed(self.image_inputs(image), train=train)
            kept = self.without_words(size)
            if level == "cells":  # each cell's tokens are a row of their own
                cells = self.cell_tokens()
                n = len(cells)
                tokens = {name: jnp.repeat(x, n, axis=0) for name, x in tokens.items()}
                kept = self.without_words(size * n, patches=jnp.tile(cells, (size, 1)))
            summary, found = model.fuse(tokens, kept, train=train)
            return summary, found.get("losses", {})

        (summary, losses), collections = self.ask(variables, of, keys, train)
        vectors = summary.astype(jnp.float32).reshape(size, -1, summary.shape[-1])
        return Images(vectors, losses, collections)

    def shared_losses(self, images: Images, size: int) -> dict[str, jax.Array]:
        """The fusion's losses for each of `size` rows, the mean over its views and cells."""
        views_and_cells = {
            name: loss.reshape(-1, size, images.vectors.shape[1]).swapaxes(1, 2).reshape(-1)
            for name, loss in images.losses.items()
        }
        return mean_losses([views_and_cells], size)


class ViewsObjective(ImageObjective):
    """Compares two views of each image; a loss depends on the whole batch."""

    in_batch: ClassVar[bool] = True

    def head_inputs(self, variables: Variables, inputs: Any) -> tuple[Any, ...]:
        """Zeros in the shape of a summary, and one row that counts."""
        return jnp.zeros((1, self.summary_size(variables, inputs))), jnp.ones((1,), bool)

    def two_views(self, batch: Batch, keys: Keys) -> jax.Array:
        """Two views of each image, one after the other: uint8 [2 · B, H, W, C]."""
        image = batch.inputs["image"]
        return jnp.concatenate(
            [
                views.augmented(named_key(keys.objective, name), image, self.task.grid, VIEW)
                for name in ("first view", "second view")
            ]
        )


def moments(x: jax.Array, real: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over the rows that count, [N, …] and bool [N] to [...] each."""
    weight = real.astype(jnp.float32).reshape(-1, *(1 for _ in x.shape[1:]))
    total = jnp.maximum(weight.sum(), 1)
    mean = (x * weight).sum(axis=0) / total
    return mean, ((x - mean) ** 2 * weight).sum(axis=0) / total


def spread(x: jax.Array, real: jax.Array) -> jax.Array:
    """How far vectors lie apart: 0 where all are one, about 1 where they fill the sphere.

    √d times the mean over dimensions of the standard deviation over rows of the vectors at length 1
    (Chen & He 2020, SimSiam, section 4.1): the monitor of collapse.

    Args:
      x: [N, d].
      real: bool [N], the rows that count.

    Returns:
      float32, a scalar.
    """
    _, variance = moments(normalised(jax.lax.stop_gradient(x)), real)
    return jnp.sqrt(x.shape[-1]) * jnp.sqrt(variance).mean()


class BatchNorm(nn.Module):
    """Batch normalisation by the batch at hand, in evaluation too; filling rows do not count.

    As in a projector that is thrown away: no running means are kept.
    """

    @nn.compact
    def __call__(self, x: jax.Array, real: jax.Array) -> jax.Array:
        """[N, d] and bool [N] to [N, d]."""
        mean, variance = moments(x, real)
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + bias


class Projection(nn.Module):
    """Linear, normalisation, ReLU, linear without bias.

    Attributes:
      hidden_dim: between the two.
      dim: of the output.
      norm: "batch", "layer" or "none".
    """

    hidden_dim: int
    dim: int
    norm: str = "layer"

    @nn.compact
    def __call__(self, x: jax.Array, real: jax.Array) -> jax.Array:
        """[N, D] and bool [N], the rows that count, to [N, dim]."""
        x = nn.Dense(self.hidden_dim, name="hidden")(x.astype(jnp.float32))
        if self.norm == "batch":
            x = BatchNorm(name="norm")(x, real)
        elif self.norm == "layer":
            x = nn.LayerNorm(name="norm")(x)
        return nn.Dense(self.dim, use_bias=False, name="out")(nn.relu(x))
