"""Recordings to tokens."""

from collections.abc import Iterator
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component, names, option
from multimodal_vit.models.base import Embedding
from multimodal_vit.sampler import Task


def needs_recordings(modality: str, task: Task) -> Iterator[str]:
    """What is wrong where a modality hears and no recordings are named."""
    if task.audio_shape is None:
        yield (
            f"model.modalities: {modality!r} needs recordings; name some with data.audio: "
            f"{', '.join(names('data.audio'))}"
        )


@component("model.modalities", "audio")
class AudioEmbedding(Embedding):
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
    uses: ClassVar[tuple[str, ...]] = ()

    class Options:
        """What a token holds."""

        patch_frames: int = option(3, "frames of a recording in one token", least=1, most=10_000)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "AudioEmbedding":
        """Tokens of the encoder's width."""
        del task
        return cls(options.patch_frames, model.embedding_dim, jnp.dtype(model.dtype))

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """No recordings, or frames that do not fit them."""
        if task is None:
            return
        yield from needs_recordings("audio", task)
        patch_frames = config.model.modality_options.audio.patch_frames
        if task.audio_shape is not None and task.audio_shape[0] % patch_frames:
            frames = task.audio_shape[0]
            fitting = [str(n) for n in range(1, frames + 1) if frames % n == 0]
            yield (
                f"model.modality_options.audio.patch_frames={patch_frames} does not divide the "
                f"{frames} frames of a recording; these do: {', '.join(fitting)}"
            )

    @nn.compact
    def __call__(self, audio: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps float32 [B, n, F, C] to [B, n·F / `patch_frames`, D]."""
        del train
        B, _, _, C = audio.shape
        patches = audio.astype(self.dtype).reshape(B, -1, self.patch_frames * C)
        return nn.Dense(self.dim, dtype=self.dtype, name="projection")(patches)
