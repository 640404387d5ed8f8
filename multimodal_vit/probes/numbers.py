"""Means with their intervals and rank correlations of what the attention probe measures."""

from typing import Any

import numpy as np
from scipy import stats

from multimodal_vit import intervals


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation of two [N]; None where either is constant, but for rounding."""
    if len(a) < 2 or np.ptp(a) < 1e-6 or np.ptp(b) < 1e-6:
        return None
    return float(stats.spearmanr(a, b).statistic)


def rank_correlations_of_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each row of two [N, n]: [N], NaN where a row is constant."""
    ranks = [stats.rankdata(x, axis=1) - (x.shape[1] + 1) / 2 for x in (a, b)]
    norms = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    products = (ranks[0] * ranks[1]).sum(axis=1)
    return np.divide(products, norms, out=np.full(len(norms), np.nan), where=norms > 0)


def means(values: dict[str, np.ndarray], images: np.ndarray) -> dict[str, Any]:
    """The means over pairs of [N, …], "num_pairs" N, and 95 % "intervals" by image, int [N, n]."""
    count = len(next(iter(values.values())))
    means, between = {}, {}
    for name, array in values.items():
        means[name] = array.mean(axis=0, dtype=np.float64)
        spread = np.sqrt(intervals.variance((array - means[name]) / count, images))
        half = stats.t.ppf(0.975, max(len(np.unique(images)) - 1, 1)) * spread
        between[name] = np.stack([means[name] - half, means[name] + half], axis=-1)
    return means | {"num_pairs": count, "intervals": between}


def plain_numbers(tree: Any) -> Any:
    """The same for JSON: arrays as lists, six decimals, None for what is not finite."""
    if isinstance(tree, dict):
        return {name: plain_numbers(value) for name, value in tree.items()}
    if isinstance(tree, np.ndarray | np.generic):
        return plain_numbers(tree.tolist())
    if isinstance(tree, list):
        return [plain_numbers(value) for value in tree]
    if isinstance(tree, float):
        return round(tree, 6) if np.isfinite(tree) else None
    return tree
