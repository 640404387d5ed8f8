"""The normalisations that a convolutional stem can have."""

import flax.linen as nn
import jax
from flax.typing import Dtype

from multimodal_vit.components import Option, option

NORMS = ("batch", "layer")


def norm_option(default: str) -> Option:
    """The option that names one."""
    return option(default, "normalisation after each convolution", choices=NORMS)


class Norm(nn.Module):
    """Batch normalisation over the whole batch, on however many devices, or layer normalisation.

    Batch normalisation makes a row depend on the others, those that fill a batch up too.
    """

    kind: str
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[..., C] to the same."""
        if self.kind == "layer":
            return nn.LayerNorm(dtype=self.dtype, name="layer")(x)
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-3,
            dtype=self.dtype,
            name="batch",
        )(x)
