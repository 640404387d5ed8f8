"""Images to tokens: a stem, then patches."""

from collections.abc import Iterator
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component, get
from multimodal_vit.models.base import Embedding, Stem
from multimodal_vit.sampler import Task


def patchify(image: jax.Array, patch_size: int) -> jax.Array:
    """Cuts an image into non-overlapping square patches, row by row, and flattens each.

    Within a patch the order is row, column, channel.

    Args:
      image: [B, H, W, C]; `patch_size` divides H and W.
      patch_size: p, the side of a patch.

    Returns:
      [B, (H / p)·(W / p), p·p·C].
    """
    B, H, W, C = image.shape
    p = patch_size
    x = image.reshape(B, H // p, p, W // p, p, C).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(B, (H // p) * (W // p), p * p * C)


class PatchEmbedding(nn.Module):
    """Feature maps to tokens: patches, flattened and projected (thesis, section 3.3.2)."""

    patch_size: int
    dim: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, (H / p)·(W / p), D].

        Raises:
          ValueError: the patch size does not divide H and W.
        """
        if features.shape[1] % self.patch_size or features.shape[2] % self.patch_size:
            raise ValueError(
                f"patches of {self.patch_size}×{self.patch_size} do not tile a feature map of "
                f"{features.shape[1]}×{features.shape[2]}"
            )
        patches = patchify(features, self.patch_size)  # (B, P, p·p·C)
        return nn.Dense(self.dim, dtype=self.dtype, name="projection")(patches)


@component("model.modalities", "patches")
class ImageEmbedding(Embedding):
    """Images to tokens: pixels scaled to 0…1, an optional stem, patches (thesis, section 3.3)."""

    stem: Stem
    patches: PatchEmbedding
    reads: ClassVar[str] = "image"
    uses: ClassVar[tuple[str, ...]] = ("model.patch_size", "model.num_conv_layers")

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "ImageEmbedding":
        """The stem that `model.stem` names, and patches of its output."""
        del options
        stem = get("model.stem", model.stem).target.build(model, task, model.stem_options)
        patches = PatchEmbedding(model.patch_size, model.embedding_dim, jnp.dtype(model.dtype))
        return cls(stem=stem, patches=patches)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A stem and a patch size that do not fit the pasted image."""
        if task is None:
            return
        model = config.model
        height, width, _ = task.canvas_shape
        stem = get("model.stem", model.stem).target

        def fits(num_layers: int, patch_size: int) -> bool:
            sides = [stem.output_side(side, num_layers) for side in (height, width)]
            return all(side >= patch_size and side % patch_size == 0 for side in sides)

        if not fits(model.num_conv_layers, model.patch_size):
            sides = [stem.output_side(side, model.num_conv_layers) for side in (height, width)]
            layers = [str(n) for n in range(9) if fits(n, model.patch_size)]
            patches = [
                str(p) for p in range(1, max(height, width) + 1) if fits(model.num_conv_layers, p)
            ]
            yield (
                f"model.num_conv_layers={model.num_conv_layers} leaves {sides[0]}×{sides[1]} of "
                f"the {height}×{width} image, which model.patch_size={model.patch_size} does not "
                "tile; with this patch size these model.num_conv_layers fit: "
                f"{', '.join(layers) or 'none'}; with these layers these patch sizes: "
                f"{', '.join(patches) or 'none'}"
            )

    def token_grid(self, task: Task) -> tuple[int, int]:
        """Rows and columns of the patches."""
        height, width = (
            self.stem.output_side(side, self.stem.num_layers) for side in task.canvas_shape[:2]
        )
        return height // self.patches.patch_size, width // self.patches.patch_size

    def describe(self) -> dict[str, str]:
        """Stem and patch."""
        side = self.patches.patch_size
        return self.stem.describe() | {"patch": f"{side}×{side}"}

    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps uint8 [B, H, W, C] to [B, P, D]."""
        return self.patches(self.stem.of(image.astype(self.patches.dtype) / 255, train))
