"""The score of every text for every image, where an objective gives it without asking each pair."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit.errors import UserError
from multimodal_vit.objectives.image_text import ContrastObjective
from multimodal_vit.objectives.labels import PosteriorObjective
from multimodal_vit.objectives.matching import Matching
from multimodal_vit.readouts.pairs import in_batches
from multimodal_vit.train.experiment import Experiment


def scores(
    experiment: Experiment, variables: Any, images: np.ndarray, texts: np.ndarray
) -> np.ndarray:
    """How well each of M texts fits each of N images, float32 [N, M]: higher is better.

    Of a contrast the product of the two vectors; of a posterior the log-probability of the text.

    Args:
      experiment: its objective gives vectors or posteriors.
      variables: of model and objective.
      images: uint8 [N, H, W, C].
      texts: int32 [M, n].

    Raises:
      UserError: the objective judges pairs, and gives neither.
    """
    objective, size = experiment.objective, experiment.config.evaluation.batch_size
    if isinstance(objective, ContrastObjective) and not isinstance(objective, Matching):
        of_images = jax.jit(lambda x: objective.image_vectors(variables, x))
        of_texts = jax.jit(lambda x: objective.text_vectors(variables, x))
        first, second = in_batches(of_images, size, images), in_batches(of_texts, size, texts)
        return first @ second.T
    if isinstance(objective, PosteriorObjective):
        of_images = jax.jit(lambda x: objective.image_posterior(variables, x))
        log_p = in_batches(of_images, size, images)  # (N, n, K)
        return np.stack([log_p[:, i, texts[:, i]] for i in range(texts.shape[1])]).sum(axis=0)
    raise UserError(
        f"train.objective={experiment.config.train.objective!r} judges pairs one by one: each "
        "image with each text would be a pass of its own"
    )


def pair_logits(
    experiment: Experiment, variables: Any, images: np.ndarray, texts: np.ndarray
) -> np.ndarray:
    """The verdict on M texts of each image, float32 [N, M].

    Args:
      experiment: its objective has a verdict.
      variables: of model and objective.
      images: uint8 [N, H, W, C].
      texts: int32 [N, M, n].

    Raises:
      UserError: it has none.
    """
    objective, size = experiment.objective, experiment.config.evaluation.batch_size
    if not objective.answers or experiment.task.classifies:
        raise UserError(
            f"train.objective={experiment.config.train.objective!r} gives no verdict on texts"
        )
    if experiment.task.audio_shape is not None:
        raise UserError("the texts are spoken too, and other texts have no recordings here")
    N, M, n = texts.shape
    rows = np.repeat(np.arange(N), M)

    @jax.jit
    def ask(row: jax.Array, words: jax.Array) -> jax.Array:
        inputs = {"image": jnp.asarray(images)[row], "words": words}
        return objective.verdict(variables, inputs)[:, 0]

    return in_batches(ask, size, rows, texts.reshape(N * M, n)).reshape(N, M)
