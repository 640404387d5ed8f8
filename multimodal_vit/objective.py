"""Losses and training metrics, from logits and targets.

The logits [B, U] are one true/false unit (or two, "true" and "false"), then one unit for each
class: "this class is in the image". A classifier of single images has no true/false unit: its K
logits are those of a softmax. To add an objective, write a function like `binary_cross_entropy` and
a line in `OBJECTIVES`; it also receives the model's intermediates.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from multimodal_vit.sampler import Batch


def targets(batch: Batch, num_outputs: int) -> jax.Array:
    """The target of every output unit, float32 [B, U].

    With K + 1 outputs: match, then the K classes (thesis, section 3.3.3). With K + 2: match, no
    match, then the classes (section 3.1).
    """
    num_match_outputs = num_outputs - batch.classes.shape[-1]
    match = jnp.stack([batch.match, ~batch.match], axis=-1)[:, :num_match_outputs]
    return jnp.concatenate([match, batch.classes], axis=-1).astype(jnp.float32)


def match_logit(logits: jax.Array, num_classes: int) -> jax.Array:
    """The logit of "the text is true", [B]: its unit, or with two units their difference."""
    units = logits[..., : logits.shape[-1] - num_classes]
    return units[..., 0] - (units[..., 1] if units.shape[-1] == 2 else 0.0)


def binary_cross_entropy(
    logits: jax.Array, intermediates: dict[str, Any], batch: Batch
) -> jax.Array:
    """Binary cross entropy with logits, averaged over the output units (thesis, section 3.4.2).

    Args:
      logits: float32 [B, U].
      intermediates: of the model; not used.
      batch: the targets.

    Returns:
      float32 [B], a loss for each example.
    """
    del intermediates
    losses = optax.sigmoid_binary_cross_entropy(logits, targets(batch, logits.shape[-1]))
    return losses.mean(axis=-1)


def quadrant_cross_entropy(
    logits: jax.Array, intermediates: dict[str, Any], batch: Batch
) -> jax.Array:
    """Softmax cross entropy of each image's class, averaged over the grid.

    For a model with the modality "quadrants", whose embedding is class logits [B, n, K]; its other
    outputs follow from these.
    """
    del logits
    quadrants = intermediates["embedded"]["quadrants"]
    losses = optax.softmax_cross_entropy_with_integer_labels(quadrants, batch.labels)  # (B, n)
    return losses.mean(axis=-1)


def class_cross_entropy(
    logits: jax.Array, intermediates: dict[str, Any], batch: Batch
) -> jax.Array:
    """Softmax cross entropy over the classes, for a grid of one image.

    Args:
      logits: float32 [B, K].
      intermediates: of the model; not used.
      batch: the targets.

    Returns:
      float32 [B].
    """
    del intermediates
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels[:, 0])


OBJECTIVES: dict[str, Callable[[jax.Array, dict[str, Any], Batch], jax.Array]] = {
    "binary_cross_entropy": binary_cross_entropy,
    "quadrant_cross_entropy": quadrant_cross_entropy,
    "class_cross_entropy": class_cross_entropy,
}


def metric_names(num_outputs: int, num_classes: int) -> tuple[str, ...]:
    """The names of `metric_sums` of a model with so many outputs."""
    if num_outputs == num_classes:
        return ("weight", "loss", "accuracy")
    return ("weight", "loss", "match_accuracy", "class_accuracy")


def metric_sums(loss: jax.Array, logits: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """Weighted sums over a batch, float32 scalars; divided by "weight" they are means.

    Args:
      loss: float32 [B].
      logits: float32 [B, U].
      batch: the targets and weights.

    Returns:
      "weight", "loss", "match_accuracy", "class_accuracy"; of class logits alone [B, K] "weight",
      "loss" and "accuracy".
    """
    num_classes = batch.classes.shape[-1]
    if logits.shape[-1] == num_classes:
        right = logits.argmax(axis=-1) == batch.labels[:, 0]  # (B,)
        values = {"weight": jnp.ones_like(loss), "loss": loss, "accuracy": right}
        return {name: jnp.sum(value * batch.weight) for name, value in values.items()}
    right_match = (match_logit(logits, num_classes) > 0) == batch.match  # (B,)
    right_class = (logits[:, -num_classes:] > 0) == batch.classes  # (B, K)
    values = {
        "weight": jnp.ones_like(loss),
        "loss": loss,
        "match_accuracy": right_match,
        "class_accuracy": right_class.mean(axis=-1),
    }
    return {name: jnp.sum(value * batch.weight) for name, value in values.items()}
