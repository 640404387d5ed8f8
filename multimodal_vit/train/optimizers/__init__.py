"""Optimizers: a file each; and what every one gets: schedule, gradient clipping, declarations."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from multimodal_vit.components import get
from multimodal_vit.errors import UserError
from multimodal_vit.parameters import Declaration, beginnings, begins, name_of
from multimodal_vit.train.optimizers.schedules import learning_rate_schedule

__all__ = ["COMPONENTS", "learning_rate_schedule", "make_optimizer"]

_HERE = "multimodal_vit.train.optimizers"
COMPONENTS = {"adam": f"{_HERE}.adam", "muon": f"{_HERE}.muon"}


def make_optimizer(
    train: ConfigDict, total_steps: int, declared: Mapping[str, Declaration]
) -> optax.GradientTransformation:
    """The optimizer that `config.train` names, with clipping, schedule and weight decay.

    Args:
      train: `config.train`.
      total_steps: of the training, at the end of which a cosine schedule is 0.
      declared: what is known of each parameter, by its path.
    """
    schedule = learning_rate_schedule(train, total_steps)
    build = get("train.optimizer", train.optimizer).target
    optimizer = build(train, schedule, declared)
    if train.gradient_clip:
        optimizer = optax.chain(optax.clip_by_global_norm(train.gradient_clip), optimizer)
    if train.frozen:
        optimizer = _without(frozen_paths(list(declared), train.frozen), optimizer)
    return optimizer


def frozen_paths(paths: Sequence[str], frozen: Sequence[str]) -> set[str]:
    """The parameters that stay as they are.

    Args:
      paths: of all parameters.
      frozen: beginnings of their names.

    Raises:
      UserError: one of them begins no name.
    """
    for part in frozen:
        if not any(path.startswith(part) for path in paths):
            raise UserError(
                f"train.frozen: no parameter begins with {part!r}; they begin with "
                f"{beginnings(paths)}"
            )
    return {path for path in paths if begins(path, frozen)}


def _without(
    frozen: set[str], optimizer: optax.GradientTransformation
) -> optax.GradientTransformation:
    """An optimizer that leaves some parameters alone; they have no state and no decay."""

    def labels(params: Any) -> Any:
        def at(path: tuple[Any, ...], leaf: Any) -> str:
            del leaf
            return "frozen" if name_of(path) in frozen else "trained"

        return jax.tree_util.tree_map_with_path(at, params)

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)
