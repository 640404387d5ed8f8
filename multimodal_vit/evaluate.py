"""Predictions over a whole split, and what they say: accuracies with their intervals."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from scipy import special, stats
from sklearn.metrics import f1_score, roc_auc_score

from multimodal_vit import distributed, sampler
from multimodal_vit.arrays import read_npz
from multimodal_vit.errors import UserError
from multimodal_vit.files import replacing
from multimodal_vit.objectives import Keys, Objective, match_logit
from multimodal_vit.sampler import Batch, Task, named_key
from multimodal_vit.suites import AS_TRAINED, Check, Pool, Suite


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
    def classifies(self) -> bool:
        """Whether the logits are of the classes alone, without a true/false unit."""
        return self.logits.shape[1] == self.classes.shape[1]

    @property
    def num_replaced(self) -> np.ndarray:
        """int64 [N], the labels in which text and image differ."""
        return (self.words != self.labels).sum(axis=1)

    def check(self) -> None:
        """Raises a `UserError` where the arrays are not of the shapes and kinds that they have."""
        kinds = {"logits": "f2", "loss": "f1", "match": "b1", "classes": "b2"}
        kinds |= {"words": "i2", "chosen": "i2", "labels": "i2"}
        for name, array in dataclasses.asdict(self).items():
            if f"{array.dtype.kind}{array.ndim}" != kinds[name] or len(array) != len(self.loss):
                raise UserError(f"{name} is {array.dtype} {list(array.shape)}")

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
            found = cls(**read_npz(path, [field.name for field in dataclasses.fields(cls)]))
            found.check()
            return found
        except UserError as error:
            raise UserError(
                f"{path} cannot be read as saved predictions ({error}); evaluate the run anew with "
                f"--mode=evaluate --workdir={path.parent}"
            ) from error


STEPS_AT_ONCE = 10  # batches that are drawn and answered in one call
_KEPT = ("match", "classes", "chosen", "labels", "weight")  # of a batch, beside its words


class Predict:
    """Shows the images of a split as base images, `num_passes` times.

    The pairs depend on the key, the pool, the batch size and the suite alone, so that every model
    answers the same ones.
    """

    def __init__(
        self,
        objective: Objective,
        task: Task,
        over_examples: NamedSharding,
        *,
        batch_size: int,
        num_passes: int,
        suites: Sequence[Suite] = (AS_TRAINED,),
    ) -> None:
        self.batch_size, self.num_passes = batch_size, num_passes

        def draw(pool: Pool, key: jax.Array, which: jax.Array, start: jax.Array) -> Batch:
            order = sampler.epoch_order(named_key(key, "order"), len(pool.labels), batch_size)
            at_once = self._at_once(pool)

            def step(i: jax.Array) -> Batch:
                base, weight = sampler.base_images(order, i, batch_size, len(pool.labels))
                batch_key = jax.random.fold_in(named_key(key, "batch"), i)
                draws = [functools.partial(suite.draw, batch_key, task=task) for suite in suites]
                return jax.lax.switch(which, draws, pool, base, weight)

            batches = jax.lax.map(step, start + jnp.arange(at_once))
            return jax.lax.with_sharding_constraint(batches, over_examples)

        def answer(
            variables: Any, batches: Batch, key: jax.Array, start: jax.Array
        ) -> dict[str, jax.Array]:
            own = named_key(key, "objective")

            def step(numbered: tuple[jax.Array, Batch]) -> dict[str, jax.Array]:
                i, batch = numbered
                keys = Keys(objective=jax.random.fold_in(own, start + i))
                found = objective.loss(variables, batch, keys, train=False)
                logits = found.logits
                if logits is None:
                    logits = objective.verdict(variables, batch.inputs)
                return {"logits": logits, "loss": found.loss}

            return jax.lax.map(step, (jnp.arange(len(batches.weight)), batches))

        # Apart, so that the many suites are compiled once for all models.
        self._draw, self._answer = jax.jit(draw), jax.jit(answer)

    def _steps_in_pass(self, pool: Pool) -> int:
        return sampler.steps_per_epoch(len(pool.labels), self.batch_size)

    def _at_once(self, pool: Pool) -> int:
        return min(STEPS_AT_ONCE, self._steps_in_pass(pool))

    def __call__(
        self, variables: Any, pool: Pool, key: jax.Array, which: int = 0, num_pairs: int = 0
    ) -> Predictions:
        """The answers to a suite's pairs.

        Args:
          variables: of the model, on the mesh.
          pool: what the pairs are drawn from, on the mesh.
          key: of the pairs.
          which: the suite's place in `suites`.
          num_pairs: stop after the batch that completes so many; 0: all N · `num_passes`.

        Returns:
          Predictions of the pairs that belong to the suite.
        """
        in_pass, at_once = self._steps_in_pass(pool), self._at_once(pool)
        left = -(-num_pairs // self.batch_size) if num_pairs else in_pass * self.num_passes
        parts = []
        for i in range(self.num_passes):
            pass_key = jax.random.fold_in(key, i)
            for start in range(0, min(left, in_pass), at_once):
                # Steps after the last are filling, of weight 0.
                count = min(at_once, min(left, in_pass) - start) * self.batch_size
                batches = self._draw(pool, pass_key, which, start)
                answers = self._answer(variables, batches, pass_key, start) | {
                    "words": batches.inputs["words"],
                    **{name: getattr(batches, name) for name in _KEPT},
                }
                parts.append(
                    jax.tree.map(
                        lambda x, count=count: x.reshape(-1, *x.shape[2:])[:count],
                        distributed.to_host(answers),
                    )
                )
            left = max(0, left - in_pass)
        arrays = jax.tree.map(lambda *x: np.concatenate(x), *parts)
        counts = arrays.pop("weight") > 0  # not the filling of the last batch
        return Predictions(**{name: array[counts] for name, array in arrays.items()})

    def pairs(self, pool: Pool, key: jax.Array, which: int, rows: Sequence[int]) -> list[Batch]:
        """The pairs behind some rows of a suite's predictions, each a batch of one.

        The suite leaves no pair out.
        """
        found = []
        for row in rows:
            which_pass, place = divmod(row, len(pool.labels))
            step, place = divmod(place, self.batch_size)
            start = step // self._at_once(pool) * self._at_once(pool)  # as they were drawn before
            drawn = self._draw(pool, jax.random.fold_in(key, which_pass), which, start)
            batches = distributed.to_host(drawn)
            at = step - start, slice(place, place + 1)
            found.append(jax.tree.map(lambda x, at=at: x[at], batches))
        return found


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


def reliability(probability: np.ndarray, true: np.ndarray, num_bins: int = 15) -> dict[str, Any]:
    """How often the answers of a yes-or-no output are right, by how sure they are.

    The bins divide the certainty, from 0.5 to 1, evenly (Guo et al. 2017).

    Args:
      probability: of "yes", float [N].
      true: whether "yes" is right, bool [N].
      num_bins: of the certainty.

    Returns:
      "count", "certainty" and "right" of each bin, the last two the means or None; "ece", the
      expected calibration error: the mean distance between the two, from 0 to 1.
    """
    certainty = np.maximum(probability, 1 - probability)
    right = (probability > 0.5) == true
    bins = np.minimum(((certainty - 0.5) * 2 * num_bins).astype(int), num_bins - 1)
    count = np.bincount(bins, minlength=num_bins)
    sums = [np.bincount(bins, weights=x, minlength=num_bins) for x in (certainty, right)]
    sure, correct = (
        [float(x / n) if n else None for x, n in zip(part, count, strict=True)] for part in sums
    )
    ece = float(np.abs(sums[1] - sums[0]).sum() / len(right))
    return {"count": count.tolist(), "certainty": sure, "right": correct, "ece": ece}


def metrics(predictions: Predictions) -> dict[str, Any]:
    """What the predictions say, as fractions from 0 to 1.

    `match_accuracy` is the true/false output's, over all pairs; `match_accuracy_true` and `_false`
    over the true and the false pairs; `match_accuracy_by_replaced` by the number of replaced
    labels. `class_accuracy` is the mean over pairs and class outputs, and `class_exact_match` the
    share of pairs with every class output right. `auroc` and `ece` are the true/false output's area
    under the ROC curve and calibration error. A part without pairs is left out. Of a classifier of
    single images, `accuracy` and `macro_f1`, the mean over classes of the F1 score.

    Returns:
      The metrics by name; "num_pairs"; "intervals", under the same names the 95 % intervals; and
      "chance", the accuracies of always giving each output its commoner answer.
    """
    num_classes = predictions.classes.shape[1]
    if predictions.classifies:
        return _class_metrics(predictions)
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
        values["ece"] = reliability(np.asarray(probability), predictions.match)["ece"]
        if 0 < predictions.match.sum() < len(right):
            values["auroc"] = float(roc_auc_score(predictions.match, probability))
    chance = {
        "match_accuracy": float(max(true_rate, 1 - true_rate)),
        "class_accuracy": float(np.maximum(present, 1 - present).mean()),
    }
    return values | {"num_pairs": len(right), "intervals": intervals, "chance": chance}


def _class_metrics(predictions: Predictions) -> dict[str, Any]:
    labels, said = predictions.labels[:, 0], predictions.logits.argmax(axis=1)
    found = {"loss": mean(predictions.loss), "accuracy": proportion(said == labels)}
    values: dict[str, Any] = {name: value for name, (value, _) in found.items()}
    values["macro_f1"] = float(f1_score(labels, said, average="macro", zero_division=0.0))
    intervals = {name: interval for name, (_, interval) in found.items()}
    chance = {"accuracy": float(predictions.classes.mean(axis=0).max())}
    return values | {"num_pairs": len(labels), "intervals": intervals, "chance": chance}


MAIN_METRICS = ("match_accuracy", "accuracy")  # a model has one of them


def main_metric(values: Mapping[str, Any]) -> float:
    """The one number that stands for a model: its true/false accuracy, or a classifier's."""
    return next(values[name] for name in MAIN_METRICS if name in values)


def in_words(values: Mapping[str, Any]) -> str:
    """The accuracies among some metrics, for a line of text."""
    if "accuracy" in values:
        return f"accuracy {values['accuracy']:.2%}, macro F1 {values['macro_f1']:.4f}"
    return f"true/false {values['match_accuracy']:.2%}, per class {values['class_accuracy']:.2%}"


def suite_metrics(suite: Suite, predictions: Predictions) -> dict[str, Any]:
    """The metrics of a suite's pairs.

    As `metrics` gives them; also the `reliability` diagram, and of foils `rejection_rate`, the
    share that is called false, with its interval.
    """
    found = metrics(predictions)
    if predictions.classifies:
        return found
    probability = special.expit(match_logit(predictions.logits, predictions.classes.shape[1]))
    if "ece" in found:
        found["reliability"] = reliability(np.asarray(probability), predictions.match)
    for part in (found, found["intervals"]):
        del part["match_accuracy_by_replaced"]  # says nothing where the suite replaces
    if suite.foil and "match_accuracy_false" in found:
        for part in (found, found["intervals"]):
            part["rejection_rate"] = part["match_accuracy_false"]
    return found


def suite_share(suite: Suite, predictions: Predictions) -> float:
    """What stands for a suite: of foils the share that is rejected, else of right answers."""
    if predictions.classifies:
        return float((predictions.logits.argmax(axis=1) == predictions.labels[:, 0]).mean())
    num_classes = predictions.classes.shape[1]
    right = (match_logit(predictions.logits, num_classes) > 0) == predictions.match
    return float(right[~predictions.match if suite.foil else slice(None)].mean())


def confusable(predictions: Predictions) -> np.ndarray:
    """For each class the other class that a model takes it for most, int32 [K].

    Args:
      predictions: of pairs of which some have one label replaced. The class is the one whose name
        for it is believed most, by the mean logit of "true" over such pairs; where no pair names it
        wrongly, the next class.
    """
    num_classes = predictions.classes.shape[1]
    one = predictions.num_replaced == 1
    wrong = predictions.words[one] != predictions.labels[one]  # one true value in each row
    shown, named = predictions.labels[one][wrong], predictions.words[one][wrong]
    believed = match_logit(predictions.logits[one], num_classes)
    sums = np.zeros((num_classes, num_classes))
    counts = np.zeros((num_classes, num_classes))
    np.add.at(sums, (shown, named), believed)
    np.add.at(counts, (shown, named), 1)
    means = np.divide(sums, counts, out=np.full_like(sums, -np.inf), where=counts > 0)
    found = means.argmax(axis=1)
    unknown = np.isneginf(means).all(axis=1)
    return np.where(unknown, (np.arange(num_classes) + 1) % num_classes, found).astype(np.int32)


MAX_FAILURES = 4  # shown of each check


def check_metrics(check: Check, before: Predictions, after: Predictions) -> dict[str, Any]:
    """How often a model fails a check.

    Args:
      check: what must hold.
      before: the answers to the pairs of `suites.BEFORE`.
      after: the answers to the pairs of `check.after`, drawn with the same key.

    Returns:
      "failure_rate" and its 95 % interval, "num_pairs" that the check is about, and "failures", the
      rows of some that fail; the rate is left out where there are none.
    """
    num_classes = after.classes.shape[1]
    said, says = (match_logit(p.logits, num_classes) > 0 for p in (before, after))
    counts = np.ones(len(says), bool)
    if check.must == "be right":
        fails = says != after.match
    elif check.must == "stay":
        fails = says != said
    else:  # of what was rightly called true
        differs = (before.labels != before.labels[:, :1]).any(axis=1)
        counts = before.match & said & differs
        fails = says if check.must == "turn false" else ~says
    return _failures(fails, counts)


def consistency_metrics(predictions: Predictions) -> dict[str, Any]:
    """How often "true" contradicts the class outputs; as `check_metrics`.

    Of the pairs that are called true, those whose text names other classes than the class outputs
    see.
    """
    num_classes = predictions.classes.shape[1]
    named = (predictions.words[..., None] == np.arange(num_classes)).any(axis=1)  # (N, K)
    seen = predictions.logits[:, -num_classes:] > 0
    says = match_logit(predictions.logits, num_classes) > 0
    return _failures((named != seen).any(axis=1), says)


def _failures(fails: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"num_pairs": int(counts.sum())}
    if counts.any():
        found["failure_rate"], interval = proportion(fails[counts])
        found["intervals"] = {"failure_rate": interval}
        found["failures"] = np.flatnonzero(fails & counts)[:MAX_FAILURES].tolist()
    return found
