"""Muon."""

from collections.abc import Mapping
from typing import Any

import optax
import optax.contrib
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.parameters import Declaration, by_path


@component("train.optimizer", "muon")
def muon(
    train: ConfigDict, schedule: optax.Schedule, declared: Mapping[str, Declaration]
) -> optax.GradientTransformation:
    """Muon (Jordan et al. 2024): steps of orthogonal matrices.

    A parameter that is declared a matrix counts as one from all its inputs to all its outputs. All
    else, the head among it, has Adam with Nesterov momentum; the matrices' steps have its usual
    size (Liu et al. 2025), so that one learning rate serves both.
    """

    def decayed(params: Any) -> Any:
        return by_path(params, declared, lambda declaration: declaration.decay)

    def matrix(declaration: Declaration) -> Any:
        if declaration.matrix is None:
            return None
        return optax.contrib.MuonDimensionNumbers(*declaration.matrix)

    return optax.contrib.muon(
        schedule,
        weight_decay=train.weight_decay,
        weight_decay_mask=decayed,
        adam_weight_decay=train.weight_decay,
        muon_weight_dimension_numbers=lambda params: by_path(params, declared, matrix),
        consistent_rms=0.2,
    )
