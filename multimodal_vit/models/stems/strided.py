"""Convolutions that halve the image."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.base import Stem
from multimodal_vit.models.convolution import Conv
from multimodal_vit.sampler import Task


@component("model.stem", "strided")
class StridedStem(Stem):
    """Convolutions that halve the image: few positions are left, so that two cores suffice.

    `num_layers` 3×3 convolutions of stride 2 with zero padding, the i-th with 16·2^(i-1) channels,
    each followed by layer normalisation and ReLU (after Xiao et al. 2021, "Early Convolutions Help
    Transformers See Better"). Not the thesis's: it is the stem of the `:small` presets.
    """

    num_layers: int
    dtype: Dtype = jnp.float32
    uses: ClassVar[tuple[str, ...]] = ("model.num_conv_layers",)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "StridedStem":
        """`model.num_conv_layers` of them."""
        del task, options
        return cls(model.num_conv_layers, jnp.dtype(model.dtype))

    def describe(self) -> dict[str, str]:
        """Its layers."""
        return {"stem": f"strided, {self.num_layers} layers" if self.num_layers else "none"}

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, ⌈H / 2^L⌉, ⌈W / 2^L⌉, 16·2^(L-1)] for L layers."""
        for i in range(self.num_layers):
            conv = Conv(16 * 2**i, stride=2, padding="SAME", dtype=self.dtype, name=f"conv_{i}")
            image = conv(image)
            image = nn.relu(nn.LayerNorm(dtype=self.dtype, name=f"norm_{i}")(image))
        return image

    @staticmethod
    def output_side(side: int, num_layers: int) -> int:
        """The side that is left of `side` pixels."""
        return -(-side // 2**num_layers)
