"""What answers say: the metrics of a split, of suites, of checks, and their 95 % intervals."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from multimodal_vit import intervals
from multimodal_vit.foils import by_change, paired, told_apart
from multimodal_vit.predict import Predictions
from multimodal_vit.suites import Suite


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
    labels. `called_false` is the share that is called false, `false_share` the share that is.
    `class_accuracy` is the mean over pairs and class outputs, and `class_exact_match` the
    share of pairs with every class output right. `auroc`, `rejection_difference` and `ece` are the
    true/false output's area under the ROC curve, see `told_apart`, and calibration error. A part
    without pairs is left out, and so is what needs class outputs where the verdict has none. Of a
    classifier of single images, `accuracy` and `macro_f1`, the mean over classes of the F1 score.
    Without a verdict, the loss. The objective's own metrics are added, as means over pairs.

    Returns:
      The metrics by name; "num_pairs"; "intervals", under the same names the 95 % intervals, by
      image; and "chance", the accuracies of always giving each output its commoner answer.
    """
    num_classes = predictions.classes.shape[1]
    if not predictions.answered:
        return _means_alone(predictions)
    if predictions.classifies:
        return _class_metrics(predictions)
    images, logit = predictions.chosen, predictions.true_logit
    right = (logit > 0) == predictions.match  # (N,)
    replaced = predictions.num_replaced
    found = {
        "called_false": intervals.share(logit <= 0, images),
        "loss": intervals.mean(predictions.loss, images),
        "match_accuracy": intervals.share(right, images),
    }
    true_rate = predictions.match.mean()
    chance = {"match_accuracy": float(max(true_rate, 1 - true_rate))}
    if predictions.has_classes:
        right_class = (predictions.logits[:, -num_classes:] > 0) == predictions.classes  # (N, K)
        found["class_accuracy"] = intervals.share(right_class.mean(axis=1), images)
        found["class_exact_match"] = intervals.share(right_class.all(axis=1), images)
        present = predictions.classes.mean(axis=0)  # (K,)
        chance["class_accuracy"] = float(np.maximum(present, 1 - present).mean())
    found |= _own_means(predictions)
    for name, part in (("true", predictions.match), ("false", ~predictions.match)):
        if part.any():
            found[f"match_accuracy_{name}"] = intervals.share(right[part], images[part])
    by_replaced = {
        str(k): intervals.share(right[replaced == k], images[replaced == k])
        for k in np.unique(replaced[replaced > 0])
    }
    values: dict[str, Any] = {name: value for name, (value, _) in found.items()}
    between: dict[str, Any] = {name: interval for name, (_, interval) in found.items()}
    values["match_accuracy_by_replaced"] = {k: value for k, (value, _) in by_replaced.items()}
    between["match_accuracy_by_replaced"] = {k: pair for k, (_, pair) in by_replaced.items()}
    values["false_share"] = float(1 - true_rate)
    probability = special.expit(logit)
    if np.isfinite(probability).all():  # not of a model that has diverged
        values["ece"] = reliability(np.asarray(probability), predictions.match)["ece"]
    told = told_apart(logit, predictions.match, images)
    between |= told.pop("intervals", {})
    return values | told | {"num_pairs": len(right), "intervals": between, "chance": chance}


def _class_metrics(predictions: Predictions) -> dict[str, Any]:
    from sklearn.metrics import f1_score  # late: it takes a second, and few runs are classifiers

    labels, said = predictions.labels[:, 0], predictions.logits.argmax(axis=1)
    images = predictions.chosen
    found = {
        "loss": intervals.mean(predictions.loss, images),
        "accuracy": intervals.share(said == labels, images),
    } | _own_means(predictions)
    values: dict[str, Any] = {name: value for name, (value, _) in found.items()}
    values["macro_f1"] = float(f1_score(labels, said, average="macro", zero_division=0.0))
    between = {name: interval for name, (_, interval) in found.items()}
    chance = {"accuracy": float(predictions.classes.mean(axis=0).max())}
    return values | {"num_pairs": len(labels), "intervals": between, "chance": chance}


def _own_means(predictions: Predictions) -> dict[str, tuple[float, Any]]:
    """Of the objective's own metrics the means, each with its interval."""
    return {
        name: intervals.mean(values, predictions.chosen)
        for name, values in predictions.metrics.items()
    }


def _means_alone(predictions: Predictions) -> dict[str, Any]:
    """The metrics where there is no verdict."""
    found = {"loss": intervals.mean(predictions.loss, predictions.chosen)}
    found |= _own_means(predictions)
    return {name: value for name, (value, _) in found.items()} | {
        "num_pairs": len(predictions.loss),
        "intervals": {name: between for name, (_, between) in found.items()},
        "chance": {},
    }


MAIN_METRICS = ("match_accuracy", "accuracy")  # a model has one of them
FAR_APART = 0.1  # between the lowest and the highest seed, beyond which each is listed


def main_metric(values: Mapping[str, Any]) -> float:
    """The one number that stands for a model: its true/false accuracy, or a classifier's.

    NaN where its objective has no verdict.
    """
    return next((values[name] for name in MAIN_METRICS if name in values), math.nan)


def has_verdict(results: Mapping[str, Any] | None) -> bool:
    """Whether a run's results are there and hold an accuracy; pre-training has none."""
    return results is not None and any(name in results["test"] for name in MAIN_METRICS)


def in_words(values: Mapping[str, Any]) -> str:
    """The accuracies among some metrics, for a line of text."""
    if "accuracy" in values:
        return f"accuracy {values['accuracy']:.2%}, macro F1 {values['macro_f1']:.4f}"
    if "match_accuracy" not in values:
        return "no verdict"
    classes = f", per class {values['class_accuracy']:.2%}" if "class_accuracy" in values else ""
    return f"true/false {values['match_accuracy']:.2%}{classes}"


def suite_metrics(
    suite: Suite, predictions: Predictions, flipped: Predictions | None = None
) -> dict[str, Any]:
    """The metrics of a suite's pairs.

    As `metrics` gives them; also the `reliability` diagram. Of foils `rejection_rate`, the share
    that is called false, beside `true_rejection_rate`, the share of the true texts that is;
    `by_change` and, where both texts of each grid were asked, `paired`, see `foils`.

    Args:
      suite: the suite.
      predictions: the answers to its pairs.
      flipped: the answers to the same grids with their other texts.
    """
    found = metrics(predictions)
    if predictions.classifies:
        return found
    probability = special.expit(predictions.true_logit)
    if "ece" in found:
        found["reliability"] = reliability(np.asarray(probability), predictions.match)
    for part in (found, found["intervals"]):
        del part["match_accuracy_by_replaced"]  # says nothing where the suite replaces
    if not suite.foil:
        return found
    if "match_accuracy_false" in found:
        for part in (found, found["intervals"]):
            part["rejection_rate"] = part["match_accuracy_false"]
    if "match_accuracy_true" in found:
        low, high = found["intervals"]["match_accuracy_true"]
        found["true_rejection_rate"] = 1 - found["match_accuracy_true"]
        found["intervals"]["true_rejection_rate"] = [1 - high, 1 - low]
    found["by_change"] = by_change(predictions)
    if flipped is not None:
        own, other = predictions.true_logit, flipped.true_logit
        true, false = (np.where(predictions.match, *x) for x in ((own, other), (other, own)))
        found["paired"] = paired(true, false, predictions.chosen)
    return found


def suite_curve(suite: Suite, predictions: Predictions) -> dict[str, float]:
    """What stands for a suite in a curve, by the end of its name.

    "" the share of right answers, of foils the share that is rejected; ".auroc", ".auroc_low" (the
    lower end of its interval) and ".rejection_difference", see `told_apart`.
    """
    if predictions.classifies:
        right = predictions.logits.argmax(axis=1) == predictions.labels[:, 0]
        return {"": float(right.mean())}
    logit = predictions.true_logit
    right = (logit > 0) == predictions.match
    found = {"": float(right[~predictions.match if suite.foil else slice(None)].mean())}
    if told := told_apart(logit, predictions.match, predictions.chosen):
        found[".auroc"] = told["auroc"]
        found[".auroc_low"] = told["intervals"]["auroc"][0]
        found[".rejection_difference"] = told["rejection_difference"]
    return found


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
    believed = predictions.true_logit[one]
    sums = np.zeros((num_classes, num_classes))
    counts = np.zeros((num_classes, num_classes))
    np.add.at(sums, (shown, named), believed)
    np.add.at(counts, (shown, named), 1)
    means = np.divide(sums, counts, out=np.full_like(sums, -np.inf), where=counts > 0)
    found = means.argmax(axis=1)
    unknown = np.isneginf(means).all(axis=1)
    return np.where(unknown, (np.arange(num_classes) + 1) % num_classes, found).astype(np.int32)
