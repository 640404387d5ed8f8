"""The audio encoder of the audio-image paper."""

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
    norm,
    one_image_and_its_recording,
    sizes_option,
)
from multimodal_vit.models.base import Embedding
from multimodal_vit.models.embeddings.audio import needs_recordings
from multimodal_vit.sampler import Task

NUM_STEPS, STEP_SIZE = 10, 50  # of the paper's layout: 500 of the 507 values
LAYOUTS = ("paper", "frames")


class LSTM(nn.Module):
    """One LSTM layer with PyTorch's parameters: two biases, uniform in ±1 / √H.

    Flax's cells have one bias and would not agree with the paper's printout. The products with the
    inputs are one matrix product before the loop over the steps.
    """

    dim: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, T, I] to the states [B, T, H]."""
        H = self.dim
        bound = H**-0.5

        def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        input_kernel = self.param("input_kernel", uniform, (x.shape[-1], 4 * H))
        input_bias = self.param("input_bias", uniform, (4 * H,))
        recurrent_kernel = self.param("recurrent_kernel", uniform, (H, 4 * H))
        recurrent_bias = self.param("recurrent_bias", uniform, (4 * H,))
        from_inputs = x @ input_kernel + (input_bias + recurrent_bias)  # (B, T, 4·H)

        def step(
            carry: tuple[jax.Array, jax.Array], of_input: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            hidden, cell = carry
            gates = of_input + hidden @ recurrent_kernel  # (B, 4·H)
            enter, forget, new, leave = jnp.split(gates, 4, axis=-1)
            cell = nn.sigmoid(forget) * cell + nn.sigmoid(enter) * jnp.tanh(new)
            hidden = nn.sigmoid(leave) * jnp.tanh(cell)
            return (hidden, cell), hidden

        start = jnp.zeros((x.shape[0], H))
        # The steps are small; a loop's overhead on the CPU is not.
        _, states = jax.lax.scan(step, (start, start), from_inputs.swapaxes(0, 1), unroll=13)
        return states.swapaxes(0, 1)  # (B, T, H)


def in_steps(audio: jax.Array, layout: str) -> jax.Array:
    """A recording as the steps that an LSTM reads, [B, F, C] → [B, T, I].

    "paper" cuts the F·C = 507 values into 10 steps of 50 and drops the last 7 (section 2.1): a step
    holds 3 frames and 11 values, and each begins elsewhere in a frame. "frames" are the frames.
    """
    if layout == "frames":
        return audio
    values = audio.reshape(audio.shape[0], -1)[:, : NUM_STEPS * STEP_SIZE]
    return values.reshape(-1, NUM_STEPS, STEP_SIZE)


@component("model.modalities", "audio_features")
class AudioFeatures(Embedding):
    """The audio encoder: stacked LSTM layers, their last states.

    Attributes:
      sizes: of which model.
      layout: one of `LAYOUTS`; see `in_steps`.
    """

    sizes: Sizes
    layout: str = "paper"
    reads: ClassVar[str] = "audio"
    for_fusions: ClassVar[tuple[str, ...]] = ("concatenation", "addition")
    uses: ClassVar[tuple[str, ...]] = ()

    class Options:
        """Which model, and how it reads."""

        sizes: str = sizes_option()
        layout: str = option("paper", "how the LSTM reads a recording", choices=LAYOUTS)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "AudioFeatures":
        """The audio encoder of one of the models."""
        del model, task
        return cls(SIZES[options.sizes], options.layout)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A grid of several images, or no recordings."""
        if task is None:
            yield from one_image_and_its_recording(config, "audio_features")
        else:
            yield from needs_recordings("audio_features", task)

    @nn.compact
    def __call__(self, audio: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps float32 [B, 1, F, C] to features [B, 1, F']."""
        sizes = self.sizes
        x = in_steps(audio[:, 0], self.layout)  # (B, T, I)
        last = []
        for i in range(sizes.num_lstm_layers):
            if i:
                x = nn.Dropout(sizes.lstm_dropout_rate, deterministic=not train)(x)
            x = LSTM(sizes.lstm_dim, name=f"lstm_{i}")(x)
            last.append(x[:, -1])
        x = jnp.concatenate(last, axis=-1) if sizes.lstm_skip else last[-1]
        if sizes.lstm_batch_norm:
            x = norm(train, "norm")(x)
        return x[:, None]
