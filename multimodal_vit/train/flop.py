"""Floating-point operations of training, counted by XLA and by a formula.

XLA counts in the program before it is optimised, as made for the CPU whatever trains: the plugins
of GPUs and TPUs do not count there.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from multimodal_vit import config as configuration
from multimodal_vit.layout import make_mesh
from multimodal_vit.models import build_model
from multimodal_vit.objectives import Keys
from multimodal_vit.sampler import Batch
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.step import draw_batch, loss_and_sums

# What XLA cannot count, loops and cuDNN, done otherwise; and without dropout, whose random bits it
# would count: they are no floating-point operations.
COUNTABLE = {
    "model.attention": "products",
    "model.dropout_rate": 0.0,
    "model.remat": False,
    "train.accumulate_steps": 1,
}


def flop_per_example(experiment: Experiment) -> float:
    """FLOP of one training step, divided by its batch size, as XLA counts them.

    Forward, backward, optimizer and sampler; what rematerialisation computes twice counts once.
    Where JAX may not use the CPU (JAX_PLATFORMS=cuda) it is `formula_flop`.
    """
    plain = _countable(experiment)
    arguments = plain.abstract_state(), *_abstract(plain)
    return _count(experiment, plain.train_step(), arguments)


def model_flop(experiment: Experiment) -> float:
    """FLOP of the gradient of the loss for one example, as XLA counts them.

    Every elementwise operation counts too, and what runs in a loop counts once. Without a CPU, see
    `flop_per_example`, it is `formula_flop`.
    """
    forward, arguments = _forward(experiment)
    return _count(experiment, jax.grad(forward), arguments)


def formula_flop(experiment: Experiment) -> float:
    """FLOP of one training example by the formula 3 · Σ 2·M·N·K.

    The sum is over the matrix products [M, K] × [K, N] of the forward pass, convolutions among them
    (M positions, N channels, K weights of one). The backward pass has two products of the same size
    for each. Nothing else is counted.
    """
    forward, arguments = _forward(experiment)
    jaxpr = jax.make_jaxpr(forward)(*arguments)
    return 3 * product_flop(jaxpr.jaxpr) / experiment.config.train.batch_size


def product_flop(jaxpr: Jaxpr) -> float:
    """Σ 2·M·N·K of the matrix products and convolutions in a traced function."""
    flop = 0.0
    for eqn in jaxpr.eqns:
        shapes = [var.aval.shape for var in eqn.invars if hasattr(var.aval, "shape")]
        size = math.prod(eqn.outvars[0].aval.shape)
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            flop += 2 * size * math.prod(shapes[0][i] for i in contracted)
        elif eqn.primitive.name == "conv_general_dilated":
            features = eqn.params["dimension_numbers"].rhs_spec[0]
            flop += 2 * size * math.prod(shapes[1]) / shapes[1][features]
        else:
            times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
            flop += times * sum(product_flop(inner) for inner in _inner(eqn.params))
    return flop


def _countable(experiment: Experiment) -> Experiment:
    """The same computation as XLA can count it, on one device."""
    devices = jax.local_devices()
    with contextlib.suppress(RuntimeError):  # the formula needs no CPU
        devices = jax.local_devices(backend="cpu")
    config = configuration.changed(experiment.config, COUNTABLE)
    model = build_model(config.model, experiment.task)
    objective = dataclasses.replace(experiment.objective, model=model)
    mesh = make_mesh(devices[:1], 1)
    return dataclasses.replace(
        experiment, config=config, model=model, objective=objective, mesh=mesh
    )


def _abstract(plain: Experiment) -> tuple[Any, Any]:
    """The shapes of a training split and of an epoch."""
    data = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), plain.host_data())
    return data, jax.eval_shape(lambda: plain.epoch(0))


def _count(
    experiment: Experiment, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> float:
    """The FLOP of a function of a batch, for each example; by formula where XLA cannot count."""
    found = jax.jit(function).lower(*arguments).cost_analysis()
    if found is None:
        return formula_flop(experiment)
    return found["flops"] / experiment.config.train.batch_size


def _forward(experiment: Experiment) -> tuple[Callable[..., jax.Array], tuple[Any, ...]]:
    """The loss of a batch, and the shapes that it takes."""
    plain = _countable(experiment)
    config, keys = plain.config.train, Keys(jax.random.key(0), jax.random.key(0))
    batch = jax.eval_shape(
        lambda data, epoch: draw_batch(0, data, epoch, plain.task, config.batch_size),
        *_abstract(plain),
    )
    state = plain.abstract_state()

    def forward(params: Any, statistics: Any, batch: Batch) -> jax.Array:
        return loss_and_sums(params, statistics, plain.objective, batch, keys)[0]

    return forward, (state.params, state.statistics, batch)


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, (Jaxpr, ClosedJaxpr)):
                yield part.jaxpr if isinstance(part, ClosedJaxpr) else part
