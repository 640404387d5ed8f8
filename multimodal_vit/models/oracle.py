"""The modular oracle: a classifier for each image of the grid, then the exact Bayes rule.

What can be reached with separate parts when the law of the false texts is known; a reference for
models that have to learn everything. Derived in docs/probes.md.
"""

import itertools
import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from multimodal_vit.sampler import Task, replacement_chances

MAX_POSITIONS_PERMUTED = 6  # 720 orders


class WordIds(nn.Module):
    """Words as they are: one-hot vectors."""

    vocabulary_size: int
    reads: ClassVar[str] = "words"

    def __call__(self, words: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps int32 [B, n] to float32 [B, n, K]."""
        del train
        return jax.nn.one_hot(words, self.vocabulary_size)


class QuadrantClassifier(nn.Module):
    """One small CNN for every cell of the grid: stem, one hidden layer, K class logits."""

    grid: tuple[int, int]
    num_classes: int
    stem: nn.Module
    hidden_dim: int
    dtype: Dtype = jnp.float32
    reads: ClassVar[str] = "image"

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps uint8 [B, r·H, c·W, C] to class logits float32 [B, r·c, K], in reading order."""
        del train
        r, c = self.grid
        B, height, width, C = image.shape
        cells = image.reshape(B, r, height // r, c, width // c, C).transpose(0, 1, 3, 2, 4, 5)
        cells = cells.reshape(B * r * c, height // r, width // c, C).astype(self.dtype) / 255
        features = self.stem(cells).reshape(B, r * c, -1)
        hidden = nn.relu(nn.Dense(self.hidden_dim, dtype=self.dtype, name="hidden")(features))
        return nn.Dense(self.num_classes, name="classes")(hidden.astype(jnp.float32))


class BayesRule(nn.Module):
    """The posterior of "true" from what each cell is thought to show; no parameters.

    The task's law of false texts is taken as known; what it holds out is not used.
    """

    task: Task
    makes_logits: ClassVar[bool] = True

    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps "word_ids" and "quadrants", each [B, n, K], to logits [B, 1 + K].

        The first is the log odds of a true text; the others those of each class being somewhere in
        the grid, from the image alone.
        """
        del train, return_attention
        words = tokens["word_ids"]
        log_p = jax.nn.log_softmax(tokens["quadrants"])  # (B, n, K)
        rate = self.task.false_rate
        true = jnp.log1p(-rate) + (log_p * words).sum(axis=(1, 2))
        false = jnp.log(rate) + LIKELIHOODS[self.task.corruption](log_p, words, self.task)
        absent = -jnp.log1p(-jnp.exp(jnp.minimum(log_p, -1e-6))).sum(axis=1)  # -log P(absent)
        classes = absent + jnp.log1p(-jnp.exp(-jnp.maximum(absent, 1e-6)))  # (B, K)
        return jnp.concatenate([(true - false)[:, None], classes], axis=1), {}


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
