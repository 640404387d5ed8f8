"""A digit from its image and a recording of it: models A, B and C (Gandham, sections 2.2 and 3).

What the parts of these models share. Each modality has an encoder that returns one feature vector,
an embedding of one token [B, 1, F] (`embeddings.image_features`, `embeddings.audio_features`);
`fusions.late` joins them by concatenation or addition. Model C is printed layer by layer in the
paper's Figure 4; what its text leaves open of A and B is chosen here and marked so.
"""

import dataclasses
from collections.abc import Iterator

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from multimodal_vit.components import option

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
FEATURES = ("image_features", "audio_features")


def sizes_option() -> str:
    """Which of the models a part belongs to: an option of each of their parts."""
    return option("c", "of which model of the paper", choices=tuple(SIZES))


def one_image_and_its_recording(config: ConfigDict, modality: str) -> Iterator[str]:
    """What is wrong where these models are given a grid, or a text that may be false."""
    if tuple(config.task.grid) != (1, 1) or config.task.false_rate != 0:
        yield (
            f"model.modalities: {modality!r} is of one image and one recording of it: "
            "task.grid=(1, 1), task.false_rate=0.0"
        )


def norm(train: bool, name: str) -> nn.BatchNorm:
    """PyTorch's BatchNorm: its momentum 0.1 is the share of the new, here of the old."""
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, name=name)


def linear_layers(
    x: jax.Array, dims: tuple[int, ...], batch_norm: bool, train: bool, name: str
) -> jax.Array:
    """Linear layers with ReLU, within a compact module; with `batch_norm` also dropout."""
    dropout = nn.Dropout(HEAD_DROPOUT_RATE, deterministic=not train)
    for i, dim in enumerate(dims):
        x = nn.Dense(dim, name=f"{name}_{i}")(x)
        if batch_norm:
            x = norm(train, f"{name}_norm_{i}")(x)
        x = nn.relu(x)
        if batch_norm:
            x = dropout(x)
    return x
