"""Readers that know the labels but use only a part of them, so that accuracies mean something.

They see the text and, as far as each looks, what the images show. Their answers to a suite's pairs
stand beside a model's; their expected accuracy on the published task is exact.
"""

import math
from collections.abc import Callable

import numpy as np

from multimodal_vit.sampler import Task, replacement_chances

Reader = Callable[[np.ndarray, np.ndarray], np.ndarray]  # words, labels [N, n] → "true" bool [N]


def readers(task: Task, frequencies: np.ndarray) -> dict[str, Reader]:
    """The references by name.

    `text_only` never looks: the best guess from the text alone, false texts made as in the thesis.
    `label_set` compares which classes occur, `label_multiset` also how often. `quadrants_k` reads
    the first k positions without a mistake.

    Args:
      task: its grid, classes, `false_rate` and `replacement_rate` are used.
      frequencies: of the classes, float [K], of sum 1.
    """

    def looking_at(k: int) -> Reader:
        return lambda words, labels: (words[:, :k] == labels[:, :k]).all(axis=1)

    found: dict[str, Reader] = {
        "text_only": lambda words, labels: _text_is_likelier_true(words, task, frequencies),
        "label_set": lambda words, labels: _same(_set, words, labels, task),
        "label_multiset": lambda words, labels: _same(_multiset, words, labels, task),
    }
    return found | {f"quadrants_{k}": looking_at(k) for k in range(1, task.num_positions + 1)}


def expected(task: Task, frequencies: np.ndarray) -> dict[str, float]:
    """The exact accuracy of each reader on pairs by replacement with the task's rates.

    A quadrant reader of k of n positions lets a false pair pass where the replaced positions are
    all among the others: (n - k) / n · (1 - r)^k. The others are sums over all sequences of labels
    and are left out where there are more than 20,000.
    """
    n, r, f = task.num_positions, task.replacement_rate, task.false_rate
    found = {}
    if task.num_classes**n <= 20_000:
        every = np.indices((task.num_classes,) * n).reshape(n, -1).T  # (K^n, n)
        true, false = _text_probabilities(every, task, frequencies)
        found["text_only"] = float(np.maximum((1 - f) * true, f * false).sum())
        for name, summary in (("label_set", _set), ("label_multiset", _multiset)):
            found[name] = 1 - f * _passing(summary(every, task), every, task, frequencies)
    for k in range(1, n + 1):
        found[f"quadrants_{k}"] = 1 - f * (n - k) / n * (1 - r) ** k
    return found


def _set(sequences: np.ndarray, task: Task) -> np.ndarray:
    return (sequences[..., None] == np.arange(task.num_classes)).any(axis=1)


def _multiset(sequences: np.ndarray, task: Task) -> np.ndarray:
    del task
    return np.sort(sequences, axis=1)


def _same(
    summary: Callable[[np.ndarray, Task], np.ndarray],
    words: np.ndarray,
    labels: np.ndarray,
    task: Task,
) -> np.ndarray:
    return (summary(words, task) == summary(labels, task)).all(axis=1)


def _text_probabilities(
    words: np.ndarray, task: Task, frequencies: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How probable a text is among the true and among the false ones, float [N] each."""
    n, r = task.num_positions, task.replacement_rate
    kept = frequencies[words]  # (N, n)
    replaced = (1 - kept) / (task.num_classes - 1)
    either = (1 - r) * kept + r * replaced
    false = np.zeros(len(words))
    for first in range(n):  # the position that is always replaced
        rest = np.delete(either, first, axis=1).prod(axis=1)
        false += replaced[:, first] * rest / n
    return kept.prod(axis=1), false


def _text_is_likelier_true(words: np.ndarray, task: Task, frequencies: np.ndarray) -> np.ndarray:
    true, false = _text_probabilities(words, task, frequencies)
    return (1 - task.false_rate) * true > task.false_rate * false


def _passing(
    summaries: np.ndarray, every: np.ndarray, task: Task, frequencies: np.ndarray
) -> float:
    """The share of false pairs whose text and labels have the same summary."""
    chance = replacement_chances(task)
    probability = frequencies[every].prod(axis=1)
    _, group = np.unique(summaries, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    passing = 0.0
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        differences = (every[members, None] != every[None, members]).sum(axis=2)  # (g, g)
        passing += math.fsum(probability[members] @ chance[differences])
    return passing
