"""Predicts whole parts of an experiment's data."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from multimodal_vit import sampler
from multimodal_vit.data import ImageSet
from multimodal_vit.predict import Predict, Predictions
from multimodal_vit.sampler import Speech, named_key
from multimodal_vit.suites import AS_TRAINED, Pool, Suite
from multimodal_vit.train.experiment import Experiment


class Predictor:
    """Predicts whole parts of an experiment's data, "validation" or "test".

    The suite is one of the names given, or "" for the task as it is trained. "standard" is drawn
    from the same keys as the task, every other suite from its own, `evaluation.suite_pairs` of it.

    Attributes:
      confusable: int32 [K], for each class the one that near foils take; see `suites.Pool`.
    """

    def __init__(self, experiment: Experiment, suites: Mapping[str, Suite] | None = None) -> None:
        self.experiment = experiment
        self.suites = {"": AS_TRAINED} | dict(suites or {})
        settings = experiment.config.evaluation
        self._key = jax.random.key(settings.seed)
        self._placed: dict[tuple[str, bool], tuple[jax.Array, jax.Array, Speech | None]] = {}
        num_classes = experiment.task.num_classes
        self.confusable = ((np.arange(num_classes) + 1) % num_classes).astype(np.int32)
        self._predict = Predict(
            experiment.objective,
            experiment.task,
            experiment.layout.batch(experiment.mesh, num_before=1),
            batch_size=settings.batch_size,
            num_passes=settings.num_passes,
            suites=list(self.suites.values()),
        )

    def __call__(
        self,
        variables: Any,
        part: str,
        suite: str = "",
        stream: str = "",
        *,
        flipped: bool = False,
    ) -> Predictions:
        """The answers to the pairs of a suite.

        Args:
          variables: of the model.
          part: of the data.
          suite: which pairs.
          stream: the random numbers they are drawn with, where not the suite's own.
          flipped: the same grids in the same order, each with its other text: the true one where it
            had a false one, and a false one where it had the true one.

        Raises:
          UserError: the suite needs another data set, which is not there.
        """
        whole = suite in ("", "standard")
        num_pairs = 0 if whole else self.experiment.config.evaluation.suite_pairs
        return self._predict(variables, *self._drawn(part, suite, stream), num_pairs, flipped)

    def pairs(
        self, part: str, rows: Sequence[int], suite: str = "", stream: str = ""
    ) -> list[sampler.Batch]:
        """The pairs behind some rows of such predictions, each a batch of one."""
        return self._predict.pairs(*self._drawn(part, suite, stream), rows)

    def _drawn(self, part: str, suite: str, stream: str) -> tuple[Pool, jax.Array, int]:
        other = self.suites[suite].other_data
        if (part, other) not in self._placed:
            experiment = self.experiment
            splits = experiment.other_splits if other else experiment.splits
            image_set: ImageSet = getattr(splits, part)
            placed = image_set.images, image_set.labels, experiment.speech(part)
            self._placed[part, other] = experiment.on_mesh(placed)
        images, labels, speech = self._placed[part, other]
        confusable = self.experiment.on_mesh(self.confusable)
        own = part if suite in ("", "standard") else f"{part} {suite}"
        key = named_key(self._key, f"{part} {stream}" if stream else own)
        pool = Pool(images, labels, confusable, speech)
        return pool, key, list(self.suites).index(suite)
