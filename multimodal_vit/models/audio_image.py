"""A digit from its image and a recording of it: models A, B and C (Gandham, sections 2.2 and 3).

Each modality has an encoder that returns one feature vector, an embedding of one token [B, 1, F];
`LateFusion` joins them by concatenation or addition. Model C is printed layer by layer in the
paper's Figure 4; what its text leaves open of A and B is chosen here and marked so.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from multimodal_vit.models.convolution import Conv

PIXEL_MEAN, PIXEL_STD = 0.1, 0.3  # section 2.1
NUM_STEPS, STEP_SIZE = 10, 50  # of the paper's layout: 500 of the 507 values
HEAD_DROPOUT_RATE = 0.5  # of every hidden linear layer that has dropout


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What tells models A, B and C apart.

    Attributes:
      pool_sizes: of the two convolutions' max pooling.
      batch_norm: in the image encoder; with it come dropout and the linear layers.
      conv_dropout_rate: of whole channels, after each pooling.
      image_dims: linear layers after the convolutions.
      lstm_dim: hidden size.
      num_lstm_layers: of the stack.
      lstm_dropout_rate: between the layers.
      lstm_batch_norm: of the sound's features.
      lstm_skip: whether the features are every layer's last state, not only the top one's.
      head_dims: hidden linear layers after the fusion.
      head_batch_norm: of these; with it comes dropout.
    """

    pool_sizes: tuple[int, int]
    batch_norm: bool
    conv_dropout_rate: float
    image_dims: tuple[int, ...]
    lstm_dim: int
    num_lstm_layers: int
    lstm_dropout_rate: float
    lstm_batch_norm: bool
    lstm_skip: bool
    head_dims: tuple[int, ...]
    head_batch_norm: bool

    @property
    def image_features(self) -> int:
        """F of a 28×28 image."""
        side = 28 // self.pool_sizes[0] // self.pool_sizes[1]
        return self.image_dims[-1] if self.image_dims else 32 * side**2

    @property
    def audio_features(self) -> int:
        """F of a recording."""
        return self.lstm_dim * (self.num_lstm_layers if self.lstm_skip else 1)


SIZES = {
    # Section 3.1. 128 features; pooling by 4 and 3 (2×2×32) is chosen, as is one LSTM layer.
    "a": Sizes((4, 3), False, 0.0, (), 32, 1, 0.0, False, False, (), False),
    # Section 3.2. The image encoder's linear layers are C's, and the LSTM's size too: chosen.
    "b": Sizes((2, 2), True, 0.3, (100, 72), 36, 2, 0.3, True, False, (86, 54), True),
    # Section 3.3 and Figure 4.
    "c": Sizes((2, 2), True, 0.25, (100, 72), 36, 2, 0.3, False, True, (60, 46), False),
}
LAYOUTS = ("paper", "frames")


def max_pool(x: jax.Array, size: int) -> jax.Array:
    """The largest of each size×size square, [B, H, W, C] → [B, ⌊H / size⌋, ⌊W / size⌋, C].

    Written as a reshape: XLA:CPU differentiates its windowed maximum slowly.
    """
    B, H, W, C = x.shape
    h, w = H // size, W // size
    x = x[:, : h * size, : w * size].reshape(B, h, size, w, size, C)
    return x.max(axis=(2, 4))


def _norm(train: bool, name: str) -> nn.BatchNorm:
    """PyTorch's BatchNorm: its momentum 0.1 is the share of the new, here of the old."""
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, name=name)


class ImageFeatures(nn.Module):
    """The image encoder: two convolutions, each pooled, then linear layers.

    Attributes:
      sizes: of which model.
      flip_rate: the probability that an image is mirrored in training; the paper's is 0.5.
    """

    sizes: Sizes
    flip_rate: float = 0.0
    reads: ClassVar[str] = "image"

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
                x = _norm(train, f"conv_norm_{i}")(x)
            x = whole_channels(max_pool(nn.relu(x), pool_size))
        x = x.reshape(len(x), -1)  # (B, 128) or (B, 1568)
        x = _linear_layers(x, sizes.image_dims, sizes.batch_norm, train, "linear")
        return x[:, None]


def _linear_layers(
    x: jax.Array, dims: tuple[int, ...], batch_norm: bool, train: bool, name: str
) -> jax.Array:
    """Linear layers with ReLU, within a compact module; with `batch_norm` also dropout."""
    dropout = nn.Dropout(HEAD_DROPOUT_RATE, deterministic=not train)
    for i, dim in enumerate(dims):
        x = nn.Dense(dim, name=f"{name}_{i}")(x)
        if batch_norm:
            x = _norm(train, f"{name}_norm_{i}")(x)
        x = nn.relu(x)
        if batch_norm:
            x = dropout(x)
    return x


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

        start = jnp.zeros((len(x), H))
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
    values = audio.reshape(len(audio), -1)[:, : NUM_STEPS * STEP_SIZE]
    return values.reshape(-1, NUM_STEPS, STEP_SIZE)


class AudioFeatures(nn.Module):
    """The audio encoder: stacked LSTM layers, their last states.

    Attributes:
      sizes: of which model.
      layout: one of `LAYOUTS`; see `in_steps`.
    """

    sizes: Sizes
    layout: str = "paper"
    reads: ClassVar[str] = "audio"

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
            x = _norm(train, "norm")(x)
        return x[:, None]


class LateFusion(nn.Module):
    """Feature vectors concatenated or added, then the hidden layers of the classifier.

    Attributes:
      sizes: of which model.
      adds: whether the features are added, not laid one after the other.
    """

    sizes: Sizes
    adds: bool

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of features [B, 1, F_m] to the summary [B, D] and no intermediates."""
        del return_attention
        features = [x[:, 0] for x in tokens.values()]
        x = sum(features) if self.adds else jnp.concatenate(features, axis=-1)
        sizes = self.sizes
        return _linear_layers(x, sizes.head_dims, sizes.head_batch_norm, train, "linear"), {}
