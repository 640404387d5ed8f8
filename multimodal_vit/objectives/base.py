"""What an objective is: an object that asks a model, as often as it likes, and gives a loss.

It can train parameters of its own (`heads`), keep arrays beside the parameters (`collections`), act
after each step, and say what the suites and probes are answered with (`verdict`).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.models import MultimodalViT
from multimodal_vit.sampler import Batch, Task

Variables = Mapping[str, Any]  # "params", and other collections of arrays
VERDICT = "verdict"  # the collection of what is fitted on validation pairs; see `Objective.scores`


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
      logits: float32 [B, U], the model's answers; None: `Objective.verdict` is asked for them.
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
    answers: ClassVar[bool] = True
    """Whether it has a verdict. Without one a run has its loss and its own metrics alone."""
    scores: ClassVar[bool] = False
    """Whether the verdict is a score, of which a threshold must be taken that is fitted on
    validation pairs and kept with the results; see `threshold`."""
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
            own = _Own(self.heads).init(key, *self.head_inputs(variables, inputs))
            variables["params"] = dict(variables["params"]) | own["params"]
        return variables

    def head_inputs(self, variables: Variables, inputs: Any) -> tuple[Any, ...]:
        """What `heads` is initialised with; by default zeros in the shape of a summary."""
        return (jnp.zeros((1, self.summary_size(variables, inputs))),)

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
        """The logits [B, U] that suites, checks and probes ask for; by default the model's head.

        The first is the log odds of a true text, or of an objective that `scores` the score less
        the `threshold`; with U > 1 the last K are those of the classes.
        """
        logits, _ = self.model.apply(variables, inputs)
        return logits

    def apply(
        self, variables: Variables, inputs: Mapping[str, jax.Array], keys: Keys, train: bool
    ) -> tuple[jax.Array, dict[str, Any], dict[str, Any]]:
        """One pass of the model: logits, intermediates, and the collections after it."""
        found, changed = self.ask(variables, lambda model: model(inputs, train=train), keys, train)
        return *found, changed

    def ask(
        self,
        variables: Variables,
        function: Callable[[MultimodalViT], Any],
        keys: Keys,
        train: bool,
        which: int = 0,
    ) -> tuple[Any, dict[str, Any]]:
        """What a function of the model gives, and the collections after it.

        Args:
          variables: of model and objective.
          function: calls the model's methods, such as `embed` and `fuse`. A method that is called
            twice draws the same dropout twice.
          keys: `keys.dropout` is drawn from.
          train: whether collections may change; the function tells the model whether it trains.
          which: of several calls in a step; each has its own dropout.
        """
        if not train:
            return self.model.apply(variables, method=function), {}
        kept = {name: value for name, value in variables.items() if name != "params"}
        own = {name: kept.pop(name) for name in self.own_collections if name in kept}
        dropout = jax.random.fold_in(keys.dropout, which) if which else keys.dropout
        found, changed = self.model.apply(
            {"params": variables["params"]} | kept,
            method=function,
            rngs={"dropout": dropout},
            mutable=list(kept),
        )
        return found, changed | own

    def of_heads(self, variables: Variables, *arguments: Any, **named: Any) -> Any:
        """Applies `heads` with its trained parameters."""
        return self.heads.apply({"params": variables["params"]["objective"]}, *arguments, **named)

    def threshold(self, variables: Variables) -> jax.Array:
        """What a verdict that `scores` subtracts: fitted on validation pairs, or 0 before that."""
        return variables.get(VERDICT, {}).get("threshold", jnp.zeros(()))


class _Own(nn.Module):
    """Heads under the name that their parameters have, so that these are declared by it."""

    objective: nn.Module

    def __call__(self, *arguments: Any) -> Any:
        """What the heads return."""
        return self.objective(*arguments)


def mean_losses(passes: Sequence[Mapping[str, jax.Array]], size: int) -> dict[str, jax.Array]:
    """Losses of a model's parts: the mean over passes and over a row's copies in a pass.

    Args:
      passes: of each pass what the fusion gave as "losses", [k · B] by name.
      size: B.
    """
    names = sorted({name for losses in passes for name in losses})
    rows = {
        name: [losses[name].reshape(-1, size) for losses in passes if name in losses]
        for name in names
    }
    return {name: jnp.concatenate(found).mean(axis=0) for name, found in rows.items()}


def with_threshold(variables: Variables, threshold: float) -> dict[str, Any]:
    """Variables with the threshold that verdicts subtract; see `Objective.scores`."""
    return dict(variables) | {VERDICT: {"threshold": jnp.float32(threshold)}}
