"""FOIL's second and third task: which word is wrong, and what is right (Shekhar et al. 2017)."""

import dataclasses
from typing import Any

import jax
import numpy as np

from multimodal_vit.errors import UserError
from multimodal_vit.objectives.labels import PosteriorObjective
from multimodal_vit.readouts.pairs import draw_grids, in_batches
from multimodal_vit.sampler import named_key, replace_labels
from multimodal_vit.train.experiment import Experiment

GRIDS = 1_000


def found_and_mended(log_p: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of the word that fits worst, int [N], and the class that fits best there.

    A word fits as badly as the best class of its place beats it.

    Args:
      log_p: of each place and class, [N, n, K].
      words: int32 [N, n].
    """
    said = np.take_along_axis(log_p, words[..., None], axis=2)[..., 0]  # (N, n)
    place = (log_p.max(axis=2) - said).argmax(axis=1)
    rows = np.arange(len(words))
    return place, log_p[rows, place].argmax(axis=1)


def find_wrong_word(experiment: Experiment, variables: Any) -> dict[str, Any]:
    """Test grids of which one word is replaced: is it found, and the right one named?

    Returns:
      Shares of the grids: "found", "mended" (found, and the right class named in its place);
      "chance", that of finding; "num_grids".

    Raises:
      UserError: the objective gives no posterior of each word.
    """
    objective = experiment.objective
    if not isinstance(objective, PosteriorObjective):
        raise UserError(
            f"train.objective={experiment.config.train.objective!r} does not say how likely each "
            "word is"
        )
    grids = draw_grids(experiment, "test", GRIDS)
    key = named_key(jax.random.key(experiment.config.evaluation.seed), "readouts wrong word")
    one = dataclasses.replace(experiment.task, replacement_rate=0.0)
    words = np.asarray(replace_labels(key, grids.labels, one))
    ask = jax.jit(lambda image: objective.image_posterior(variables, image))
    log_p = in_batches(ask, experiment.config.evaluation.batch_size, grids.image)
    place, better = found_and_mended(log_p, words)
    rows = np.arange(len(words))
    found = words[rows, place] != grids.labels[rows, place]
    mended = found & (better == grids.labels[rows, place])
    return {
        "num_grids": len(words),
        "found": float(found.mean()),
        "mended": float(mended.mean()),
        "chance": 1 / words.shape[1],
    }
