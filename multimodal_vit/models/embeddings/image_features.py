"""The image encoder of the audio-image paper."""

from collections.abc import Iterator
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.audio_image import (
    SIZES,
    Sizes,
    linear_layers,
    norm,
    one_image_and_its_recording,
    sizes_option,
)
from multimodal_vit.models.base import Embedding
from multimodal_vit.models.convolution import Conv
from multimodal_vit.sampler import Task

PIXEL_MEAN, PIXEL_STD = 0.1, 0.3  # section 2.1


def max_pool(x: jax.Array, size: int) -> jax.Array:
    """The largest of each size×size square, [B, H, W, C] → [B, ⌊H / size⌋, ⌊W / size⌋, C].

    Written as a reshape: XLA:CPU differentiates its windowed maximum slowly.
    """
    B, H, W, C = x.shape
    h, w = H // size, W // size
    x = x[:, : h * size, : w * size].reshape(B, h, size, w, size, C)
    return x.max(axis=(2, 4))


@component("model.modalities", "image_features")
class ImageFeatures(Embedding):
    """The image encoder: two convolutions, each pooled, then linear layers.

    Attributes:
      sizes: of which model.
      flip_rate: the probability that an image is mirrored in training; the paper's is 0.5.
    """

    sizes: Sizes
    flip_rate: float = 0.0
    reads: ClassVar[str] = "image"
    for_fusions: ClassVar[tuple[str, ...]] = ("concatenation", "addition")
    uses: ClassVar[tuple[str, ...]] = ()

    class Options:
        """Which model, and its augmentation."""

        sizes: str = sizes_option()
        flip_rate: float = option(
            0.0, "of mirrored images in training; the paper has 0.5", least=0, most=1
        )

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "ImageFeatures":
        """The image encoder of one of the models."""
        del model, task
        return cls(SIZES[options.sizes], options.flip_rate)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A grid of several images."""
        if task is None:
            yield from one_image_and_its_recording(config, "image_features")

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps uint8 [B, H, W, C] to features [B, 1, F]."""
        sizes = self.sizes
        x = (image.astype(jnp.float32) / 255 - PIXEL_MEAN) / PIXEL_STD
        if train and self.flip_rate:
            flips = jax.random.bernoulli(
                self.make_rng("dropout"), self.flip_rate, (len(x), 1, 1, 1)
            )
            x = jnp.where(flips, x[:, :, ::-1], x)
        whole_channels = nn.Dropout(
            sizes.conv_dropout_rate, broadcast_dims=(1, 2), deterministic=not train
        )
        for i, (channels, pool_size) in enumerate(zip((16, 32), sizes.pool_sizes, strict=True)):
            x = Conv(channels, padding="SAME", name=f"conv_{i}")(x)
            if sizes.batch_norm:
                x = norm(train, f"conv_norm_{i}")(x)
            x = whole_channels(max_pool(nn.relu(x), pool_size))
        x = x.reshape(x.shape[0], -1)  # (B, 128) or (B, 1568)
        x = linear_layers(x, sizes.image_dims, sizes.batch_norm, train, "linear")
        return x[:, None]
