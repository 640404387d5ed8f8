"""What the answers to changed pairs say: how often a relation that must hold does not."""

from typing import Any

import numpy as np

from multimodal_vit import intervals
from multimodal_vit.foils import paired, told_apart
from multimodal_vit.predict import Predictions
from multimodal_vit.suites import Check

MAX_FAILURES = 4  # shown of each check


def check_metrics(check: Check, before: Predictions, after: Predictions) -> dict[str, Any]:
    """How often a model fails a check.

    Args:
      check: what must hold.
      before: the answers to the pairs of `suites.BEFORE`.
      after: the answers to the pairs of `check.after`, drawn with the same key.

    Returns:
      "failure_rate", "num_pairs" that the check is about, and "failures", the rows of some that
      fail; the rate is left out where there are none. It moves with a model's bias: one that always
      answers the same never fails to stay. So also "auroc" and "rejection_difference": after the
      change, are true and false texts told apart? Where the text must turn false, it is compared
      with the true text before the change, in "paired" too. "num_compared" pairs were.
      "intervals" are 95 %.
    """
    logits = before.true_logit, after.true_logit
    said, says = (logit > 0 for logit in logits)
    images = np.concatenate([before.chosen, after.chosen], axis=1)
    counts = np.ones(len(says), bool)
    if check.must == "be right":
        fails, images = says != after.match, after.chosen
    elif check.must == "stay":
        fails = says != said
    else:  # of what was rightly called true
        differs = (before.labels != before.labels[:, :1]).any(axis=1)
        counts = before.match & said & differs
        fails = says if check.must == "turn false" else ~says
    found = _failures(fails, counts, images)
    if check.must == "turn false":
        true = before.match & differs  # whatever it was called
        found["paired"] = paired(logits[0][true], logits[1][true], before.chosen[true])
        told = {n: found["paired"].get(n) for n in ("auroc", "rejection_difference")}
        told = {n: value for n, value in told.items() if value is not None}
        between = {n: found["paired"]["intervals"][n] for n in told}
        told |= {"intervals": between}
        compared = 2 * int(true.sum())
    else:
        told, compared = told_apart(logits[1], after.match, images), len(says)
    return _with(found, told, compared)


def consistency_metrics(predictions: Predictions) -> dict[str, Any]:
    """How often "true" contradicts the class outputs; as `check_metrics`.

    Of the pairs that are called true, those whose text names other classes than the class outputs
    see. "auroc": how often a text that names the classes seen gets a higher logit than one that
    does not; "rejection_difference" likewise.
    """
    num_classes = predictions.classes.shape[1]
    named = (predictions.words[..., None] == np.arange(num_classes)).any(axis=1)  # (N, K)
    seen = predictions.logits[:, -num_classes:] > 0
    logit, contradicts = predictions.true_logit, (named != seen).any(axis=1)
    found = _failures(contradicts, logit > 0, predictions.chosen)
    return _with(found, told_apart(logit, ~contradicts, predictions.chosen), len(logit))


def _failures(fails: np.ndarray, counts: np.ndarray, images: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"num_pairs": int(counts.sum())}
    if counts.any():
        found["failure_rate"], interval = intervals.share(fails[counts], images[counts])
        found["intervals"] = {"failure_rate": interval}
        found["failures"] = np.flatnonzero(fails & counts)[:MAX_FAILURES].tolist()
    return found


def _with(found: dict[str, Any], told: dict[str, Any], compared: int) -> dict[str, Any]:
    """Both dicts of figures with their intervals in one, and how many pairs the second rests on."""
    between = found.get("intervals", {}) | told.get("intervals", {})
    return found | told | {"num_compared": compared, "intervals": between}
