"""An experiment put together: configuration, data, devices, model, and the compiled functions."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit import evaluate, sampler
from multimodal_vit.data import ImageSet, Splits, load_splits
from multimodal_vit.errors import UserError
from multimodal_vit.models import MultimodalViT, build_model
from multimodal_vit.sampler import Task, named_key
from multimodal_vit.suites import AS_TRAINED, Suite
from multimodal_vit.train import step as step_lib
from multimodal_vit.train.step import TrainData, TrainState


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What `config` describes, ready to run; build it with `Experiment.create`.

    Attributes:
      config: valid, with the data at hand too.
      splits: the data set, in host memory.
      task: the task on that data set.
      mesh: the devices, along one axis "data".
      model: the Flax module.
      optimizer: the optax transformation.
    """

    config: ConfigDict
    splits: Splits
    task: Task
    mesh: Mesh
    model: MultimodalViT
    optimizer: optax.GradientTransformation

    @classmethod
    def create(
        cls,
        config: ConfigDict,
        splits: Splits | None = None,
        devices: Sequence[jax.Device] | None = None,
        for_training: bool = True,
    ) -> "Experiment":
        """Checks the configuration, reads the data and builds the model.

        Args:
          config: the configuration.
          splits: the data, where it was read already.
          devices: where to compute; all of them by default.
          for_training: without it, as many of the devices are used as can share the batches.

        Raises:
          UserError: whatever is wrong with the configuration or the data.
        """
        configuration.check(config)
        if splits is None:
            splits = load_splits(config.data.source, config.data.name, config.data.directory)
        task = configuration.make_task(config, splits.train)
        devices = available_devices() if devices is None else devices
        if not for_training:
            sizes = (config.train.batch_size, config.evaluation.batch_size)
            usable = [n for n in range(1, len(devices) + 1) if math.gcd(*sizes) % n == 0]
            devices = devices[: max(usable)]
        configuration.check_with_data(config, task, len(devices))
        mesh = Mesh(np.array(devices), ("data",))
        model = build_model(config.model, task)
        total_steps = _total_steps(config, len(splits.train))
        optimizer = step_lib.make_optimizer(config.train, total_steps)
        return cls(config, splits, task, mesh, model, optimizer)

    @property
    def steps_per_epoch(self) -> int:
        """The steps that show every training image once as a base image."""
        return sampler.steps_per_epoch(len(self.splits.train), self.config.train.batch_size)

    @property
    def total_steps(self) -> int:
        """The steps of the whole budget."""
        return _total_steps(self.config, len(self.splits.train))

    def samples_seen(self, step: int) -> int:
        """The training pairs of the first `step` steps."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * len(self.splits.train) + rest * self.config.train.batch_size

    @property
    def _key(self) -> jax.Array:
        return jax.random.key(self.config.seed)

    def _init(self, key: jax.Array) -> TrainState:
        return step_lib.init_state(self.model, self.optimizer, self.task, key)

    def on_mesh(self, tree: Any) -> Any:
        """A copy of a tree of arrays on every device of the mesh."""
        return jax.device_put(tree, NamedSharding(self.mesh, P()))

    def init_state(self) -> TrainState:
        """The state before the first step, on the mesh."""
        return jax.jit(self._init, out_shardings=NamedSharding(self.mesh, P()))(self._key)

    def abstract_state(self) -> TrainState:
        """The shapes, dtypes and shardings of `init_state`, without computing it."""
        shapes = jax.eval_shape(self._init, self._key)
        sharding = NamedSharding(self.mesh, P())
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
        )

    def train_data(self) -> TrainData:
        """The training split, on every device of the mesh."""
        train = self.splits.train
        return self.on_mesh(TrainData(train.images, train.labels))

    def epoch_order(self, epoch: int) -> jax.Array:
        """The base images of an epoch, on the mesh; see `sampler.epoch_order`."""
        key = jax.random.fold_in(named_key(self._key, "order"), epoch)
        order = sampler.epoch_order(key, len(self.splits.train), self.config.train.batch_size)
        return self.on_mesh(order)

    def train_step(self) -> step_lib.TrainStep:
        """One step, not compiled; see `make_train_step`."""
        return step_lib.make_train_step(
            self.model,
            self.optimizer,
            self.task,
            self.mesh,
            objective=self.config.train.objective,
            batch_size=self.config.train.batch_size,
            key=named_key(self._key, "train"),
        )

    def batch(self, step: int) -> sampler.Batch:
        """The batch of a training step, in host memory."""
        draw: Callable[..., sampler.Batch] = jax.jit(step_lib.draw_batch, static_argnums=(4, 5))
        order, key = self.epoch_order(step // self.steps_per_epoch), named_key(self._key, "train")
        size = self.config.train.batch_size
        return jax.device_get(draw(key, step, self.train_data(), order, self.task, size))

    def examples(self, count: int) -> sampler.Batch:
        """Some training pairs, in host memory, for people to look at: `count`, or all if fewer."""
        images, labels = self.splits.train.images, self.splits.train.labels
        key = named_key(self._key, "sheet")
        base = jax.random.choice(key, len(labels), (min(count, len(labels)),), replace=False)
        draw: Callable[..., sampler.Batch] = jax.jit(sampler.sample_batch, static_argnums=5)
        return jax.device_get(draw(key, images, labels, base, jnp.ones(len(base)), self.task))

    def flop_per_example(self) -> float:
        """Floating-point operations of one training step, divided by its batch size.

        XLA's own count for the step before optimisation: forward, backward, optimizer and sampler.
        """
        order = jax.ShapeDtypeStruct(
            (self.steps_per_epoch * self.config.train.batch_size,), "int32"
        )
        lowered = jax.jit(self.train_step()).lower(self.abstract_state(), self.train_data(), order)
        return lowered.cost_analysis()["flops"] / self.config.train.batch_size

    def predictor(
        self, suites: Mapping[str, Suite] | None = None
    ) -> Callable[..., evaluate.Predictions]:
        """A function that predicts a whole part of the data.

        Args:
          suites: what can be named beside the task as it is trained.

        Returns:
          `predict(params, part, suite="")`; the part is "validation" or "test", the suite a name in
          `suites`, or "" for the task as it is trained. The suite "standard" is drawn from the same
          keys as the task, every other from its own.
        """
        settings = self.config.evaluation
        key = jax.random.key(settings.seed)
        placed: dict[str, tuple[jax.Array, jax.Array]] = {}
        known = {"": AS_TRAINED} | dict(suites or {})
        names = list(known)

        def predict(params: Any, part: str, suite: str = "") -> evaluate.Predictions:
            if part not in placed:
                image_set: ImageSet = getattr(self.splits, part)
                placed[part] = self.on_mesh((image_set.images, image_set.labels))
            own = named_key(key, part if suite in ("", "standard") else f"{part} {suite}")
            return one_part(params, *placed[part], own, names.index(suite))

        one_part = evaluate.make_predict(
            self.model,
            self.task,
            self.mesh,
            objective=self.config.train.objective,
            batch_size=settings.batch_size,
            num_passes=settings.num_passes,
            suites=list(known.values()),
        )
        return predict


def available_devices() -> list[jax.Device]:
    """All devices.

    Raises:
      UserError: there are none of the kind that was asked for.
    """
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX raises the second where none is left
        reason = " ".join(str(error).split())
        raise UserError(
            f"no device of the kind asked for with JAX_PLATFORMS={jax.config.jax_platforms!r} can "
            f"be used ({reason}). Install what it needs (pip install 'multimodal_vit[cuda]' for a "
            "GPU), make it visible (CUDA_VISIBLE_DEVICES), or set JAX_PLATFORMS=cpu"
        ) from error


def _total_steps(config: ConfigDict, num_images: int) -> int:
    epochs = max(1, round(config.train.num_samples / num_images))
    return epochs * sampler.steps_per_epoch(num_images, config.train.batch_size)
