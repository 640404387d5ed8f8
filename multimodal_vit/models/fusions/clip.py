"""The dual encoder of CLIP (Radford et al. 2021), asked about given pairs."""

import math
from collections.abc import Iterator
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.fusions.towers import Towers
from multimodal_vit.models.streams import Trunk
from multimodal_vit.parameters import declare
from multimodal_vit.sampler import Task

MOST_SCALE = 100.0  # as CLIP's


class Cosine(nn.Module):
    """The true/false logit from the cosine of image and text; class logits from the image alone.

    exp(t)·⟨ẑ_w, ẑ_p⟩ + b, z = W_m s_m; exp(t) is 10 at first and at most 100, b is 0 at first: half
    of the pairs are true. Of several texts the mean of their cosines with the image.

    Attributes:
      num_classes: K.
    """

    num_classes: int

    @nn.compact
    def __call__(self, summaries: dict[str, jax.Array]) -> jax.Array:
        """Maps [B, D] each, the image's by the name "patches", to logits float32 [B, 1 + K]."""
        z = {}
        for name, summary in summaries.items():
            project = nn.Dense(summary.shape[-1], use_bias=False, name=f"project_{name}")
            z[name] = project(summary.astype(jnp.float32))
        image = z.pop("patches")
        unit = {name: one / (jnp.linalg.norm(one, axis=-1, keepdims=True) + 1e-6)
                for name, one in (z | {"image": image}).items()}  # fmt: skip
        cosines = [(unit[name] * unit["image"]).sum(axis=-1) for name in z]
        scale = self.param("log_scale", nn.initializers.constant(math.log(10)), ())
        bias = self.param("bias", nn.initializers.zeros, ())
        match = jnp.minimum(jnp.exp(scale), MOST_SCALE) * sum(cosines) / len(cosines) + bias
        init = declare(nn.initializers.lecun_normal(), matrix=None)  # as the head of others
        classes = nn.Dense(self.num_classes, name="classes", kernel_init=init)(image)
        return jnp.concatenate([match[:, None], classes], axis=-1)


def cosine_problems(config: ConfigDict) -> Iterator[str]:
    """What a fusion that ends in a cosine of image and text cannot be."""
    name, modalities = config.model.fusion, tuple(config.model.modalities)
    if "patches" not in modalities or len(modalities) < 2:
        yield (
            f"model.fusion={name!r} compares the modality 'patches' with others, not "
            f"model.modalities={modalities}"
        )
    if config.model.num_match_outputs != 1:
        yield f"model.fusion={name!r} has one true/false output: model.num_match_outputs=1"


@component("model.fusion", "clip")
class Clip(Towers):
    """A tower for each modality; the cosine of image and text, scaled, is the true/false logit."""

    num_classes: int = 0
    makes_logits: ClassVar[bool] = True

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Clip":
        """`model.num_encoder_layers` are those of each tower."""
        trunk = Trunk.of(model)
        thin = trunk.thin(options.text_layers, options.text_mlp_dim)
        return cls(trunk, thin, task.num_classes)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the encoders, and no image to compare with."""
        yield from Towers.problems(config, task)
        if task is None:
            yield from cosine_problems(config)

    def join(self, summaries: dict[str, jax.Array]) -> jax.Array:
        """[B, D] each to logits [B, 1 + K]."""
        return Cosine(self.num_classes, name="cosine")(summaries)
