"""EfficientNet's blocks, and its compound scaling of depth and width."""

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.base import Stem
from multimodal_vit.models.convolution import Conv, DepthwiseConv
from multimodal_vit.models.stems.norms import Norm, norm_option
from multimodal_vit.sampler import Task

DEPTH, WIDTH, RESOLUTION = 1.2, 1.1, 1.15  # α, β, γ of Tan & Le 2019, section 3.3
# Expansion, kernel, stride, channels and blocks of each stage: the first three of EfficientNet-B0.
STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2))


def rounded_width(channels: int, phi: int) -> int:
    """β^φ times so many channels, as a multiple of 8 and never below 90 % of it."""
    wanted = channels * WIDTH**phi
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


def rounded_depth(blocks: int, phi: int) -> int:
    """α^φ times so many blocks, rounded up."""
    return math.ceil(blocks * DEPTH**phi)


class MBConv(nn.Module):
    """Expand, convolve each channel alone, squeeze and excite, project; the input is added.

    As in EfficientNet (Tan & Le 2019), without its drop-connect. The input is added where shape and
    channels stay.
    """

    features: int
    expansion: int
    kernel_size: int
    stride: int
    norm: str
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps [B, H, W, C] to [B, ⌈H / stride⌉, ⌈W / stride⌉, `features`]."""
        C = x.shape[-1]

        def normed(name: str, y: jax.Array) -> jax.Array:
            return Norm(self.norm, self.dtype, name=name)(y, train)

        y = x
        if self.expansion > 1:
            y = nn.Dense(C * self.expansion, use_bias=False, dtype=self.dtype, name="expand")(y)
            y = nn.swish(normed("expand_norm", y))
        depthwise = DepthwiseConv(self.kernel_size, self.stride, self.dtype, name="depthwise")
        y = nn.swish(normed("depthwise_norm", depthwise(y)))
        gate = y.mean(axis=(1, 2))  # (B, C · expansion)
        gate = nn.swish(nn.Dense(max(1, C // 4), dtype=self.dtype, name="squeeze")(gate))
        gate = nn.Dense(y.shape[-1], dtype=self.dtype, name="excite")(gate)
        y = y * nn.sigmoid(gate)[:, None, None]
        y = nn.Dense(self.features, use_bias=False, dtype=self.dtype, name="project")(y)
        y = normed("project_norm", y)
        return y + x if self.stride == 1 and self.features == C else y


@component("model.stem", "mbconv")
class MBConvStem(Stem):
    """The first three stages of EfficientNet (Tan & Le 2019), scaled in depth and width.

    `phi` scales the blocks by 1.2^φ and the channels by 1.1^φ; the third factor, the resolution, is
    that of the data: larger images of the same digits show nothing more.

    Attributes:
      phi: φ.
      norm: one of `norms.NORMS`.
      dtype: of the computation.
    """

    phi: int = 0
    norm: str = "batch"
    dtype: Dtype = jnp.float32
    num_layers: ClassVar[int] = 0
    takes_train: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ()

    class Options:
        """Size and normalisation."""

        phi: int = option(0, "1.2^φ times the blocks, 1.1^φ times the channels", least=0, most=8)
        norm: str = norm_option("batch")

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "MBConvStem":
        """Of the size that the options say."""
        del task
        return cls(options.phi, options.norm, jnp.dtype(model.dtype))

    def describe(self) -> dict[str, str]:
        """Its size."""
        return {"stem": f"MBConv, φ = {self.phi}, {self.norm} normalisation"}

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [B, H, W, C] to [B, ⌈H / 8⌉, ⌈W / 8⌉, 40 · 1.1^φ]."""
        x = Conv(rounded_width(16, self.phi), 3, 2, "SAME", self.dtype, name="conv")(image)
        x = nn.swish(Norm(self.norm, self.dtype, name="norm")(x, train))
        for i, (expansion, kernel, stride, channels, blocks) in enumerate(STAGES):
            for j in range(rounded_depth(blocks, self.phi)):
                block = MBConv(
                    rounded_width(channels, self.phi), expansion, kernel, stride if j == 0 else 1,
                    self.norm, self.dtype, name=f"stage_{i}_block_{j}",
                )  # fmt: skip
                x = block(x, train)
        return x

    @staticmethod
    def output_side(side: int, num_layers: int) -> int:
        """An eighth of the side, rounded up."""
        del num_layers
        return -(-side // 8)
