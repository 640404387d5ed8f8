"""The thesis's convolutions."""

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


@component("model.stem", "conv")
class ConvStem(Stem):
    """The thesis's convolutional pre-processor (section 3.3.1, Table C.1).

    `num_layers` 3×3 convolutions of stride 1, without padding or pooling, the i-th with 16·i
    channels, each followed by ReLU. With 0 layers it is the identity: the thesis's condition B.
    """

    num_layers: int
    dtype: Dtype = jnp.float32
    uses: ClassVar[tuple[str, ...]] = ("model.num_conv_layers",)

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "ConvStem":
        """`model.num_conv_layers` of them."""
        del task, options
        return cls(model.num_conv_layers, jnp.dtype(model.dtype))

    def describe(self) -> dict[str, str]:
        """Its layers."""
        return {"stem": f"conv, {self.num_layers} layers" if self.num_layers else "none"}

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
