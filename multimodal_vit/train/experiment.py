"""An experiment put together: configuration, data, devices, model, and the compiled functions."""

import dataclasses
import functools
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
from multimodal_vit import distributed, sampler
from multimodal_vit.components import get
from multimodal_vit.data import Splits, load_local, load_splits
from multimodal_vit.errors import UserError
from multimodal_vit.layout import Layout, make_mesh
from multimodal_vit.models import MultimodalViT, build_model, example_inputs
from multimodal_vit.objectives import Objective
from multimodal_vit.parameters import Declaration, declarations
from multimodal_vit.sampler import Speech, Task, named_key
from multimodal_vit.train import step as step_lib
from multimodal_vit.train.optimizers import make_optimizer
from multimodal_vit.train.state import Epoch, TrainData, TrainState, zero_sums


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What `config` describes, ready to run; build it with `Experiment.create`.

    Attributes:
      config: valid, with the data at hand too.
      splits: the data set, in host memory.
      task: the task on that data set.
      mesh: the devices; see `layout.make_mesh`.
      model: the Flax module.
      objective: what it is trained for.
      optimizer: the optax transformation.
      declared: what is known of each parameter, by its path.
    """

    config: ConfigDict
    splits: Splits
    task: Task
    mesh: Mesh
    model: MultimodalViT
    objective: Objective
    optimizer: optax.GradientTransformation
    declared: Mapping[str, Declaration]

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
        config = configuration.settled(config)
        configuration.check(config)
        if splits is None:
            splits = load_splits(*configuration.data_arguments(config))
        task = configuration.make_task(config, splits.train)
        devices = available_devices() if devices is None else devices
        if not for_training:
            sizes = (config.train.batch_size, config.evaluation.batch_size)
            usable = [n for n in range(1, len(devices) + 1) if math.gcd(*sizes) % n == 0]
            devices = devices[: max(usable)]
            if len(devices) % config.train.model_devices:
                config = configuration.changed(config, {"train.model_devices": 1})
        configuration.check_with_data(config, task, len(devices))
        mesh = make_mesh(devices, config.train.model_devices)
        model = build_model(config.model, task)
        chosen = get("train.objective", config.train.objective).target
        objective = chosen.build(model, task, config.train.objective_options)
        inputs = example_inputs(task)
        declared = declarations(
            lambda key: step_lib.init_variables(objective, inputs, key), jax.random.key(0)
        )
        count = step_lib.examples_per_epoch(task, len(splits.train))
        total_steps = _total_steps(config, count)
        optimizer = make_optimizer(config.train, total_steps, declared)
        return cls(config, splits, task, mesh, model, objective, optimizer, declared)

    @property
    def steps_per_epoch(self) -> int:
        """The steps that show every training image once as a base image, or every labelled pair."""
        return sampler.steps_per_epoch(self.examples_per_epoch, self.config.train.batch_size)

    @property
    def examples_per_epoch(self) -> int:
        """The training pairs of an epoch."""
        return step_lib.examples_per_epoch(self.task, len(self.splits.train))

    @property
    def total_steps(self) -> int:
        """The steps of the whole budget."""
        return _total_steps(self.config, self.examples_per_epoch)

    def samples_seen(self, step: int) -> int:
        """The training pairs of the first `step` steps."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * self.examples_per_epoch + rest * self.config.train.batch_size

    def with_seed(self, seed: int) -> "Experiment":
        """The single run of another seed, with the same data and model."""
        changes = {"seed": seed, "train.num_seeds": 1}
        return dataclasses.replace(self, config=configuration.changed(self.config, changes))

    @property
    def layout(self) -> Layout:
        """How the training state and the batches lie on the mesh."""
        chosen = get("train.layout", self.config.train.layout).target
        return dataclasses.replace(chosen, declared=self.declared)

    @property
    def _key(self) -> jax.Array:
        return jax.random.key(self.config.seed)

    def _init(self, key: jax.Array) -> TrainState:
        return step_lib.init_state(self.objective, self.optimizer, self.task, key)

    def on_mesh(self, tree: Any) -> Any:
        """A copy of a tree of arrays on every device of the mesh."""
        return distributed.place(tree, NamedSharding(self.mesh, P()))

    def init_state(self) -> TrainState:
        """The state before the first step, on the mesh."""
        shardings = jax.tree.map(lambda x: x.sharding, self.abstract_state())
        return jax.jit(self._init, out_shardings=shardings)(self._key)

    def abstract_state(self) -> TrainState:
        """The shapes, dtypes and shardings of `init_state`, without computing it."""
        return self._abstract_state

    @functools.cached_property
    def _abstract_state(self) -> TrainState:
        shapes = jax.eval_shape(self._init, self._key)
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            shapes,
            self.layout.shardings(self.mesh, shapes),
        )

    def host_data(self) -> TrainData:
        """The training split, in host memory."""
        train = self.splits.train
        return TrainData(train.images, train.labels, self.speech("train"))

    def train_data(self) -> TrainData:
        """The training split, on every device of the mesh."""
        return self.on_mesh(self.host_data())

    def speech(self, part: str) -> Speech | None:
        """The recordings of a part of the data, in host memory, for the sampler to draw from."""
        recordings = getattr(self.splits, part).recordings
        if recordings is None:
            return None
        classes = np.arange(self.task.num_classes + 1)
        first = np.searchsorted(recordings.labels, classes).astype(np.int32)
        return Speech(recordings.features, first)

    def zero_sums(self) -> dict[str, jax.Array]:
        """The metric sums of no steps, on the mesh."""
        return self.on_mesh(zero_sums(self.metric_names))

    @functools.cached_property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics that are summed over the pairs of each step."""
        variables = self.abstract_state().variables
        return step_lib.metric_names(self.objective, example_inputs(self.task), variables)

    def epoch(self, number: int) -> Epoch:
        """What the steps of an epoch are drawn from, on the mesh."""
        sizes = self.examples_per_epoch, self.config.train.batch_size
        return _epoch(self._key, number, *sizes, NamedSharding(self.mesh, P()))

    def train_step(self) -> step_lib.TrainStep:
        """One step, not compiled, and the same for every seed; see `make_train_step`."""
        return step_lib.make_train_step(
            self.objective,
            self.optimizer,
            self.task,
            self.mesh,
            self.layout,
            batch_size=self.config.train.batch_size,
            accumulate_steps=self.config.train.accumulate_steps,
        )

    def batch(self, step: int) -> sampler.Batch:
        """The batch of a training step, in host memory."""
        draw: Callable[..., sampler.Batch] = jax.jit(step_lib.draw_batch, static_argnums=(3, 4))
        epoch = self.epoch(step // self.steps_per_epoch)
        size = self.config.train.batch_size
        return distributed.to_host(draw(step, self.train_data(), epoch, self.task, size))

    def examples(self, count: int) -> sampler.Batch:
        """Some training pairs, in host memory, for people to look at: `count`, or all if fewer."""
        images, labels = self.splits.train.images, self.splits.train.labels
        key = named_key(self._key, "sheet")
        base = jax.random.choice(key, len(labels), (min(count, len(labels)),), replace=False)
        draw: Callable[..., sampler.Batch] = jax.jit(sampler.sample_batch, static_argnums=5)
        weight, speech = jnp.ones(len(base)), self.speech("train")
        return jax.device_get(draw(key, images, labels, base, weight, self.task, speech=speech))

    @functools.cached_property
    def other_splits(self) -> Splits:
        """Another data set with the same shape of images: what `evaluation.other_data` names.

        Raises:
          UserError: it is not there, or its images or classes do not fit.
        """
        name = self.config.evaluation.other_data
        if not name:
            name = "mnist" if self.config.data.name == "fashion_mnist" else "fashion_mnist"
        other = load_local(self.config.data.source, name, self.config.data.directory)
        shape, allowed = other.train.images.shape[1:], self.task.image_shape
        if shape != allowed or other.train.num_classes > self.task.num_classes:
            raise UserError(
                f"evaluation.other_data={name!r} has {other.train.num_classes} classes of images "
                f"of {shape}, but the model is made for {self.task.num_classes} of {allowed}; name "
                "another data set"
            )
        return other


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _epoch(
    key: jax.Array, number: int, num_images: int, batch_size: int, sharding: NamedSharding
) -> Epoch:
    """Drawn on the devices that need it, by each process for its own: the host waits for none."""
    order_key = jax.random.fold_in(named_key(key, "order"), number)
    order = sampler.epoch_order(order_key, num_images, batch_size)
    return jax.lax.with_sharding_constraint(Epoch(named_key(key, "train"), order), sharding)


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


def _total_steps(config: ConfigDict, count: int) -> int:
    """The steps of the budget: whole epochs of so many pairs, or what is asked to a step.

    To a step where validations are counted in steps (`train.steps_per_validation`).
    """
    train = config.train
    if not train.steps_per_validation:
        epochs = max(1, round(train.num_samples / count))
        return epochs * sampler.steps_per_epoch(count, train.batch_size)
    epochs, rest = divmod(train.num_samples, count)
    steps = epochs * sampler.steps_per_epoch(count, train.batch_size)
    return max(1, steps + math.ceil(rest / train.batch_size))
