"""Figures over pairs of one model, and their 95 % intervals: cluster-robust by image.

Pairs are not independent. Each rests on n images, a split has fewer images than its pairs use, and
an image that is misread makes every pair wrong in which it stands. So the terms of two pairs that
share an image are taken to go together: the variance of an estimate is the sum of the products of
the influences of all pairs that share one (Cameron, Gelbach and Miller 2011, for clusters that
cross; Aronow, Samii and Assenova 2015, for dyads). It is never taken to be less than that of
independent pairs. Shares get Wilson's interval for as many independent pairs as would have this
variance (Korn and Graubard 1998). What the intervals say: how a figure varies with other images and
other pairs, for the same trained model. Derived and simulated in docs/probes.md.
"""

import numpy as np
from scipy import sparse, stats

Z = float(stats.norm.ppf(0.975))

Found = tuple[float, list[float]]  # a figure and its 95 % interval


def _incidence(images: np.ndarray) -> sparse.csr_array:
    """Which image stands in which pair, [I, N] of 0 and 1."""
    ordered = np.sort(images, axis=1)
    first = np.ones(ordered.shape, bool)  # an image may stand in a grid twice
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    pair, _ = np.nonzero(first)
    image = np.unique(ordered[first], return_inverse=True)[1]
    return sparse.csr_array((np.ones(len(pair)), (image, pair)))


def variance(influence: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The variance of an estimate whose error is the sum of its pairs' influences.

    The sum of influence_p · influence_q over all p and q that share an image. (Two pairs that share
    two images count twice; that is rare, and does not make the interval narrower.)

    Args:
      influence: float [N] or [N, D], of D estimates; each sums to 0.
      images: int [N, n], the images of each pair.

    Returns:
      float [] or [D]; at least the sum of squares, the variance of independent pairs.
    """
    terms = influence.reshape(len(influence), -1).astype(np.float64)
    found = _incidence(images)
    by_image = found @ terms  # (I, D)
    more = found.sum(axis=0)[:, None] - 1  # each pair shares all its images with itself: count 1
    own = terms**2
    shared = (by_image**2).sum(axis=0) - (more * own).sum(axis=0)
    return np.maximum(shared, own.sum(axis=0)).reshape(influence.shape[1:])


def effective_pairs(images: np.ndarray) -> float:
    """How many independent pairs say as much, where all that varies is the images.

    For an error that is a sum over the images of a pair: N · Σ c / Σ c², c being the pairs that an
    image stands in. It stands in for a variance that cannot be seen, where all answers are right.
    """
    counts = _incidence(images).sum(axis=1)
    return float(len(images) * counts.sum() / (counts**2).sum())


def wilson(share: float, pairs: float) -> list[float]:
    """Wilson's score interval of a share of some number of independent pairs."""
    centre = (share + Z * Z / (2 * pairs)) / (1 + Z * Z / pairs)
    spread = np.sqrt(share * (1 - share) / pairs + Z * Z / (4 * pairs * pairs))
    half = Z * spread / (1 + Z * Z / pairs)
    return [float(max(0.0, min(centre - half, share))), float(min(1.0, max(centre + half, share)))]


def _of_share(
    value: float, influence: np.ndarray, images: np.ndarray, kinds: np.ndarray | None = None
) -> Found:
    """The interval of a figure between 0 and 1, of all pairs or of two kinds, bool [N].

    Where few answers are wrong, the next image that is misread has not been seen, and the variance
    seen is too small. So what the images allow at most beyond independent pairs is added, with a
    weight of 1 / (1 + m)², m being the wrong answers in as many effective pairs.
    """
    parts = [images] if kinds is None else [images[kinds], images[~kinds]]
    least, most = min(map(effective_pairs, parts)), min(map(len, parts))
    spread = float(variance(influence, images))
    if not (spread > 1e-18 and 0 < value < 1):
        return value, wilson(value, least)
    unseen = 1 / (1 + min(value, 1 - value) * least) ** 2
    seen = spread / (value * (1 - value))
    return value, wilson(value, 1 / (seen + unseen * (1 / least - 1 / most)))


def share(values: np.ndarray, images: np.ndarray) -> Found:
    """The mean of answers that are right or wrong, or of shares from 0 to 1, [N]."""
    values = values.astype(np.float64)
    average = float(values.mean())
    influence = (values - average) / len(values)
    return _of_share(average, influence, images)


def mean(values: np.ndarray, images: np.ndarray) -> Found:
    """The mean of any numbers, float [N]; the interval is Student's, by the number of images."""
    values = values.astype(np.float64)
    average, num_images = float(values.mean()), len(np.unique(images))
    half = np.sqrt(variance((values - average) / len(values), images))
    half = float(half * stats.t.ppf(0.975, max(num_images - 1, 1)))
    return average, [average - half, average + half]


def auroc(scores: np.ndarray, true: np.ndarray, images: np.ndarray) -> Found:
    """The area under the ROC curve: how often a true pair scores higher than a false one.

    Ties count one half. The influence of a pair is how far its own share of won comparisons is from
    the mean (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
      scores: float [N].
      true: bool [N], with both values in it.
      images: int [N, n].
    """
    true = np.asarray(true, bool)
    positives, negatives = int(true.sum()), int((~true).sum())
    ranks = stats.rankdata(scores)
    won = np.empty(len(scores))  # of the comparisons with the other kind
    won[true] = (ranks[true] - stats.rankdata(scores[true])) / negatives
    won[~true] = 1 - (ranks[~true] - stats.rankdata(scores[~true])) / positives
    area = float(np.clip(won[true].mean(), 0.0, 1.0))
    influence = (won - area) / np.where(true, positives, negatives)
    return _of_share(area, influence, images, true)


def rejected_more(rejected: np.ndarray, true: np.ndarray, images: np.ndarray) -> Found:
    """The share of false pairs that is rejected, less the share of true pairs; from -1 to 1.

    0 for answers that do not depend on what is true, however often they reject.

    Args:
      rejected: bool [N].
      true: bool [N], with both values in it.
      images: int [N, n].
    """
    true = np.asarray(true, bool)
    influence = np.empty(len(true))
    shares = []
    for part, sign in ((~true, 0.5), (true, -0.5)):
        shares.append(float(rejected[part].mean()))
        influence[part] = sign * (rejected[part] - shares[-1]) / part.sum()
    balanced = (1 + shares[0] - shares[1]) / 2  # the mean of the two kinds' right answers
    low, high = _of_share(balanced, influence, images, true)[1]
    return shares[0] - shares[1], [2 * low - 1, 2 * high - 1]
