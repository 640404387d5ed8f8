"""Predicts whole parts of an experiment's data."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from multimodal_vit import sampler
from multimodal_vit.data import ImageSet
from multimodal_vit.objectives.base import VERDICT
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

    def fitted(self, variables: Any) -> Any:
        """The variables with the threshold of a verdict that is a score; else as they are.

        The threshold is that of the highest accuracy on the validation pairs.
        """
        if not self.experiment.objective.scores:
            return variables
        at_zero = self.experiment.on_mesh({VERDICT: {"threshold": np.float32(0)}})
        answers = self(dict(variables) | at_zero, "validation")
        threshold = np.float32(best_threshold(answers.true_logit, answers.match))
        return dict(variables) | self.experiment.on_mesh({VERDICT: {"threshold": threshold}})

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


def best_threshold(scores: np.ndarray, true: np.ndarray) -> float:
    """The threshold above which calling pairs true is right most often.

    Of several alike the middle one of the first stretch; between two scores, so that none lies on
    it.

    Args:
      scores: float [N], all finite; else the threshold is 0.
      true: bool [N].
    """
    if not len(scores) or not np.isfinite(scores).all():
        return 0.0
    order = np.argsort(scores, kind="stable")
    ordered, is_true = scores[order].astype(np.float64), true[order]
    # Right with the threshold before the i-th: false ones below it, true ones from it on.
    right = np.concatenate([[0], np.cumsum(~is_true)]) + np.concatenate(
        [np.cumsum(is_true[::-1])[::-1], [0]]
    )
    cuts = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])
    place = int(np.where(cuts, right, -1).argmax())
    edges = np.concatenate([[ordered[0] - 1], ordered, [ordered[-1] + 1]])
    return float((edges[place] + edges[place + 1]) / 2)
