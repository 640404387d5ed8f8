"""Losses as pure functions of arrays, without a model: one number for each row, [B].

Rows of a batch that are filling (`real` is False) are no row's negatives; their own loss is a
number that counts nothing. All is computed in float32, whatever the model's dtype.
"""

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
