"""Optimizers: a file each; and what every one gets: schedule, gradient clipping, declarations."""

from collections.abc import Mapping

import optax
from ml_collections import ConfigDict

from multimodal_vit.components import get
from multimodal_vit.parameters import Declaration
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
    return optimizer
