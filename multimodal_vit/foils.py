"""Are false texts told from true ones? Figures that no threshold and no bias moves, and the rule.

A rejection rate alone is response bias: a model that calls nearly everything false "rejects" nearly
all foils. So what leads of every suite and check is `auroc`, how often a true text scores higher
than a false one; and beside it `rejection_difference`, the share of the false texts that the model
rejects less the share of the true ones, at its own threshold.
"""

from typing import Any

import numpy as np

from multimodal_vit import intervals
from multimodal_vit.predict import Predictions

SURE = 0.95  # the AUROC from which on a model is said to tell two kinds of text apart


def level(auroc: float, interval: list[float]) -> str:
    """The rule of every report, study, curve and search: does a model tell two kinds apart?

    "yes": the AUROC is 0.95 or more, and its 95 % interval lies above 0.5. "in part": the interval
    lies above 0.5. "no": it contains 0.5, or lies below. A model *reads in order* where this is
    "yes" of `order_foil`.
    """
    if not interval[0] > 0.5:
        return "no"
    return "yes" if auroc >= SURE else "in part"


def told_apart(logit: np.ndarray, true: np.ndarray, images: np.ndarray) -> dict[str, Any]:
    """How far true and false texts are told apart, by any threshold and by the model's own.

    Args:
      logit: of "true", float [N].
      true: bool [N].
      images: int [N, n].

    Returns:
      "auroc" and "rejection_difference", see `intervals`, and their "intervals"; nothing where one
      kind is missing or the model has diverged.
    """
    if not np.isfinite(logit).all() or true.all() or not true.any():
        return {}
    found = {
        "auroc": intervals.auroc(logit, true, images),
        "rejection_difference": intervals.rejected_more(logit <= 0, true, images),
    }
    return {name: value for name, (value, _) in found.items()} | {
        "intervals": {name: between for name, (_, between) in found.items()}
    }


def paired(true: np.ndarray, false: np.ndarray, images: np.ndarray) -> dict[str, Any]:
    """A true and a false text of the same grid, as Winoground and FOIL score them.

    Args:
      true: the logits of "true" with the true text, float [N].
      false: those with the false one.
      images: of the grids, int [N, n].

    Returns:
      "num_grids"; "text_score", how often the true text gets the higher logit (ties one half);
      "pair_accuracy", how often both are answered rightly at the model's threshold; and, over both
      texts, "auroc" and "rejection_difference". With "intervals"; the grid is the unit.
    """
    if not len(true) or not np.isfinite([true, false]).all():
        return {}
    score = (true > false) + 0.5 * (true == false)
    found = {
        "text_score": intervals.share(score, images),
        "pair_accuracy": intervals.share((true > 0) & (false <= 0), images),
    }
    kinds = np.repeat([True, False], len(true))
    both = told_apart(np.concatenate([true, false]), kinds, np.concatenate([images, images]))
    values = {name: value for name, (value, _) in found.items()}
    between = {name: interval for name, (_, interval) in found.items()} | both.pop("intervals")
    return {"num_grids": len(true)} | values | both | {"intervals": between}


STEPS = ("which labels", "how often", "where")  # what a false text can change, from coarse to fine
FEWEST_FOILS = 20  # of a kind, below which nothing is said about it


def changes(words: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What tells each text from the true one: int [N].

    0 for a true text, else a place in `STEPS`, from 1: the coarsest of which labels occur, how
    often each does, and where.
    """
    K = int(max(words.max(initial=0), labels.max(initial=0))) + 1
    counts = [(x[..., None] == np.arange(K)).sum(axis=1) for x in (words, labels)]  # (N, K)
    same_set = ((counts[0] > 0) == (counts[1] > 0)).all(axis=1)
    same_counts = (counts[0] == counts[1]).all(axis=1)
    true = (words == labels).all(axis=1)
    return np.select([true, same_counts, same_set], [0, 3, 2], 1)


def by_change(predictions: Predictions) -> dict[str, Any]:
    """The AUROC of each kind of foil against the true pairs, with its interval.

    Foils of "how often" need a label that occurs twice and another one; they are compared with the
    true pairs on such grids, so that no text gives itself away by naming something twice.
    """
    labels = np.sort(predictions.labels, axis=1)
    differs = labels[:, 1:] != labels[:, :-1]
    can = {2: differs.any(axis=1) & ~differs.all(axis=1), 3: differs.any(axis=1)}
    kind, logit = changes(predictions.words, predictions.labels), predictions.true_logit
    found = {}
    for i, name in enumerate(STEPS, 1):
        part = (kind == i) | (predictions.match & can.get(i, True))
        if (kind == i).sum() < FEWEST_FOILS:
            continue
        told = told_apart(logit[part], predictions.match[part], predictions.chosen[part])
        if told:
            found[name] = {
                "auroc": told["auroc"],
                "interval": told["intervals"]["auroc"],
                "num_foils": int((kind == i).sum()),
            }
    return found
