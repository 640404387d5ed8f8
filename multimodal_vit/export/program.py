"""A model as one function of its inputs, with its parameters in it: what programs are made of."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from multimodal_vit import config as configuration
from multimodal_vit.errors import UserError
from multimodal_vit.objectives import Objective
from multimodal_vit.probes.maps import between
from multimodal_vit.use import Model
from multimodal_vit.use.loading import build

Inputs = dict[str, np.ndarray]
ORDER = ("image", "words", "audio", "present")


@dataclasses.dataclass(frozen=True)
class Program:
    """A function of a model's inputs, to be traced.

    Attributes:
      function: takes the inputs in the order of `inputs`, gives one array for each of `outputs`:
        "logits" [B, U] and, where the model returns it, "attention" [B, L, heads, n, P], the
        attention weights from each word to the patches.
      inputs: their names, of `ORDER`.
      outputs: their names.
      shapes: of each input, without the batch.
      dtypes: of each input.
    """

    function: Callable[..., tuple[jax.Array, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, np.dtype]

    def expected(self, inputs: Inputs) -> list[np.ndarray]:
        """What it gives, computed here."""
        found = jax.jit(self.function)(*(inputs[name] for name in self.inputs))
        return [np.asarray(array) for array in found]


def program_of(model: Model, pairs: Inputs) -> Program:
    """The program of a model, of operations that every platform has.

    Args:
      model: the model.
      pairs: inputs as it takes them, for their shapes.

    Raises:
      UserError: it needs more than its inputs.
    """
    config = configuration.changed(model.config, {"model.attention": "products"})
    objective = build(config, model.about)
    wanted = model.reads | ({"present"} if "audio" in pairs else set())
    names = tuple(name for name in ORDER if name in wanted)
    if missing := wanted - pairs.keys():
        raise UserError(f"the model reads {', '.join(sorted(missing))}, which the pairs lack")
    looks = model.returns_attention
    return Program(
        functools.partial(answer, objective, model.variables, names, looks),
        names,
        ("logits", "attention") if looks else ("logits",),
        {name: pairs[name].shape[1:] for name in names},
        {name: pairs[name].dtype for name in names},
    )


def answer(
    objective: Objective,
    variables: Mapping[str, Any],
    names: tuple[str, ...],
    looks: bool,
    *arrays: jax.Array,
) -> tuple[jax.Array, ...]:
    """What a program computes.

    Args:
      objective: of the model.
      variables: its parameters and what is kept beside them.
      names: of the inputs.
      looks: whether attention is given too.
      *arrays: the inputs.
    """
    inputs = dict(zip(names, arrays, strict=True))
    if not looks:
        return (objective.verdict(variables, inputs),)
    logits, found = objective.model.apply(variables, inputs, return_attention=True)
    if type(objective).verdict is not Objective.verdict:  # else the same pass gives both
        logits = objective.verdict(variables, inputs)
    return logits, between(found, "words", "patches")


def difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest difference of two answers; infinite where a value or a shape is no answer."""
    worst = 0.0
    for own, other in zip(found, expected, strict=True):
        if own.shape != other.shape or not np.isfinite(own).all():
            return float("inf")
        worst = max(worst, float(np.abs(own - other).max(initial=0)))
    return worst
