"""Residual convolutions, and the same without shortcuts."""

from collections.abc import Iterator
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.base import Stem
from multimodal_vit.models.convolution import Conv
from multimodal_vit.models.stems.norms import Norm, norm_option
from multimodal_vit.sampler import Task

SHORTCUTS = ("identity", "projection", "none")


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions F, and ReLU(F(x) + x) (He et al. 2015, Figure 2).

    Attributes:
      features: of the output.
      stride: of the first convolution.
      shortcut: "identity", where the shape changes by subsampling and channels of zeros (the
        paper's A); "projection", there a 1×1 convolution (B); "none", ReLU(F(x)).
      norm: after each convolution, one of `norms.NORMS`.
      dtype: of the computation.
    """

    features: int
    stride: int
    shortcut: str
    norm: str
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps [B, H, W, C] to [B, ⌈H / stride⌉, ⌈W / stride⌉, `features`]."""
        F, s = self.features, self.stride

        def conv(name: str, y: jax.Array, stride: int, size: int = 3) -> jax.Array:
            y = Conv(F, size, stride, "SAME", self.dtype, name=name)(y)
            return Norm(self.norm, self.dtype, name=f"{name}_norm")(y, train)

        y = nn.relu(conv("first", x, s))
        y = conv("second", y, 1)
        if self.shortcut == "none":
            return nn.relu(y)
        if s > 1 or x.shape[-1] != F:
            if self.shortcut == "projection":
                x = conv("shortcut", x, s, size=1)
            else:
                x = jnp.pad(x[:, ::s, ::s], ((0, 0), (0, 0), (0, 0), (0, F - x.shape[-1])))
        return nn.relu(y + x)


@component("model.stem", "residual")
class ResidualStem(Stem):
    """Residual convolutions (He et al. 2015); without shortcuts the plain stack of equal size.

    A 3×3 convolution of stride 2 to 16 channels, then blocks of two layers, half of them with 16
    channels and half, the first of stride 2, with 32: the paper's first two stages for small
    images. `model.num_conv_layers` counts the layers of the blocks.

    Attributes:
      num_layers: of the blocks, even.
      shortcut: one of `SHORTCUTS`.
      norm: one of `norms.NORMS`.
      dtype: of the computation.
    """

    num_layers: int
    shortcut: str = "identity"
    norm: str = "batch"
    dtype: Dtype = jnp.float32
    takes_train: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("model.num_conv_layers",)

    class Options:
        """Shortcuts and normalisation."""

        shortcut: str = option("identity", "around each two layers", choices=SHORTCUTS)
        norm: str = norm_option("batch")

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "ResidualStem":
        """`model.num_conv_layers` layers in blocks."""
        del task
        dtype = jnp.dtype(model.dtype)
        return cls(model.num_conv_layers, options.shortcut, options.norm, dtype)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """An odd number of layers, or none."""
        layers = config.model.num_conv_layers
        if task is None and (layers < 2 or layers % 2):
            yield (
                f"model.num_conv_layers={layers} must be an even number from 2 with "
                "model.stem='residual', whose blocks have two layers each"
            )

    def describe(self) -> dict[str, str]:
        """Its layers."""
        kind = "plain" if self.shortcut == "none" else f"residual, {self.shortcut}"
        return {"stem": f"{kind}, {self.num_layers} layers, {self.norm} normalisation"}

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [B, H, W, C] to [B, H', W', 16 or 32], sides as `output_side` says."""
        x = Conv(16, 3, 2, "SAME", self.dtype, name="conv")(image)
        x = nn.relu(Norm(self.norm, self.dtype, name="norm")(x, train))
        blocks = self.num_layers // 2
        first = (blocks + 1) // 2
        for i in range(blocks):
            features, stride = (16 if i < first else 32), (2 if i == first else 1)
            block = ResidualBlock(features, stride, self.shortcut, self.norm, self.dtype,
                                  name=f"block_{i}")  # fmt: skip
            x = block(x, train)
        return x

    @staticmethod
    def output_side(side: int, num_layers: int) -> int:
        """Half of the side, a quarter from four layers on; rounded up."""
        half = -(-side // 2)
        return -(-half // 2) if num_layers >= 4 else half
