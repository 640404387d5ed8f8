"""The masked autoencoder: pixels of hidden patches from the visible ones."""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models import EncoderBlock, MultimodalViT
from multimodal_vit.objectives.base import Keys, Outputs, Variables
from multimodal_vit.objectives.losses import masked_mean
from multimodal_vit.objectives.pretraining import ImageObjective, spread
from multimodal_vit.sampler import Batch, Task, named_key


class Decoder(nn.Module):
    """A light decoder: mask tokens where patches are hidden, positions, one block, pixels.

    Attributes:
      dim: its width.
      num_pixels: of a patch, with channels.
    """

    dim: int
    num_pixels: int

    @nn.compact
    def __call__(self, visible: jax.Array, restore: jax.Array) -> jax.Array:
        """Maps the outputs of visible patches to the pixels of all.

        Args:
          visible: [B, K, D], in the order of the permutation that hides patches.
          restore: int32 [B, P], the inverse of that permutation.

        Returns:
          float32 [B, P, num_pixels], in the image's order.
        """
        B, P = restore.shape
        x = nn.Dense(self.dim, name="projection")(visible.astype(jnp.float32))
        token = self.param("token", nn.initializers.normal(0.02), (self.dim,))
        hidden = jnp.broadcast_to(token, (B, P - x.shape[1], self.dim))
        x = jnp.concatenate([x, hidden], axis=1)
        x = jnp.take_along_axis(x, restore[..., None], axis=1)  # (B, P, dim)
        x = x + self.param("positions", nn.initializers.normal(0.02), (1, P, self.dim))
        x, _ = EncoderBlock(num_heads=4, mlp_dim=4 * self.dim, name="block")(x)
        return nn.Dense(self.num_pixels, name="pixels")(nn.LayerNorm(name="norm")(x))


@component("train.objective", "mae")
class MaskedAutoencoder(ImageObjective):
    """MAE (He et al. 2022): the encoder reads a quarter of the patches, a decoder draws the others.

    The loss is the mean squared error of the hidden patches' pixels, from 0 to 1. Many patches of
    these images are black: "varied_error" is that of the hidden patches that are not of one grey.
    A stem would let hidden pixels through: `model.num_conv_layers` must be 0.
    """

    best = "loss"

    class Options:
        """What is hidden, and the decoder."""

        mask_rate: float = option(0.75, "share of the patches hidden", least=0.01, most=0.99)
        decoder_dim: int = option(64, "width of the decoder, a multiple of 4", least=4, most=4_096)
        normalised: bool = option(False, "predict each patch less its mean, over its deviation")

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A stem, one patch alone, or a decoder whose heads do not come out even."""
        yield from ImageObjective.problems(config, task)
        if task is not None:
            return
        if config.model.stem != "conv" or config.model.num_conv_layers:
            yield (
                "train.objective='mae' hides pixels, which a stem would let through: take "
                "model.stem='conv' and model.num_conv_layers=0"
            )
        if config.train.objective_options.get("decoder_dim", 4) % 4:
            yield (
                "train.objective_options.decoder_dim="
                f"{config.train.objective_options.decoder_dim} must be a multiple of 4"
            )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The error on hidden patches that vary, and how far apart the summaries lie."""
        return ("varied_error", "spread")

    def sizes(self) -> tuple[int, int, int]:
        """The patches P, those that stay visible, and the pixels of one."""
        rows, columns = self.token_grid
        height, width, channels = self.task.canvas_shape
        P = rows * columns
        visible = min(max(int(P * (1 - self.options.mask_rate)), 1), P - 1)
        return P, visible, height // rows * (width // columns) * channels

    @property
    def heads(self) -> nn.Module:
        """The decoder."""
        return Decoder(self.options.decoder_dim, self.sizes()[2])

    def head_inputs(self, variables: Variables, inputs: Any) -> tuple[Any, ...]:
        """Zeros in the shape of visible outputs, and an order."""
        P, visible, _ = self.sizes()
        tokens = jnp.zeros((1, visible, self.summary_size(variables, inputs)))
        return tokens, jnp.arange(P)[None]

    def patches(self, image: jax.Array) -> jax.Array:
        """The pixels of each patch, 0 to 1, row by row: [B, P, pixels]."""
        (rows, columns), (B, H, W, C) = self.token_grid, image.shape
        x = image.astype(jnp.float32).reshape(B, rows, H // rows, columns, W // columns, C) / 255
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(B, rows * columns, -1)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The mean over hidden patches of the mean squared error of a patch's pixels."""
        image, B = batch.inputs["image"], len(batch.weight)
        P, visible, _ = self.sizes()
        noise = jax.random.uniform(named_key(keys.objective, "mask"), (B, P))
        order = noise.argsort(axis=1)
        restore = order.argsort(axis=1)
        hidden = restore >= visible  # (B, P)
        prediction, summary, losses, collections = self.drawn(
            variables, image, order, restore, keys, train
        )
        pixels = self.patches(image)
        target = pixels
        if self.options.normalised:
            mean = pixels.mean(axis=-1, keepdims=True)
            target = (pixels - mean) / jnp.sqrt(pixels.var(axis=-1, keepdims=True, ddof=1) + 1e-6)
        error = ((prediction - target) ** 2).mean(axis=-1)  # (B, P)
        varied = pixels.max(axis=-1) > pixels.min(axis=-1)
        apart = spread(summary.astype(jnp.float32), batch.weight > 0)
        metrics = {
            "varied_error": masked_mean(error, hidden & varied),
            "spread": jnp.broadcast_to(apart, (B,)),
        }
        return Outputs(masked_mean(error, hidden), None, metrics, losses, collections)

    def drawn(
        self,
        variables: Variables,
        image: jax.Array,
        order: jax.Array,
        restore: jax.Array,
        keys: Keys,
        train: bool,
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array], dict[str, Any]]:
        """The pixels of all patches [B, P, pixels] from the first ones of an order int32 [B, P].

        Also the summary, the fusion's losses and the collections after the pass.
        """
        _, visible, _ = self.sizes()
        kept = self.without_words(len(image), patches=order[:, :visible])

        def encode(model: MultimodalViT) -> Any:
            tokens = model.embed(self.image_inputs(image), train=train)
            summary, found = model.fuse(tokens, kept, train=train)
            return found["tokens"]["patches"], summary, found.get("losses", {})

        (outputs, summary, losses), collections = self.ask(variables, encode, keys, train)
        return self.of_heads(variables, outputs, restore), summary, losses, collections
