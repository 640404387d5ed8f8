"""Retrieval: texts for images and images for texts among test pairs."""

import itertools
from typing import Any

import numpy as np

from multimodal_vit.readouts.pairs import draw_grids
from multimodal_vit.readouts.scores import scores
from multimodal_vit.train.experiment import Experiment

PAIRS = 1_000
RANKS = (1, 5, 10)


def recall(found: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """How often one of the k best candidates is relevant, "r@1", "r@5" and "r@10".

    Candidates of equal scores count in the worst order.

    Args:
      found: scores [N, M].
      relevant: bool [N, M]; each row has one or more.
    """
    best = np.where(relevant, found, -np.inf).max(axis=1, keepdims=True)
    before = ((found >= best) & ~relevant).sum(axis=1)
    return {f"r@{k}": float((before < k).mean()) for k in RANKS}


def retrieve(experiment: Experiment, variables: Any) -> dict[str, Any]:
    """Recall of 1,000 test pairs in both directions; every equal text is relevant.

    Returns:
      "text_of_image" and "image_of_text", each `recall`; "several", the share of the queries with
      more than one relevant candidate; "orders", of the text of an image among the other orders of
      its words and the first 976 other texts.

    Raises:
      UserError: the objective judges pairs one by one.
    """
    grids = draw_grids(experiment, "test", PAIRS)
    found = scores(experiment, variables, grids.image, grids.labels)
    relevant = (grids.labels[:, None] == grids.labels[None]).all(axis=-1)
    result = {
        "num_pairs": len(found),
        "text_of_image": recall(found, relevant),
        "image_of_text": recall(found.T, relevant.T),
        "several": float((relevant.sum(axis=1) > 1).mean()),
    }
    n = grids.labels.shape[1]
    if 1 < n <= 5:
        orders = np.array(list(itertools.permutations(range(n))))[1:]
        other = grids.labels[:, orders].reshape(-1, n)
        texts, place = np.unique(other, axis=0, return_inverse=True)
        permuted = scores(experiment, variables, grids.image, texts.astype(np.int32))
        permuted = np.take_along_axis(permuted, place.reshape(len(found), -1), axis=1)
        same = (grids.labels[:, orders] == grids.labels[:, None]).all(axis=-1)
        rest = 1_000 - len(orders) - 1
        both = np.concatenate([found[:, :rest], permuted], axis=1)
        own = np.where(relevant, found, -np.inf).max(axis=1, keepdims=True)
        right = np.concatenate([relevant[:, :rest], same], axis=1)
        both = np.concatenate([own, both], axis=1)
        right = np.concatenate([np.ones((len(found), 1), bool), right], axis=1)
        result["orders"] = recall(both, right)
    return result
