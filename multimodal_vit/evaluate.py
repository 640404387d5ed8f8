"""Predictions over a whole split, and what they say: accuracies with their intervals."""

import dataclasses
import functools
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from multimodal_vit import sampler
from multimodal_vit.errors import UserError
from multimodal_vit.files import replacing
from multimodal_vit.objective import OBJECTIVES, match_logit
from multimodal_vit.sampler import Task, named_key
from multimodal_vit.suites import AS_TRAINED, Suite


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A model's answers to N pairs, in host memory.

    Attributes:
      logits: float32 [N, U].
      loss: float32 [N].
      match: bool [N], the target of the true/false unit.
      classes: bool [N, K], the targets of the class units.
      words: int32 [N, n], the text.
      chosen: int32 [N, n], the images' places in the split.
      labels: int32 [N, n], what the images show.
    """

    logits: np.ndarray
    loss: np.ndarray
    match: np.ndarray
    classes: np.ndarray
    words: np.ndarray
    chosen: np.ndarray
    labels: np.ndarray

    @property
    def num_replaced(self) -> np.ndarray:
        """int64 [N], the labels in which text and image differ."""
        return (self.words != self.labels).sum(axis=1)

    def save(self, path: Path) -> None:
        """Writes them as a compressed .npz, whole or not at all."""
        with replacing(path, "wb") as file:
            np.savez_compressed(file, **dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
          UserError: not such a file.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{field.name: arrays[field.name] for field in dataclasses.fields(cls)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} cannot be read as saved predictions ({error}); evaluate the run anew with "
                f"--mode=evaluate --workdir={path.parent}"
            ) from error


PredictFn = Callable[[Any, jax.Array, jax.Array, jax.Array, int], Predictions]


def make_predict(
    model: nn.Module,
    task: Task,
    mesh: Mesh,
    *,
    objective: str,
    batch_size: int,
    num_passes: int,
    suites: Sequence[Suite] = (AS_TRAINED,),
) -> PredictFn:
    """Builds a function that shows every image of a split `num_passes` times as a base image.

    The pairs depend on the key, the split, the batch size and the suite alone, so that every model
    answers the same ones. All suites are one program: the model is compiled once.

    Returns:
      A function of parameters, images uint8 [N, H, W, C], labels int32 [N], both on the mesh, a
      key and the suite's place in `suites`, that returns `Predictions` of N · `num_passes` pairs,
      or fewer where some do not belong to the suite.
    """
    over_examples = NamedSharding(mesh, P("data"))

    @jax.jit
    def one_pass(
        params: Any, images: jax.Array, labels: jax.Array, key: jax.Array, which: jax.Array
    ) -> Any:
        num_steps = sampler.steps_per_epoch(len(labels), batch_size)
        order = sampler.epoch_order(named_key(key, "order"), len(labels), batch_size)

        def step(i: jax.Array) -> dict[str, jax.Array]:
            base, weight = sampler.base_images(order, i, batch_size, len(labels))
            batch_key = jax.random.fold_in(named_key(key, "batch"), i)
            draws = [
                functools.partial(suite.draw, batch_key, images, labels, task=task)
                for suite in suites
            ]
            batch = jax.lax.switch(which, draws, base, weight)
            batch = jax.lax.with_sharding_constraint(batch, over_examples)
            logits, intermediates = model.apply({"params": params}, batch.inputs)
            return {
                "logits": logits,
                "loss": OBJECTIVES[objective](logits, intermediates, batch),
                "match": batch.match,
                "classes": batch.classes,
                "words": batch.inputs["words"],
                "chosen": batch.chosen,
                "labels": batch.labels,
                "weight": batch.weight,
            }

        outputs = jax.lax.map(step, jnp.arange(num_steps))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outputs)

    def predict(
        params: Any, images: jax.Array, labels: jax.Array, key: jax.Array, which: int = 0
    ) -> Predictions:
        keys = [jax.random.fold_in(key, i) for i in range(num_passes)]
        passes = [jax.device_get(one_pass(params, images, labels, k, which)) for k in keys]
        arrays = jax.tree.map(lambda *x: np.concatenate(x), *passes)
        counts = arrays.pop("weight") > 0  # not the filling of the last batch
        return Predictions(**{name: array[counts] for name, array in arrays.items()})

    return predict


def proportion(right: np.ndarray) -> tuple[float, list[float]]:
    """The share of true values in bool [N] and its 95 % interval (Wilson score)."""
    n, k = len(right), int(right.sum())
    low, high = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    return k / n, [float(low), float(high)]


def mean_share(shares: np.ndarray) -> tuple[float, list[float]]:
    """The mean of shares, float [N] from 0 to 1, and its 95 % interval within 0 to 1.

    Student's t; where every share is 0 or every share 1, as of N yes-or-no answers (Wilson score).
    """
    if (shares == shares[0]).all() and shares[0] in (0, 1):
        return proportion(shares == 1)
    average, interval = mean(shares)
    return average, [min(max(bound, 0.0), 1.0) for bound in interval]


def mean(values: np.ndarray) -> tuple[float, list[float]]:
    """The mean of float [N] and its 95 % interval (Student's t; the values are independent)."""
    values = values.astype(np.float64)
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else 0.0
    return float(values.mean()), [float(values.mean() - half), float(values.mean() + half)]


def calibration_error(probability: np.ndarray, true: np.ndarray, num_bins: int = 15) -> float:
    """The expected calibration error of a yes-or-no answer (Guo et al. 2017), from 0 to 1.

    The mean distance between how sure the answers of a bin are and how often they are right;
    the bins divide the certainty, from 0.5 to 1, evenly.

    Args:
      probability: of "yes", float [N].
      true: whether "yes" is right, bool [N].
      num_bins: of the certainty.
    """
    certainty = np.maximum(probability, 1 - probability)
    right = (probability > 0.5) == true
    bins = np.minimum(((certainty - 0.5) * 2 * num_bins).astype(int), num_bins - 1)
    gaps = np.bincount(bins, weights=right - certainty, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(right))


def metrics(predictions: Predictions) -> dict[str, Any]:
    """What the predictions say, as fractions from 0 to 1.

    `match_accuracy` is the true/false output's, over all pairs; `match_accuracy_true` and `_false`
    over the true and the false pairs; `match_accuracy_by_replaced` by the number of replaced
    labels. `class_accuracy` is the mean over pairs and class outputs, and `class_exact_match` the
    share of pairs with every class output right. `auroc` and `ece` are the true/false output's area
    under the ROC curve and calibration error. A part without pairs is left out.

    Returns:
      The metrics by name; "num_pairs"; "intervals", under the same names the 95 % intervals; and
      "chance", the accuracies of always giving each output its commoner answer.
    """
    num_classes = predictions.classes.shape[1]
    right = (match_logit(predictions.logits, num_classes) > 0) == predictions.match  # (N,)
    right_class = (predictions.logits[:, -num_classes:] > 0) == predictions.classes  # (N, K)
    replaced = predictions.num_replaced
    found = {
        "loss": mean(predictions.loss),
        "match_accuracy": proportion(right),
        "class_accuracy": mean_share(right_class.mean(axis=1)),
        "class_exact_match": proportion(right_class.all(axis=1)),
    }
    for name, part in (("true", predictions.match), ("false", ~predictions.match)):
        if part.any():
            found[f"match_accuracy_{name}"] = proportion(right[part])
    by_replaced = {
        str(k): proportion(right[replaced == k]) for k in np.unique(replaced[replaced > 0])
    }
    values = {name: value for name, (value, _) in found.items()}
    intervals: dict[str, Any] = {name: interval for name, (_, interval) in found.items()}
    values["match_accuracy_by_replaced"] = {k: value for k, (value, _) in by_replaced.items()}
    intervals["match_accuracy_by_replaced"] = {
        k: between for k, (_, between) in by_replaced.items()
    }
    present = predictions.classes.mean(axis=0)  # (K,)
    true_rate = predictions.match.mean()
    probability = special.expit(match_logit(predictions.logits, num_classes))
    if np.isfinite(probability).all():  # not of a model that has diverged
        values["ece"] = calibration_error(np.asarray(probability), predictions.match)
        if 0 < predictions.match.sum() < len(right):
            values["auroc"] = float(roc_auc_score(predictions.match, probability))
    chance = {
        "match_accuracy": float(max(true_rate, 1 - true_rate)),
        "class_accuracy": float(np.maximum(present, 1 - present).mean()),
    }
    return values | {"num_pairs": len(right), "intervals": intervals, "chance": chance}


def suite_metrics(
    suites: Mapping[str, Suite], predict: Callable[[str], Predictions]
) -> dict[str, dict[str, Any]]:
    """The metrics of each suite.

    As `metrics` gives them; for the suites of foils also `rejection_rate`, the share of foils that
    are called false, with its interval. A suite to which no pair belongs is left out.

    Args:
      suites: by name.
      predict: the answers to a suite's pairs, by its name.
    """
    found = {}
    for name, suite in suites.items():
        predictions = predict(name)
        if len(predictions.match):
            found[name] = metrics(predictions)
            for part in (found[name], found[name]["intervals"]):
                del part["match_accuracy_by_replaced"]  # says nothing where the suite replaces
            if suite.foil and "match_accuracy_false" in found[name]:
                rate = found[name]["match_accuracy_false"]
                intervals = found[name]["intervals"]
                found[name]["rejection_rate"] = rate
                intervals["rejection_rate"] = intervals["match_accuracy_false"]
    return found
