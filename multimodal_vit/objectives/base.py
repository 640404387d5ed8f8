"""What an objective is: an object that asks a model, as often as it likes, and gives a loss.

It can train parameters of its own (`heads`), keep arrays beside the parameters (`collections`), act
after each step, and say what the suites and probes are answered with (`verdict`).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.models import MultimodalViT
from multimodal_vit.sampler import Batch, Task

Variables = Mapping[str, Any]  # "params", and other collections of arrays


class Keys(NamedTuple):
    """What a loss may draw from; None where nothing is drawn.

    Attributes:
      dropout: of the model; None in evaluation.
      objective: of the objective itself: views, masks, noise, negatives.
    """

    dropout: jax.Array | None = None
    objective: jax.Array | None = None


@dataclasses.dataclass
class Outputs:
    """What an objective makes of a batch of B pairs.

    Attributes:
      loss: float32 [B], one number for each pair.
      logits: float32 [B, U], the model's answers.
      metrics: [B] by name, as `Objective.metric_names` lists them.
      losses: weighted losses [B] of parts of the model, by name; training adds them.
      collections: the changed ones among what is not "params".
    """

    loss: jax.Array
    logits: jax.Array | None = None
    metrics: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    losses: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    collections: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a model is trained for; a new one overrides `loss` and what else it needs.

    Attributes:
      model: that it asks.
      task: on the data at hand.
      options: its own, as its class `Options` declares them.
    """

    model: MultimodalViT
    task: Task
    options: Any = None

    uses: ClassVar[tuple[str, ...] | None] = None
    """The shared fields of a configuration that it acts by; None: any."""
    classifies: ClassVar[bool] = False
    """Whether it is for class logits alone: single images, no question of true or false."""
    own_collections: ClassVar[tuple[str, ...]] = ()
    """The collections that it keeps beside the model's, such as "teacher"."""
    in_batch: ClassVar[bool] = False
    """Whether a pair's loss depends on the other pairs of its batch."""
    best: ClassVar[str | None] = "loss"
    """The validation metric whose lowest value is the best checkpoint; None: the last is."""

    @classmethod
    def build(cls, model: MultimodalViT, task: Task, options: ConfigDict) -> "Objective":
        """The objective for a model."""
        return cls(model, task, options)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Yields a line for every mistake in a configuration; see `models.base.Part.problems`."""
        del config, task
        yield from ()

    @property
    def heads(self) -> nn.Module | None:
        """All that it trains itself, one module; its parameters are `params["objective"]`."""
        return None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of `Outputs.metrics`."""
        return ()

    def init(self, key: jax.Array, variables: Variables, inputs: Any) -> dict[str, Any]:
        """Adds its parameters and collections to a model's variables.

        Args:
          key: of them.
          variables: of the model, as `model.init` gives them.
          inputs: of a batch, in the right shapes.
        """
        variables = dict(variables)
        if self.heads is not None:
            summary = jnp.zeros((1, self.summary_size(variables, inputs)))
            own = self.heads.init(key, summary)
            variables["params"] = dict(variables["params"]) | {"objective": own["params"]}
        return variables

    def summary_size(self, variables: Variables, inputs: Any) -> int:
        """D of the summary [B, D] that the model makes."""
        _, intermediates = jax.eval_shape(self.model.apply, variables, inputs)
        return intermediates["summary"].shape[-1]

    def loss(self, variables: Variables, batch: Batch, keys: Keys, train: bool) -> Outputs:
        """The loss of a batch.

        Args:
          variables: of model and objective.
          batch: pairs; those of weight 0 must change no other's loss.
          keys: what may be drawn from.
          train: whether dropout acts.
        """
        raise NotImplementedError

    def after_step(self, params: Any, collections: Variables, step: jax.Array) -> dict[str, Any]:
        """The collections after an optimizer step, such as a moving average of the parameters.

        Args:
          params: the new ones.
          collections: beside them.
          step: int32, the steps made.
        """
        del params, step
        return dict(collections)

    def verdict(self, variables: Variables, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """The logits [B, U] that suites, checks and probes ask for; by default the model's head."""
        logits, _ = self.model.apply(variables, inputs)
        return logits

    def apply(
        self, variables: Variables, inputs: Mapping[str, jax.Array], keys: Keys, train: bool
    ) -> tuple[jax.Array, dict[str, Any], dict[str, Any]]:
        """One pass of the model: logits, intermediates, and the collections after it."""
        if not train:
            return *self.model.apply(variables, inputs), {}
        kept = {name: value for name, value in variables.items() if name != "params"}
        own = {name: kept.pop(name) for name in self.own_collections if name in kept}
        (logits, intermediates), changed = self.model.apply(
            {"params": variables["params"]} | kept,
            inputs,
            train=True,
            rngs={"dropout": keys.dropout},
            mutable=list(kept),
        )
        return logits, intermediates, changed | own

    def of_heads(self, variables: Variables, *arguments: Any, **named: Any) -> Any:
        """Applies `heads` with its trained parameters."""
        return self.heads.apply({"params": variables["params"]["objective"]}, *arguments, **named)
