"""Targets and training metrics, from logits [B, U].

The logits are one true/false unit (or two, "true" and "false"), then one unit for each class: "this
class is in the image". A classifier of single images has no true/false unit: its K logits are those
of a softmax.
"""

import jax
import jax.numpy as jnp

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
    """The logit of "the text is true", [B]: its unit, or with two units their difference.

    Logits [B, 1] are that unit alone.
    """
    if logits.shape[-1] == 1:  # a verdict without class units
        return logits[..., 0]
    units = logits[..., : logits.shape[-1] - num_classes]
    return units[..., 0] - (units[..., 1] if units.shape[-1] == 2 else 0.0)


def metric_names(num_outputs: int, num_classes: int) -> tuple[str, ...]:
    """The names of `accuracies` of a model with so many outputs."""
    if num_outputs == num_classes:
        return ("accuracy",)
    return ("match_accuracy", "class_accuracy")


def accuracies(logits: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """How right the answers are, [B] each: "match_accuracy" and "class_accuracy", or "accuracy".

    Args:
      logits: float32 [B, U].
      batch: the targets.
    """
    num_classes = batch.classes.shape[-1]
    if logits.shape[-1] == num_classes:
        return {"accuracy": logits.argmax(axis=-1) == batch.labels[:, 0]}
    right_match = (match_logit(logits, num_classes) > 0) == batch.match  # (B,)
    right_class = (logits[:, -num_classes:] > 0) == batch.classes  # (B, K)
    return {"match_accuracy": right_match, "class_accuracy": right_class.mean(axis=-1)}
