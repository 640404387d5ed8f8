"""Pairs of the test part, which exported files are compared with the model on."""

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit import config as configuration
from multimodal_vit.data import Splits, load_splits
from multimodal_vit.errors import UserError
from multimodal_vit.export.program import Inputs
from multimodal_vit.sampler import named_key, sample_batch
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.use import Model

NUM_PAIRS = 64


def real_pairs(model: Model, directory: str = "") -> tuple[Inputs, Splits]:
    """Inputs of pairs of the test part, and the data.

    Args:
      model: whose data are read.
      directory: the data folder, where it is not the configured one.

    Raises:
      UserError: the data are not at hand, or others.
    """
    changes = {"data.directory": directory} if directory else {}
    config = configuration.changed(model.config, changes)
    try:
        splits = load_splits(*configuration.data_arguments(config))
    except UserError as error:
        raise UserError(
            f"what is exported is compared with the model on its own data, which are not at hand "
            f"({error})"
        ) from error
    if splits.fingerprint() != model.about.fingerprint:
        raise UserError(
            f"the model was trained on other data than {splits.origin} (fingerprint "
            f"{model.about.fingerprint}, here {splits.fingerprint()}); give it its own with "
            "TFDS_DATA_DIR, or with its --config and --config.data.directory=…"
        )
    experiment = Experiment.create(config, splits, jax.devices()[:1], for_training=False)
    base = jnp.arange(min(NUM_PAIRS, len(splits.test)))
    draw = jax.jit(sample_batch, static_argnums=5)
    batch = draw(
        named_key(jax.random.key(config.evaluation.seed), "export"),
        splits.test.images,
        splits.test.labels,
        base,
        jnp.ones(len(base)),
        experiment.task,
        speech=experiment.speech("test"),
    )
    return {name: np.asarray(value) for name, value in batch.inputs.items()}, splits
