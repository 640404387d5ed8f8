"""The fusions of the audio-image paper: feature vectors concatenated or added."""

from collections.abc import Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.audio_image import FEATURES, SIZES, Sizes, linear_layers, sizes_option
from multimodal_vit.models.base import Fusion
from multimodal_vit.sampler import Task


class LateFusion(Fusion):
    """Feature vectors joined, then the hidden layers of the classifier.

    Attributes:
      sizes: of which model.
    """

    sizes: Sizes
    reads: ClassVar[tuple[str, ...]] = FEATURES
    uses: ClassVar[tuple[str, ...]] = ()

    class Options:
        """Which model."""

        sizes: str = sizes_option()

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "LateFusion":
        """The classifier of one of the models."""
        del model, task
        return cls(SIZES[options.sizes])

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Parts of different models."""
        if task is not None:
            return
        own = config.model.fusion_options.sizes
        for name, options in config.model.modality_options.items():
            if name in FEATURES and options.sizes != own:
                yield (
                    f"model.modality_options.{name}.sizes={options.sizes!r} and "
                    f"model.fusion_options.sizes={own!r} are of different models; name one"
                )

    def join(self, features: list[jax.Array]) -> jax.Array:
        """Feature vectors [B, F_m] to one."""
        raise NotImplementedError

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of features [B, 1, F_m] to the summary [B, D] and no intermediates."""
        del return_attention
        x = self.join([x[:, 0] for x in tokens.values()])
        sizes = self.sizes
        return linear_layers(x, sizes.head_dims, sizes.head_batch_norm, train, "linear"), {}


@component("model.fusion", "concatenation")
class Concatenation(LateFusion):
    """Feature vectors one after the other, then the classifier's layers (Gandham, section 2.2)."""

    def join(self, features: list[jax.Array]) -> jax.Array:
        """[B, F_m] each to [B, ΣF_m]."""
        return jnp.concatenate(features, axis=-1)


@component("model.fusion", "addition")
class Addition(LateFusion):
    """Feature vectors added, then the classifier's layers (Gandham, section 3.3)."""

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Also features of different lengths."""
        yield from LateFusion.problems(config, task)
        name = config.model.fusion_options.sizes
        sizes = SIZES[name]
        differ = sizes.image_features != sizes.audio_features
        if task is None and differ and len(config.model.modalities) > 1:
            yield (
                f"model.fusion='addition' cannot add the {sizes.image_features} features of the "
                f"image to the {sizes.audio_features} of the sound of "
                f"model.fusion_options.sizes={name!r}; take model.fusion='concatenation'"
            )

    def join(self, features: list[jax.Array]) -> jax.Array:
        """[B, F] each to [B, F]."""
        return sum(features[1:], features[0])
