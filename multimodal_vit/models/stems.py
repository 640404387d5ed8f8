"""What an image passes through before it is cut into patches: nothing, or convolutions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from multimodal_vit.models.convolution import Conv


class ConvStem(nn.Module):
    """The thesis's convolutional pre-processor (section 3.3.1, Table C.1).

    `num_layers` 3×3 convolutions of stride 1, without padding or pooling, the i-th with 16·i
    channels, each followed by ReLU. With 0 layers it is the identity: the thesis's condition B.
    """

    num_layers: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H - 2·L, W - 2·L, max(C, 16·L)] for L layers."""
        for i in range(self.num_layers):
            image = nn.relu(Conv(16 * (i + 1), dtype=self.dtype, name=f"conv_{i}")(image))
        return image

    @staticmethod
    def output_side(side: int, num_layers: int) -> int:
        """The side that is left of `side` pixels."""
        return side - 2 * num_layers


class StridedStem(nn.Module):
    """Convolutions that halve the image: few positions are left, so that two cores suffice.

    `num_layers` 3×3 convolutions of stride 2 with zero padding, the i-th with 16·2^(i-1) channels,
    each followed by layer normalisation and ReLU (after Xiao et al. 2021, "Early Convolutions Help
    Transformers See Better"). Not the thesis's: it is the stem of the `:small` presets.
    """

    num_layers: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, ⌈H / 2^L⌉, ⌈W / 2^L⌉, 16·2^(L-1)] for L layers."""
        for i in range(self.num_layers):
            image = Conv(16 * 2**i, stride=2, padding="SAME", dtype=self.dtype, name=f"conv_{i}")(
                image
            )
            image = nn.relu(nn.LayerNorm(dtype=self.dtype, name=f"norm_{i}")(image))
        return image

    @staticmethod
    def output_side(side: int, num_layers: int) -> int:
        """The side that is left of `side` pixels."""
        return -(-side // 2**num_layers)


STEMS: dict[str, type[ConvStem] | type[StridedStem]] = {"conv": ConvStem, "strided": StridedStem}
