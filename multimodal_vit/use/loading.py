"""A model from its folder alone: a run's, or an exported one."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from multimodal_vit import about_data
from multimodal_vit import config as configuration
from multimodal_vit.about_data import AboutData
from multimodal_vit.components import get
from multimodal_vit.data import load_splits
from multimodal_vit.errors import UserError
from multimodal_vit.jax_settings import compute_as_documented
from multimodal_vit.models import build_model, example_inputs
from multimodal_vit.objectives import Objective
from multimodal_vit.objectives.base import VERDICT
from multimodal_vit.parameters import plain
from multimodal_vit.train.restore import best_variables
from multimodal_vit.train.step import init_variables
from multimodal_vit.use import exported
from multimodal_vit.use.model import Model
from multimodal_vit.workdir import Workdir


def load(folder: str | Path, trust_components: bool = False) -> Model:
    """The model of a run, with the parameters of its best checkpoint; or an exported model.

    Neither the data nor the network is needed. A run that began before runs described their data
    needs them at hand.

    Args:
      folder: of a run, finished or not, or one that `--mode=export` has written.
      trust_components: whether files of components that the folder keeps may be executed.

    Raises:
      UserError: no such folder, no checkpoint yet, or damaged files.
    """
    folder = Path(folder)
    if exported.is_exported(folder):
        config, about, origin = exported.load_description(folder, trust_components)
        objective = build(config, about)
        like = shapes_of(objective)
        if objective.scores:
            like = like | {VERDICT: {"threshold": jax.ShapeDtypeStruct((), np.float32)}}
        variables = exported.load_weights(folder / exported.WEIGHTS, like)
        return Model(config, about, objective, variables, origin)
    workdir = Workdir(folder)
    config = workdir.saved_config(trust_components)
    about = about_data.read(folder) or _of_data_at_hand(config, folder)
    objective = build(config, about)
    step, variables, fingerprint = best_variables(folder / "checkpoints", shapes_of(objective))
    if fingerprint != about.fingerprint:
        raise UserError(
            f"{folder / about_data.ABOUT_DATA} is of other data (fingerprint {about.fingerprint}) "
            f"than the run was trained on ({fingerprint}); put its own back, or start the training "
            "there again, which writes it anew"
        )
    if objective.scores:
        variables = variables | _threshold(workdir)
    return Model(
        config, about, objective, variables, f"{config.name}, seed {config.seed}, step {step}"
    )


def build(config: ConfigDict, about: AboutData) -> Objective:
    """The model that a configuration describes and what it was trained for, without parameters."""
    compute_as_documented()
    if config.model.attention == "cudnn":  # wherever it was trained, it is used here
        config = configuration.changed(config, {"model.attention": "auto"})
    task = configuration.task_on(
        config, about.image_shape, len(about.class_names), about.audio_shape
    )
    model = build_model(config.model, task)
    chosen = get("train.objective", config.train.objective).target
    objective = chosen.build(model, task, config.train.objective_options)
    if not objective.answers:
        raise UserError(
            f"train.objective={config.train.objective!r} learns from images alone and gives no "
            "answers; start a run from it (model.initial, docs/objectives.md) and use that"
        )
    return objective


def _threshold(workdir: Workdir) -> dict[str, Any]:
    """What a verdict that is a score is held against, as the run's results have it."""
    found = (workdir.results() or {}).get("threshold")
    if found is None:
        raise UserError(
            f"the answers of the run in {workdir.path} are scores, whose threshold is fitted at "
            "its end; train it to the end"
        )
    return {VERDICT: {"threshold": np.float32(found)}}


def shapes_of(objective: Objective) -> dict[str, Any]:
    """The shapes of all variables of a model and its objective."""
    inputs = example_inputs(objective.task)
    return jax.eval_shape(
        lambda key: plain(init_variables(objective, inputs, key)), jax.random.key(0)
    )


def _of_data_at_hand(config: ConfigDict, folder: Path) -> AboutData:
    """For a run that began before runs described their data."""
    try:
        splits = load_splits(*configuration.data_arguments(config))
    except UserError as error:
        raise UserError(
            f"{folder} is of an older version, which kept no {about_data.ABOUT_DATA}: its data are "
            f"needed ({error})"
        ) from error
    return AboutData.of(splits)
