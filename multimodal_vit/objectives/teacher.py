"""Learning from a teacher that follows: a catalogue of two objectives, BYOL and data2vec.

The teacher's parameters are a moving average of the student's. They lie in the collection
"teacher", are saved and cut over devices with the rest, and move after each step; a step that is
skipped leaves them too.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.errors import UserError
from multimodal_vit.models import MultimodalViT
from multimodal_vit.objectives.base import Keys, Outputs, Variables
from multimodal_vit.objectives.losses import cosine_loss, masked_mean, smooth_l1
from multimodal_vit.objectives.pretraining import (
    ImageObjective,
    Projection,
    ViewsObjective,
    level_option,
    moments,
    spread,
)
from multimodal_vit.parameters import plain
from multimodal_vit.sampler import Batch, Task, named_key

TEACHER = "teacher"
# The options of every teacher: how fast it follows.
MOMENTUM = option(0.99, "share of the old in the teacher, first", least=0, most=1)
LAST_MOMENTUM = option(0.999, "and at last", least=0, most=1)
RAMP_STEPS = option(2_000, "between the two", least=1)


class TeacherObjective(ImageObjective):
    """An objective with a teacher; its options say how fast that follows."""

    own_collections: ClassVar[tuple[str, ...]] = (TEACHER,)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A teacher that would stand still from the first step."""
        yield from ImageObjective.problems(config, task)
        if task is None and config.model.initial:
            yield (
                f"train.objective={config.train.objective!r} begins its teacher with its own first "
                "parameters, not with those of model.initial; leave that empty"
            )

    def init(self, key: jax.Array, variables: Variables, inputs: Any) -> dict[str, Any]:
        """Adds the heads, and the teacher: a copy of all parameters."""
        found = super().init(key, variables, inputs)
        teacher = jax.tree.map(jnp.array, plain(found["params"]))
        return found | {TEACHER: teacher}

    def rate(self, step: jax.Array) -> jax.Array:
        """τ, the share of the old that a step keeps: from `momentum` to `last_momentum`, evenly."""
        options = self.options
        done = jnp.minimum(step / max(options.ramp_steps, 1), 1.0)
        return options.momentum + done * (options.last_momentum - options.momentum)

    def after_step(self, params: Any, collections: Variables, step: jax.Array) -> dict[str, Any]:
        """The teacher τ · old + (1 - τ) · new."""
        moved = optax.incremental_update(params, collections[TEACHER], 1 - self.rate(step))
        return dict(collections) | {TEACHER: moved}

    def of_teacher(self, variables: Variables) -> dict[str, Any]:
        """The variables with the teacher's parameters; no gradient reaches them."""
        own = {name: value for name, value in variables.items() if name != TEACHER}
        return own | {"params": jax.lax.stop_gradient(variables[TEACHER])}


class ByolHead(nn.Module):
    """Projector, and the predictor that only the student has."""

    dim: int
    norm: str

    def setup(self) -> None:
        """The two parts."""
        self.projector = Projection(128, self.dim, self.norm)
        self.predictor = Projection(128, self.dim, self.norm)

    def __call__(self, x: jax.Array, real: jax.Array) -> jax.Array:
        """The student's prediction of summaries [N, D], [N, d]."""
        return self.predictor(self.projector(x, real), real)

    def project(self, x: jax.Array, real: jax.Array) -> jax.Array:
        """The projection alone, the teacher's part."""
        return self.projector(x, real)


@component("train.objective", "byol")
class Byol(TeacherObjective, ViewsObjective):
    """BYOL (Grill et al. 2020): one view predicts what a teacher makes of the other; no negatives.

    The loss also falls where all vectors become one: look at "spread". The teacher starts as a copy
    of the student; the original's starts from another key.
    """

    class Options:
        """The projection, and how fast the teacher follows."""

        level: str = level_option()
        dim: int = option(64, "of the projection", least=1, most=65_536)
        norm: str = option("batch", "in both of its heads", choices=("batch", "layer", "none"))
        momentum: float = MOMENTUM
        last_momentum: float = LAST_MOMENTUM
        ramp_steps: int = RAMP_STEPS

    @property
    def metric_names(self) -> tuple[str, ...]:
        """How far apart the teacher's projections lie."""
        return ("spread",)

    @property
    def heads(self) -> nn.Module:
        """Projector and predictor."""
        return ByolHead(self.options.dim, self.options.norm)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """2 - 2 cos of prediction and target, both ways added, the mean over cells."""
        image, B = self.two_views(batch, keys), len(batch.weight)
        level = self.options.level
        read = self.read(variables, image, level, keys, train)
        teacher = self.of_teacher(variables)
        seen = self.read(teacher, image, level, Keys(), False)
        m = read.vectors.shape[1]
        real = jnp.tile(jnp.repeat(batch.weight > 0, m), 2)
        prediction = self.of_heads(variables, read.vectors.reshape(2 * B * m, -1), real)
        target = self.of_heads(teacher, seen.vectors.reshape(2 * B * m, -1), real, method="project")
        other = jnp.roll(target, B * m, axis=0)  # of the other view
        loss = cosine_loss(prediction, other).reshape(2, B, m).sum(axis=0).mean(axis=1)
        metrics = {"spread": jnp.broadcast_to(spread(target, real), loss.shape)}
        return Outputs(loss, None, metrics, self.shared_losses(read, B), read.collections)


class MaskHead(nn.Module):
    """A token for what is hidden, and a linear prediction of the teacher's output."""

    @nn.compact
    def __call__(self, outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps [B, P, D] to float32 [B, P, D], and gives the token [D]."""
        D = outputs.shape[-1]
        token = self.param("token", nn.initializers.normal(0.02), (D,))
        return nn.Dense(D, name="prediction")(outputs.astype(jnp.float32)), token


def random_mask(key: jax.Array, shape: tuple[int, int], count: int) -> jax.Array:
    """`count` places of each row, bool [B, P], all choices alike."""
    noise = jax.random.uniform(key, shape)
    return noise.argsort(axis=1).argsort(axis=1) < count


@component("train.objective", "data2vec")
class Data2Vec(TeacherObjective):
    """data2vec (Baevski et al. 2022) on images: predict what a teacher makes of hidden patches.

    The teacher reads the whole image. Its targets are the mean of its last blocks' outputs, each
    normalised; the student has mask tokens in place of some patches. Patches are hidden one by one,
    not in blocks, and the teacher has embeddings of its own. A convolutional stem lets hidden
    pixels through to their neighbours: take `model.num_conv_layers=0`.
    """

    class Options:
        """What is hidden, what is predicted, and how fast the teacher follows."""

        mask_rate: float = option(0.6, "share of the patches hidden", least=0.01, most=0.99)
        blocks: int = option(2, "of the teacher's last blocks, whose mean is the target", least=1)
        beta: float = option(0.0, "of the smooth L1 loss; 0: squares", least=0, most=100)
        momentum: float = MOMENTUM
        last_momentum: float = LAST_MOMENTUM
        ramp_steps: int = RAMP_STEPS

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The standard deviation of the targets over rows: near 0 they have collapsed."""
        return ("target_deviation",)

    @property
    def heads(self) -> nn.Module:
        """The mask token and the prediction."""
        return MaskHead()

    def head_inputs(self, variables: Variables, inputs: Any) -> tuple[Any, ...]:
        """Zeros in the shape of the patches' outputs."""
        _, found = jax.eval_shape(self.model.apply, variables, inputs)
        if "blocks" not in found or "patches" not in found.get("tokens", {}):
            raise UserError(
                "train.objective='data2vec' reads each encoder block's output, and "
                f"{type(self.model.fusion).__name__} gives none; take "
                "model.fusion='single_encoder', say"
            )
        tokens = found["tokens"]["patches"]
        return (jnp.zeros(tokens.shape, tokens.dtype),)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The smooth L1 loss at hidden patches, the mean over these and over dimensions."""
        image, B = batch.inputs["image"], len(batch.weight)
        rows, columns = self.token_grid
        P = rows * columns
        count = min(max(round(self.options.mask_rate * P), 1), P - 1)
        mask = random_mask(named_key(keys.objective, "mask"), (B, P), count)
        token = variables["params"]["objective"]["token"]
        kept = self.without_words(B)

        def whole(model: MultimodalViT) -> jax.Array:
            tokens = model.embed(self.image_inputs(image))
            found = model.fuse(tokens, kept)[1]
            start, end = found["spans"]["patches"]
            last = [x[:, start:end] for x in found["blocks"][-self.options.blocks :]]
            return sum(layer_normalised(x) for x in last) / len(last)

        def hidden(model: MultimodalViT) -> Any:
            tokens = model.embed(self.image_inputs(image), train=train)
            patches = tokens["patches"]
            tokens["patches"] = jnp.where(mask[..., None], token.astype(patches.dtype), patches)
            found = model.fuse(tokens, kept, train=train)[1]
            return found["tokens"]["patches"], found.get("losses", {})

        target, _ = self.ask(self.of_teacher(variables), whole, Keys(), False)
        target = jax.lax.stop_gradient(target)
        (outputs, losses), collections = self.ask(variables, hidden, keys, train)
        prediction, _ = self.of_heads(variables, outputs)
        found = smooth_l1(prediction - target, self.options.beta).mean(axis=-1)  # (B, P)
        _, variance = moments(target, batch.weight > 0)  # (P, D)
        deviation = jnp.sqrt(variance).mean()
        metrics = {"target_deviation": jnp.broadcast_to(deviation, (B,))}
        return Outputs(masked_mean(found, mask), None, metrics, losses, collections)


def layer_normalised(x: jax.Array) -> jax.Array:
    """Each vector less its mean, over its deviation, without a learned scale; float32."""
    x = x.astype(jnp.float32)
    x = x - x.mean(axis=-1, keepdims=True)
    return x * jax.lax.rsqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)
