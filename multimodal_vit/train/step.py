"""One training step: sample, differentiate, update, all on the device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from multimodal_vit import sampler, views
from multimodal_vit.layout import Layout
from multimodal_vit.models import example_inputs
from multimodal_vit.objectives import Keys, Objective
from multimodal_vit.parameters import plain
from multimodal_vit.sampler import Batch, Task, named_key
from multimodal_vit.train.state import Epoch, TrainData, TrainState, zero_sums

MOST_SKIPPED_IN_A_ROW = 10  # then the run has diverged, or its data is at fault


def metric_names(objective: Objective, inputs: Any, variables: Any) -> tuple[str, ...]:
    """The names of the metrics that are summed over the pairs of each step.

    Args:
      objective: its loss and its own metrics.
      inputs: of a batch, in the right shapes: what the model's fusion adds to the loss is seen.
      variables: of model and objective, or their shapes.
    """
    fused = jax.eval_shape(
        lambda variables: objective.model.apply(variables, inputs)[1].get("losses", {}), variables
    )
    aux = tuple(f"aux/{name}" for name in sorted(fused))
    return ("weight", "loss", *objective.metric_names, *aux)


def init_variables(objective: Objective, inputs: Any, key: jax.Array) -> dict[str, Any]:
    """The first variables of model and objective; parameters carry what was declared of them."""
    variables = objective.model.init(named_key(key, "params"), inputs)
    return objective.init(named_key(named_key(key, "params"), "objective"), variables, inputs)


def init_state(
    objective: Objective, optimizer: optax.GradientTransformation, task: Task, key: jax.Array
) -> TrainState:
    """The state before the first step, a function of the key alone."""
    inputs = example_inputs(task)
    variables = plain(init_variables(objective, inputs, key))
    sums = zero_sums(metric_names(objective, inputs, variables))
    params = variables.pop("params")
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, optimizer.init(params), sums, zero, variables)


def loss_and_sums(
    params: Any,
    statistics: dict[str, Any],
    objective: Objective,
    batch: Batch,
    keys: Keys,
    total_weight: jax.Array | None = None,
) -> tuple[jax.Array, tuple[dict[str, jax.Array], dict[str, Any]]]:
    """The weighted mean loss of a batch; its metric sums, and the statistics after it.

    Where the sum of the weights is known, devices that share the batch need not add it up first; of
    a part of a batch, with the weight of the whole one, it is its share of that mean.
    """
    found = objective.loss({"params": params} | statistics, batch, keys, train=True)
    values = {"weight": jnp.ones_like(found.loss), "loss": found.loss} | found.metrics
    values |= {f"aux/{name}": found.losses[name] for name in sorted(found.losses)}
    sums = {name: jnp.sum(value * batch.weight) for name, value in values.items()}
    if total_weight is None:
        total_weight = jnp.sum(batch.weight)
    loss = sum(found.losses.values(), found.loss)  # (B,)
    return jnp.sum(loss * batch.weight) / total_weight, (sums, found.collections)


def accumulated_gradient(
    params: Any,
    statistics: dict[str, Any],
    objective: Objective,
    batch: Batch,
    keys: Keys,
    total_weight: jax.Array,
    num_parts: int,
) -> tuple[Any, tuple[dict[str, jax.Array], dict[str, Any]]]:
    """The gradient of `loss_and_sums`, part by part of the batch, so that less memory is needed.

    It is the whole batch's but for rounding, and for what a model draws or averages over a batch:
    dropout has its own key in each part, and batch normalisation sees one part after the other.
    """
    # Every num_parts-th row: where devices share the batch, each has its share of every part.
    parts = jax.tree.map(
        lambda x: x.reshape(-1, num_parts, *x.shape[1:]).swapaxes(0, 1), batch
    )  # each (num_parts, B / num_parts, …)

    def add(carry: tuple[Any, Any], part: tuple[jax.Array, Batch]) -> tuple[Any, Any]:
        gradient, statistics = carry
        own = Keys(*(jax.random.fold_in(key, part[0]) for key in keys))
        more, (sums, statistics) = jax.grad(loss_and_sums, has_aux=True)(
            params, statistics, objective, part[1], own, total_weight
        )
        return (jax.tree.map(jnp.add, gradient, more), statistics), sums

    start = jax.tree.map(jnp.zeros_like, params), statistics
    (gradient, statistics), sums = jax.lax.scan(add, start, (jnp.arange(num_parts), parts))
    return gradient, (jax.tree.map(lambda x: x.sum(axis=0), sums), statistics)


def draw_batch(
    step: jax.Array, data: TrainData, epoch: Epoch, task: Task, batch_size: int
) -> Batch:
    """The batch of a step: a function of the epoch and the step.

    Args:
      step: int32, the updates made before.
      data: the training split.
      epoch: that the step is in.
      task: the task.
      batch_size: B.
    """
    count = examples_per_epoch(task, len(data.labels))
    step_in_epoch = step % sampler.steps_per_epoch(count, batch_size)
    base, weight = sampler.base_images(epoch.order, step_in_epoch, batch_size, count)
    if task.num_labelled:
        batch = _labelled(named_key(epoch.key, "labelled"), base, weight, data, task)
    else:
        batch_key = jax.random.fold_in(named_key(epoch.key, "batch"), step)
        batch = sampler.sample_batch(
            batch_key, data.images, data.labels, base, weight, task, speech=data.speech
        )
    if not task.augmentation:
        return batch
    key = jax.random.fold_in(named_key(epoch.key, "augmentation"), step)
    image = views.augmented(key, batch.inputs["image"], task.grid, task.augmentation)
    return batch.replace(inputs=batch.inputs | {"image": image})


def examples_per_epoch(task: Task, num_images: int) -> int:
    """The pairs of an epoch: one for each image of the split, or all that there are."""
    return task.num_labelled or num_images


def _labelled(
    key: jax.Array, numbers: jax.Array, weight: jax.Array, data: TrainData, task: Task
) -> Batch:
    """Pairs of a fixed set by their numbers int32 [B]: each is a function of key and number."""

    def one(number: jax.Array, weight: jax.Array) -> Batch:
        own = jax.random.fold_in(key, number)
        base = jax.random.randint(named_key(own, "base"), (1,), 0, len(data.labels))
        return sampler.sample_batch(
            own, data.images, data.labels, base, weight[None], task, speech=data.speech
        )

    return jax.tree.map(lambda x: x[:, 0], jax.vmap(one)(numbers, weight))


def total_weight(step: jax.Array, count: int, batch_size: int) -> jax.Array:
    """The sum of the weights of a step's batch, float32, without the batch.

    Args:
      step: int32.
      count: the examples of an epoch.
      batch_size: B.
    """
    step_in_epoch = step % sampler.steps_per_epoch(count, batch_size)
    return jnp.minimum(batch_size, count - step_in_epoch * batch_size).astype(jnp.float32)


TrainStep = Callable[[TrainState, TrainData, Epoch], TrainState]


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    task: Task,
    mesh: Mesh,
    layout: Layout,
    *,
    batch_size: int,
    accumulate_steps: int = 1,
) -> TrainStep:
    """Builds one training step over a mesh.

    The batch of a step is a function of the epoch and the step; each device draws and computes its
    share of the rows. What devices tell each other the compiler adds: where all hold all parameters
    that is one all-reduce, of the gradients and the metrics.

    A step whose loss, gradient or update is not finite is skipped: parameters and optimizer stay as
    they were, and the step is counted.

    Returns:
      A pure function of the state, the data and the epoch that returns the next state.
    """

    def lies(tree: Any) -> Any:  # says where a tree's arrays lie; nothing where all have copies
        if not layout.cuts:
            return tree
        return jax.lax.with_sharding_constraint(tree, layout.shardings(mesh, tree))

    def train_step(state: TrainState, data: TrainData, epoch: Epoch) -> TrainState:
        batch = draw_batch(state.step, data, epoch, task, batch_size)
        batch = jax.lax.with_sharding_constraint(batch, layout.batch(mesh))
        params = state.params
        if layout.gathers:
            params = jax.lax.with_sharding_constraint(params, NamedSharding(mesh, P()))
        keys = Keys(
            jax.random.fold_in(named_key(epoch.key, "dropout"), state.step),
            jax.random.fold_in(named_key(epoch.key, "objective"), state.step),
        )
        count = examples_per_epoch(task, len(data.labels))
        weight = total_weight(state.step, count, batch_size)
        inputs = params, state.statistics, objective, batch, keys, weight
        if accumulate_steps > 1:
            gradient, (sums, statistics) = accumulated_gradient(*inputs, accumulate_steps)
        else:
            gradient, (sums, statistics) = jax.grad(loss_and_sums, has_aux=True)(*inputs)
        gradient = lies({"params": gradient})["params"]
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        one, zero = jnp.float32(1), jnp.float32(0)
        norm = optax.global_norm(gradient)
        sums |= {"steps": one, "gradient_norm": norm, "skipped_steps": zero}
        new_params = optax.apply_updates(state.params, updates)
        applied = TrainState(
            step=state.step + 1,
            params=new_params,
            opt_state=opt_state,
            sums=jax.tree.map(jnp.add, state.sums, sums),
            skipped_in_a_row=jnp.zeros((), jnp.int32),
            statistics=objective.after_step(new_params, statistics, state.step + 1),
        )
        skipped = state.replace(
            step=state.step + 1,
            sums=state.sums | {"skipped_steps": state.sums["skipped_steps"] + one},
            skipped_in_a_row=state.skipped_in_a_row + 1,
        )
        checked = jnp.stack([sums["loss"], norm, optax.global_norm(updates)])
        finite = jnp.isfinite(checked).all()
        return lies(jax.tree.map(lambda a, b: jnp.where(finite, a, b), applied, skipped))

    return train_step


def many_steps(
    train_step: TrainStep,
    state: TrainState,
    data: TrainData,
    epoch: Epoch,
    num_steps: jax.Array,
) -> tuple[TrainState, jax.Array]:
    """The steps of `make_train_steps`, not compiled."""
    end = state.step + num_steps
    state = jax.lax.while_loop(
        lambda state: (state.step < end) & (state.skipped_in_a_row < MOST_SKIPPED_IN_A_ROW),
        lambda state: train_step(state, data, epoch),
        state,
    )
    return state, jnp.stack([state.step, state.skipped_in_a_row])


def make_train_steps(
    train_step: TrainStep,
) -> Callable[[TrainState, TrainData, Epoch, int], tuple[TrainState, jax.Array]]:
    """Compiles many steps into one dispatch; any number of steps is the same program.

    Returns:
      A function of the state, which it consumes, the data, the epoch and the number of steps. It
      returns the next state and a token, int32 [2], that is ready when the steps are done and that
      outlives the state: the step, and the steps skipped in a row. Once these are
      `MOST_SKIPPED_IN_A_ROW`, no further step is made.
    """

    def train_steps(
        state: TrainState, data: TrainData, epoch: Epoch, num_steps: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        return many_steps(train_step, state, data, epoch, num_steps)

    return jax.jit(train_steps, donate_argnums=0)
