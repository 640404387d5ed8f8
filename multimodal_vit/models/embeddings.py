"""Embeddings: raw inputs in, token sequences [B, T, D] out, one module for each modality.

An embedding names the input that it reads in `reads`, and is told whether it is trained. To add a
modality, write such a module and a line in `multimodal_vit.models.EMBEDDINGS`.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype


class WordEmbedding(nn.Module):
    """Words to tokens: a trained table of `vocabulary_size` vectors (thesis, section 2.1)."""

    vocabulary_size: int
    dim: int
    dtype: Dtype = jnp.float32
    reads: ClassVar[str] = "words"

    @nn.compact
    def __call__(self, words: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps int32 [B, n], each 0 to `vocabulary_size` - 1, to [B, n, D]."""
        del train
        init = nn.initializers.normal(0.02)
        table = nn.Embed(self.vocabulary_size, self.dim, embedding_init=init, dtype=self.dtype)
        return table(words)


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


class ImageEmbedding(nn.Module):
    """Images to tokens: pixels scaled to 0…1, an optional stem, patches."""

    stem: nn.Module
    patches: PatchEmbedding
    reads: ClassVar[str] = "image"

    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps uint8 [B, H, W, C] to [B, P, D]."""
        del train
        return self.patches(self.stem(image.astype(self.patches.dtype) / 255))


class AudioEmbedding(nn.Module):
    """Recordings to tokens: so many frames at a time, flattened and projected.

    The tokens of the n recordings of an example follow each other.

    Attributes:
      patch_frames: frames in a token; divides F.
      dim: D.
      dtype: of the computation.
    """

    patch_frames: int
    dim: int
    dtype: Dtype = jnp.float32
    reads: ClassVar[str] = "audio"

    @nn.compact
    def __call__(self, audio: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps float32 [B, n, F, C] to [B, n·F / `patch_frames`, D]."""
        del train
        B, _, _, C = audio.shape
        patches = audio.astype(self.dtype).reshape(B, -1, self.patch_frames * C)
        return nn.Dense(self.dim, dtype=self.dtype, name="projection")(patches)
