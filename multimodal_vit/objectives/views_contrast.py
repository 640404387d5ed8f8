"""Two views of an image belong together: a catalogue of two objectives, SimCLR and SwAV."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from multimodal_vit.components import component, option
from multimodal_vit.objectives.base import Keys, Outputs, Variables
from multimodal_vit.objectives.losses import normalised, nt_xent, sinkhorn, swapped_codes
from multimodal_vit.objectives.pretraining import (
    Projection,
    ViewsObjective,
    level_option,
    spread,
)
from multimodal_vit.sampler import Batch


@component("train.objective", "simclr")
class SimClr(ViewsObjective):
    """SimCLR (Chen et al. 2020): a view finds the other one of its image among all of the batch.

    On images of digits one negative in ten is of the same class.
    """

    class Options:
        """The projection and the contrast."""

        level: str = level_option()
        dim: int = option(64, "of the projection", least=1, most=65_536)
        temperature: float = option(0.2, "of the softmax", least=0.001, most=100)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """How far apart the vectors lie; see `pretraining.spread`."""
        return ("spread",)

    @property
    def heads(self) -> nn.Module:
        """The projection."""
        return Projection(128, self.options.dim, "none")

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The normalised, temperature-scaled cross entropy, the mean over an image's views."""
        image, B = self.two_views(batch, keys), len(batch.weight)
        read = self.read(variables, image, self.options.level, keys, train)
        m = read.vectors.shape[1]
        vectors = read.vectors.reshape(2 * B * m, -1)
        real = jnp.repeat(batch.weight > 0, m)
        both = jnp.concatenate([real, real])
        z = self.of_heads(variables, vectors, both)
        loss = nt_xent(z, both, self.options.temperature)  # (2 · B · m,)
        loss = loss.reshape(2, B, m).mean(axis=(0, 2))
        metrics = {"spread": jnp.broadcast_to(spread(z, both), loss.shape)}
        return Outputs(loss, None, metrics, self.shared_losses(read, B), read.collections)


class Prototypes(nn.Module):
    """A projection to the sphere, and so many vectors on it."""

    dim: int
    count: int

    @nn.compact
    def __call__(self, x: jax.Array, real: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[N, D] and bool [N] to vectors of length 1 [N, d], and their products [N, M]."""
        z = normalised(Projection(128, self.dim, "batch", name="projection")(x, real))
        init = nn.initializers.normal(1.0)
        prototypes = self.param("prototypes", init, (self.count, self.dim))
        return z, z @ normalised(prototypes).T


@component("train.objective", "swav")
class SwAV(ViewsObjective):
    """SwAV (Caron et al. 2020): a view predicts the cluster of the other one.

    Clusters are assigned by three rounds of Sinkhorn-Knopp over the whole batch, which fills them
    evenly: an even share is no sign of learning. Two views, no smaller crops and no queue; the
    prototypes are normalised in the forward pass and never frozen.
    """

    class Options:
        """The clusters."""

        level: str = level_option()
        dim: int = option(64, "of the projection", least=1, most=65_536)
        prototypes: int = option(32, "clusters", least=2, most=65_536)
        temperature: float = option(0.1, "of the prediction", least=0.001, most=100)
        epsilon: float = option(0.05, "of the assignment: smaller is harder", least=0.001, most=100)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """How far apart the vectors lie, and how many clusters the predictions use."""
        return ("spread", "clusters_used")

    @property
    def heads(self) -> nn.Module:
        """The projection and the prototypes."""
        return Prototypes(self.options.dim, self.options.prototypes)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The cross entropy of each view's prediction and the other view's code."""
        image, B = self.two_views(batch, keys), len(batch.weight)
        read = self.read(variables, image, self.options.level, keys, train)
        m = read.vectors.shape[1]
        real = jnp.repeat(batch.weight > 0, m)
        both = jnp.concatenate([real, real])
        z, scores = self.of_heads(variables, read.vectors.reshape(2 * B * m, -1), both)
        first, second = jnp.split(scores, 2)
        codes = [sinkhorn(s, real, self.options.epsilon) for s in (first, second)]
        loss = swapped_codes((first, second), codes, self.options.temperature)  # (B · m,)
        loss = loss.reshape(B, m).mean(axis=1)
        share = jnp.where(real[:, None], jax.nn.softmax(first / self.options.temperature), 0)
        share = share.sum(axis=0) / jnp.maximum(real.sum(), 1)
        used = jnp.exp(-(share * jnp.log(jnp.maximum(share, 1e-12))).sum())  # perplexity
        metrics = {
            "spread": jnp.broadcast_to(spread(z, both), loss.shape),
            "clusters_used": jnp.broadcast_to(used, loss.shape),
        }
        return Outputs(loss, None, metrics, self.shared_losses(read, B), read.collections)
