"""Objectives that are a function of the logits: a catalogue of the three that the papers use."""

from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import optax
from ml_collections import ConfigDict

from multimodal_vit import shapes
from multimodal_vit.components import component
from multimodal_vit.objectives.base import Keys, Objective, Outputs, Variables
from multimodal_vit.objectives.metrics import accuracies, metric_names, targets
from multimodal_vit.sampler import Batch, Task


class Supervised(Objective):
    """One pass of the model; a loss of its logits and intermediates."""

    uses: ClassVar[tuple[str, ...]] = ()

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The accuracies that the model's outputs have."""
        return metric_names(self.model.num_outputs, self.task.num_classes)

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The loss of the model's answers; see `Objective.loss`."""
        logits, intermediates, collections = self.apply(variables, batch.inputs, keys, train)
        loss = self.of_logits(logits, intermediates, batch)  # (B,)
        shapes.check_loss(loss, len(logits), f"the loss of {type(self).__name__}")
        losses = intermediates.get("losses", {})
        return Outputs(loss, logits, accuracies(logits, batch), losses, collections)

    @staticmethod
    def of_logits(logits: jax.Array, intermediates: dict[str, Any], batch: Batch) -> jax.Array:
        """The loss, float32 [B], of logits [B, U] and what the model gives besides."""
        raise NotImplementedError


@component("train.objective", "binary_cross_entropy")
class BinaryCrossEntropy(Supervised):
    """Binary cross entropy with logits, averaged over the output units (thesis, section 3.4.2)."""

    @staticmethod
    def of_logits(logits: jax.Array, intermediates: dict[str, Any], batch: Batch) -> jax.Array:
        """See `Supervised.of_logits`."""
        del intermediates
        losses = optax.sigmoid_binary_cross_entropy(logits, targets(batch, logits.shape[-1]))
        return losses.mean(axis=-1)


@component("train.objective", "quadrant_cross_entropy")
class QuadrantCrossEntropy(Supervised):
    """Softmax cross entropy of each image's class, averaged over the grid.

    For a model with the modality "quadrants", whose embedding is class logits [B, n, K]; its other
    outputs follow from these.
    """

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """A model that does not read quadrants."""
        modalities = tuple(config.model.modalities)
        if task is None and "quadrants" not in modalities:
            yield (
                "train.objective='quadrant_cross_entropy' trains the modality 'quadrants', which "
                f"model.modalities={modalities} does not name"
            )

    @staticmethod
    def of_logits(logits: jax.Array, intermediates: dict[str, Any], batch: Batch) -> jax.Array:
        """See `Supervised.of_logits`."""
        del logits
        quadrants = intermediates["embedded"]["quadrants"]
        losses = optax.softmax_cross_entropy_with_integer_labels(quadrants, batch.labels)  # (B, n)
        return losses.mean(axis=-1)


@component("train.objective", "class_cross_entropy")
class ClassCrossEntropy(Supervised):
    """Softmax cross entropy over the classes, for a grid of one image."""

    classifies: ClassVar[bool] = True

    @staticmethod
    def of_logits(logits: jax.Array, intermediates: dict[str, Any], batch: Batch) -> jax.Array:
        """See `Supervised.of_logits`."""
        del intermediates
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels[:, 0])
