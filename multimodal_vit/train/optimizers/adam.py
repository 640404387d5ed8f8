"""Adam."""

from collections.abc import Mapping
from typing import Any

import optax
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.parameters import Declaration, by_path


@component("train.optimizer", "adam")
def adam(
    train: ConfigDict, schedule: optax.Schedule, declared: Mapping[str, Declaration]
) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2014) with decoupled weight decay; without decay plain Adam."""

    def decayed(params: Any) -> Any:
        return by_path(params, declared, lambda declaration: declaration.decay)

    return optax.adamw(schedule, weight_decay=train.weight_decay, mask=decayed)
