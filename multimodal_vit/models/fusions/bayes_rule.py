"""The modular oracle: a classifier for each image of the grid, then the exact Bayes rule.

What can be reached with separate parts when the law of the false texts is known; a reference for
models that have to learn everything. Derived in docs/probes.md.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component
from multimodal_vit.models.base import Fusion
from multimodal_vit.sampler import Task, replacement_chances

MAX_POSITIONS_PERMUTED = 6  # 720 orders


@component("model.fusion", "bayes_rule")
class BayesRule(Fusion):
    """The posterior of "true" from what each cell is thought to show; no parameters.

    The task's law of false texts is taken as known; what it holds out is not used.
    """

    task: Task
    reads: ClassVar[tuple[str, ...]] = ("word_ids", "quadrants")
    needs_all: ClassVar[bool] = True
    makes_logits: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "BayesRule":
        """With the task's own law."""
        del model, options
        return cls(task)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A law that it does not know, or texts that are too long."""
        if task is not None:
            return
        if config.model.num_match_outputs != 1:
            yield "model.fusion='bayes_rule' has one true/false output: model.num_match_outputs=1"
        yield from law_problems(config, "model.fusion='bayes_rule'")

    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps "word_ids" and "quadrants", each [B, n, K], to logits [B, 1 + K].

        The first is the log odds of a true text; the others those of each class being somewhere in
        the grid, from the image alone.
        """
        del train, return_attention
        log_p = jax.nn.log_softmax(tokens["quadrants"])  # (B, n, K)
        return bayes_logits(log_p, tokens["word_ids"], self.task), {}


def bayes_logits(log_p: jax.Array, words: jax.Array, task: Task) -> jax.Array:
    """What follows from each image's class posterior, the images being independent: [B, 1 + K].

    Args:
      log_p: float32 [B, n, K], of each image's class.
      words: one-hot float32 [B, n, K], the text.
      task: with the law of its false texts.

    Returns:
      The log odds of a true text, then of each class those of being somewhere in the grid.
    """
    rate = task.false_rate
    true = jnp.log1p(-rate) + (log_p * words).sum(axis=(1, 2))
    false = jnp.log(rate) + LIKELIHOODS[task.corruption](log_p, words, task)
    absent = -jnp.log1p(-jnp.exp(jnp.minimum(log_p, -1e-6))).sum(axis=1)  # -log P(absent)
    classes = absent + jnp.log1p(-jnp.exp(-jnp.maximum(absent, 1e-6)))  # (B, K)
    return jnp.concatenate([(true - false)[:, None], classes], axis=1)


def law_problems(config: ConfigDict, who: str) -> Iterator[str]:
    """What is wrong with a configuration whose verdict rests on the law of its false texts.

    Args:
      config: whole.
      who: knows the law, such as "model.fusion='bayes_rule'".
    """
    corruption = config.task.corruption
    if corruption not in LIKELIHOODS:
        yield f"{who} knows the laws {', '.join(LIKELIHOODS)}, not task.corruption={corruption!r}"
    rows, columns = config.task.grid
    if corruption != "replace" and rows * columns > MAX_POSITIONS_PERMUTED:
        yield (
            f"{who} sums over all orders of a text, up to {MAX_POSITIONS_PERMUTED} words; "
            f"task.grid={(rows, columns)} has more: take task.corruption='replace' or a smaller "
            "grid"
        )


def replaced_likelihood(log_p: jax.Array, words: jax.Array, task: Task) -> jax.Array:
    """Log P(text, images | false) under `sampler.replace_labels`, up to a constant.

    Args:
      log_p: float32 [B, n, K], of each image's class.
      words: one-hot float32 [B, n, K].
      task: the law.

    Returns:
      float32 [B]; the same constant is left out of log P(text, images | true) = Σ log p_i(w_i).
    """
    n, r = task.num_positions, task.replacement_rate
    right = (log_p * words).sum(axis=-1)  # (B, n), log p_i(w_i)
    wrong = jax.nn.logsumexp(jnp.where(words > 0, -jnp.inf, log_p), axis=-1)
    wrong = wrong - math.log(task.num_classes - 1)  # of one replacement out of the others
    either = jnp.logaddexp(_log(1 - r) + right, _log(r) + wrong)
    rest = either.sum(axis=1, keepdims=True) - either  # of all positions but one
    return jax.nn.logsumexp(wrong + rest, axis=1) - math.log(n)


def permuted_likelihood(log_p: jax.Array, words: jax.Array, task: Task) -> jax.Array:
    """The same under `sampler.permute_labels`: the mean over orders that change the text.

    A grid of one class throughout has its text replaced instead; it adds its own term.
    """
    n = task.num_positions
    orders = jnp.array(list(itertools.permutations(range(n))))  # (n!, n)
    of_words = jnp.einsum("bik,bjk->bij", log_p, words)  # log p_i(w_j)
    same = jnp.einsum("bik,bjk->bij", words, words) > 0.5  # (B, n, n)
    positions = jnp.arange(n)
    changes = ~same[:, positions, orders].all(axis=-1)  # (B, n!)
    ordered = of_words[:, positions, orders].sum(axis=-1)
    permuted = jax.nn.logsumexp(jnp.where(changes, ordered, -jnp.inf), axis=1)
    permuted = permuted - jnp.log(jnp.maximum(changes.sum(axis=1), 1))
    differing = n - words.sum(axis=1)  # (B, K), words that are not class k
    chance = jnp.log(jnp.asarray(replacement_chances(task)))[differing.astype(int)]
    equal = jax.nn.logsumexp(log_p.sum(axis=1) + chance, axis=-1)
    return jnp.logaddexp(permuted, equal)


def mixed_likelihood(log_p: jax.Array, words: jax.Array, task: Task) -> jax.Array:
    """The same under `sampler.mix_labels`: the mean of the two."""
    both = replaced_likelihood(log_p, words, task), permuted_likelihood(log_p, words, task)
    return jnp.logaddexp(*both) - math.log(2)


LIKELIHOODS = {
    "replace": replaced_likelihood,
    "permute": permuted_likelihood,
    "mixed": mixed_likelihood,
}


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
