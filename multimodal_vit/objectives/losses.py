"""Losses as pure functions of arrays, without a model: one number for each row, [B].

Rows of a batch that are filling (`real` is False) are no row's negatives; their own loss is a
number that counts nothing. All is computed in float32, whatever the model's dtype.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

FAR = -1e30  # a logit of what cannot be; not -inf, whose gradient is NaN


def normalised(x: jax.Array) -> jax.Array:
    """Vectors of length 1, along the last axis, float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum((x * x).sum(axis=-1, keepdims=True), 1e-12))


def same_text(words: jax.Array) -> jax.Array:
    """Which rows have the same text: int [B, n] → bool [B, B]."""
    return (words[:, None, :] == words[None, :, :]).all(axis=-1)


def info_nce(similarity: jax.Array, positives: jax.Array, real: jax.Array) -> jax.Array:
    """The mean over positives of -log softmax of their similarities, float32 [B].

    With the row itself as its only positive it is InfoNCE (van den Oord et al. 2018); with several
    the sum over positives stands outside the logarithm, as in UniCL (Yang et al. 2022, equation 3).

    Args:
      similarity: of each row to each candidate, over the temperature, [B, C].
      positives: bool [B, C]; a row without any has loss 0.
      real: bool [C], the candidates that count.
    """
    logits = jnp.where(real, similarity.astype(jnp.float32), FAR)
    wanted = (positives & real).astype(jnp.float32)
    share = wanted / jnp.maximum(wanted.sum(axis=-1, keepdims=True), 1)
    return optax.softmax_cross_entropy(logits, share)


def contrast(
    images: jax.Array, texts: jax.Array, scale: jax.Array, positives: jax.Array, real: jax.Array
) -> jax.Array:
    """CLIP's loss (Radford et al. 2021): each image finds its text, each text its image.

    Args:
      images: vectors of length 1, [B, d].
      texts: the same of texts.
      scale: 1 / temperature.
      positives: bool [B, B]; the diagonal for CLIP, all equal texts for the multi-positive loss.
      real: bool [B].

    Returns:
      float32 [B], the mean of the two directions.
    """
    similarity = scale * images @ texts.T  # (B, B)
    there, back = (info_nce(s, p, real) for s, p in ((similarity, positives),
                                                     (similarity.T, positives.T)))  # fmt: skip
    return (there + back) / 2


def sigmoid_contrast(logits: jax.Array, positives: jax.Array, real: jax.Array) -> jax.Array:
    """SigLIP's loss (Zhai et al. 2023): every pair of the batch is a yes-or-no question.

    Args:
      logits: of image i and text j, [B, B].
      positives: bool [B, B].
      real: bool [B].

    Returns:
      float32 [B], the sum over the texts of an image.
    """
    signs = jnp.where(positives, 1.0, -1.0)
    losses = jax.nn.softplus(-signs * logits.astype(jnp.float32))
    return jnp.where(real, losses, 0).sum(axis=-1)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean over the last axis of the entries that a mask keeps, [B]; 0 where there is none."""
    weight = mask.astype(jnp.float32)
    return (values * weight).sum(axis=-1) / jnp.maximum(weight.sum(axis=-1), 1)


def nt_xent(z: jax.Array, real: jax.Array, temperature: float) -> jax.Array:
    """SimCLR's loss of each view (Chen et al. 2020, equation 1), float32 [2 · N].

    Args:
      z: [2 · N, d]; rows k and k + N are the two views of an example.
      real: bool [2 · N], the views that count.
      temperature: of the softmax.
    """
    z = normalised(z)
    views = jnp.arange(len(z))
    itself = jnp.eye(len(z), dtype=bool)
    similarity = jnp.where(itself, FAR, z @ z.T / temperature)
    other = views == (views[:, None] + len(z) // 2) % len(z)
    return info_nce(similarity, other, real)


def sinkhorn(scores: jax.Array, real: jax.Array, epsilon: float, rounds: int = 3) -> jax.Array:
    """SwAV's codes (Caron et al. 2020): soft assignments that fill all prototypes evenly.

    Args:
      scores: of rows and prototypes, [N, M].
      real: bool [N], the rows that count; the others' codes are 0.
      epsilon: smaller is harder.
      rounds: of Sinkhorn-Knopp.

    Returns:
      float32 [N, M], each real row of sum 1; no gradient passes.
    """
    scores = jax.lax.stop_gradient(scores.astype(jnp.float32)) / epsilon
    log_q = scores
    for _ in range(rounds):
        log_q = jnp.where(real[:, None], log_q, FAR)
        log_q = log_q - jax.nn.logsumexp(log_q, axis=0, keepdims=True)  # prototypes alike
        log_q = log_q - jax.nn.logsumexp(log_q, axis=1, keepdims=True)  # rows alike
    return jnp.where(real[:, None], jnp.exp(log_q), 0.0)


def swapped_codes(
    scores: Sequence[jax.Array], codes: Sequence[jax.Array], temperature: float
) -> jax.Array:
    """The cross entropy of each view's prediction and the other's code, the mean of both, [N]."""
    first, second = (jax.nn.log_softmax(s.astype(jnp.float32) / temperature) for s in scores)
    return -((codes[1] * first).sum(axis=-1) + (codes[0] * second).sum(axis=-1)) / 2


def cosine_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """BYOL's loss (Grill et al. 2020, equation 2): 2 - 2 cos, from 0 to 4; no gradient to `target`.

    Args:
      prediction: [..., d].
      target: [..., d].

    Returns:
      float32 [...].
    """
    target = normalised(jax.lax.stop_gradient(target))
    return 2 - 2 * (normalised(prediction) * target).sum(axis=-1)


def smooth_l1(difference: jax.Array, beta: float) -> jax.Array:
    """½ x² / β up to |x| = β, then |x| - ½ β; with β = 0 the square, as data2vec has it."""
    if beta == 0:
        return difference**2
    return optax.huber_loss(difference, delta=beta) / beta
