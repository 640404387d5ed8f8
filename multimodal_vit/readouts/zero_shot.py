"""Naming a grid by choosing among texts: all of them, or those near the true one."""

import itertools
from typing import Any

import numpy as np

from multimodal_vit.errors import UserError
from multimodal_vit.readouts.pairs import draw_grids
from multimodal_vit.readouts.scores import pair_logits, scores
from multimodal_vit.train.experiment import Experiment

GRIDS = 1_000
LOCAL_GRIDS = 200  # each with some sixty texts, a pass each
MOST_TEXTS = 20_000


def all_texts(num_classes: int, num_positions: int) -> np.ndarray:
    """Every sequence of labels, int32 [K^n, n].

    Raises:
      UserError: more than `MOST_TEXTS`.
    """
    if num_classes**num_positions > MOST_TEXTS:
        raise UserError(
            f"{num_classes} classes at {num_positions} positions make more than {MOST_TEXTS:,} "
            "texts"
        )
    every = np.indices((num_classes,) * num_positions).reshape(num_positions, -1).T
    return every.astype(np.int32)


def near_texts(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The true text, those with one label replaced, and its other orders: int32 [N, M, n].

    The true text stands first; orders of equal labels give texts more than once.
    """
    N, n = labels.shape
    parts = [labels[:, None]]
    for i, shift in itertools.product(range(n), range(1, num_classes)):
        text = labels.copy()
        text[:, i] = (text[:, i] + shift) % num_classes
        parts.append(text[:, None])
    orders = list(itertools.permutations(range(n)))[1:] if n <= 5 else []
    parts += [labels[:, None, list(order)] for order in orders]
    return np.concatenate(parts, axis=1)


def naming(experiment: Experiment, variables: Any) -> dict[str, Any]:
    """How well a model names test grids by choosing the text that fits best.

    Where the objective scores all texts at once, every sequence is a candidate; else the texts
    within one replacement and the other orders of the true one, which is far easier.

    Returns:
      "candidates", the texts to choose from, "num_grids", and shares of the grids: "exact", named
      as they are; "words", of the positions; "multiset", with the right labels in any order. The
      order gap is "multiset" less "exact". "rank", the median place of the true text among all.

    Raises:
      UserError: too many texts, or no verdict.
    """
    task = experiment.task
    try:
        grids = draw_grids(experiment, "test", GRIDS)
        texts = all_texts(task.num_classes, task.num_positions)
        found = scores(experiment, variables, grids.image, texts)  # (N, M)
        place = (texts[None] == grids.labels[:, None]).all(axis=-1).argmax(axis=1)
        candidates = np.broadcast_to(texts, (len(grids.labels), *texts.shape))
        about = "all"
    except UserError:
        grids = draw_grids(experiment, "test", LOCAL_GRIDS)
        candidates = near_texts(grids.labels, task.num_classes)
        found = pair_logits(experiment, variables, grids.image, candidates)
        place = np.zeros(len(found), int)
        about = "near the true one"
    rows = np.arange(len(found))
    true = found[rows, place][:, None]
    right = (candidates == grids.labels[:, None]).all(axis=-1)
    best = np.where(right, found - 1e-6 * np.abs(found), found).argmax(axis=1)  # ties are lost
    said = candidates[rows, best]
    same = np.sort(said, axis=1) == np.sort(grids.labels, axis=1)
    return {
        "candidates": about,
        "num_candidates": int(candidates.shape[1]),
        "num_grids": len(found),
        "exact": float((said == grids.labels).all(axis=1).mean()),
        "words": float((said == grids.labels).mean()),
        "multiset": float(same.all(axis=1).mean()),
        "rank": float(np.median(1 + ((found > true) & ~right).sum(axis=1))),
    }
