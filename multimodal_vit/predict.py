"""Predictions over a whole split: the pairs of the task or of a suite, and a model's answers."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from multimodal_vit import distributed, sampler
from multimodal_vit.arrays import read_npz
from multimodal_vit.errors import UserError
from multimodal_vit.files import replacing
from multimodal_vit.objectives import Keys, Objective, match_logit
from multimodal_vit.sampler import Batch, Task, named_key
from multimodal_vit.suites import AS_TRAINED, Pool, Suite


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A model's answers to N pairs, in host memory.

    Attributes:
      logits: float32 [N, U]; U = 0 where the objective has no verdict, 1 where that has no class
        units.
      loss: float32 [N].
      match: bool [N], the target of the true/false unit.
      classes: bool [N, K], the targets of the class units.
      words: int32 [N, n], the text.
      chosen: int32 [N, n], the images' places in the split.
      labels: int32 [N, n], what the images show.
      metrics: of the objective, [N] by name; they are not saved.
    """

    logits: np.ndarray
    loss: np.ndarray
    match: np.ndarray
    classes: np.ndarray
    words: np.ndarray
    chosen: np.ndarray
    labels: np.ndarray
    metrics: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether there are any answers."""
        return self.logits.shape[1] > 0

    @property
    def has_classes(self) -> bool:
        """Whether the last K logits are of the classes."""
        return self.logits.shape[1] >= self.classes.shape[1]

    @property
    def classifies(self) -> bool:
        """Whether the logits are of the classes alone, without a true/false unit."""
        return self.logits.shape[1] == self.classes.shape[1]

    @property
    def num_replaced(self) -> np.ndarray:
        """int64 [N], the labels in which text and image differ."""
        return (self.words != self.labels).sum(axis=1)

    @property
    def true_logit(self) -> np.ndarray:
        """The log odds of "the text is true", float32 [N]; above 0 that is the answer."""
        return np.asarray(match_logit(self.logits, self.classes.shape[1]))

    def check(self) -> None:
        """Raises a `UserError` where the arrays are not of the shapes and kinds that they have."""
        kinds = {"logits": "f2", "loss": "f1", "match": "b1", "classes": "b2"}
        kinds |= {"words": "i2", "chosen": "i2", "labels": "i2"}
        for name, array in self._saved().items():
            if f"{array.dtype.kind}{array.ndim}" != kinds[name] or len(array) != len(self.loss):
                raise UserError(f"{name} is {array.dtype} {list(array.shape)}")

    def save(self, path: Path) -> None:
        """Writes them as a compressed .npz, whole or not at all."""
        with replacing(path, "wb") as file:
            np.savez_compressed(file, **self._saved())

    def _saved(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in _SAVED}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
          UserError: not such a file.
        """
        try:
            found = cls(**read_npz(path, _SAVED))
            found.check()
            return found
        except UserError as error:
            raise UserError(
                f"{path} cannot be read as saved predictions ({error}); evaluate the run anew with "
                f"--mode=evaluate --workdir={path.parent}"
            ) from error


_SAVED = [field.name for field in dataclasses.fields(Predictions) if field.name != "metrics"]
_KNOWN = ("match_accuracy", "class_accuracy", "accuracy")  # metrics that follow from the logits
STEPS_AT_ONCE = 10  # batches that are drawn and answered in one call
_KEPT = ("match", "classes", "chosen", "labels", "weight")  # of a batch, beside its words


class Predict:
    """Shows the images of a split as base images, `num_passes` times.

    The pairs depend on the key, the pool, the batch size and the suite alone, so that every model
    answers the same ones.
    """

    def __init__(
        self,
        objective: Objective,
        task: Task,
        over_examples: NamedSharding,
        *,
        batch_size: int,
        num_passes: int,
        suites: Sequence[Suite] = (AS_TRAINED,),
    ) -> None:
        self.batch_size, self.num_passes = batch_size, num_passes

        def draw(
            pool: Pool, key: jax.Array, which: jax.Array, start: jax.Array, flipped: jax.Array
        ) -> Batch:
            order = sampler.epoch_order(named_key(key, "order"), len(pool.labels), batch_size)
            at_once = self._at_once(pool)

            def step(i: jax.Array) -> Batch:
                base, weight = sampler.base_images(order, i, batch_size, len(pool.labels))
                batch_key = jax.random.fold_in(named_key(key, "batch"), i)
                draws = [functools.partial(suite.draw, batch_key) for suite in suites]
                draws = [functools.partial(draw, task=task, flipped=flipped) for draw in draws]
                return jax.lax.switch(which, draws, pool, base, weight)

            batches = jax.lax.map(step, start + jnp.arange(at_once))
            return jax.lax.with_sharding_constraint(batches, over_examples)

        def answer(
            variables: Any, batches: Batch, key: jax.Array, start: jax.Array
        ) -> dict[str, jax.Array]:
            keys_of = named_key(key, "objective")

            def step(numbered: tuple[jax.Array, Batch]) -> dict[str, jax.Array]:
                i, batch = numbered
                keys = Keys(objective=jax.random.fold_in(keys_of, start + i))
                found = objective.loss(variables, batch, keys, train=False)
                logits = found.logits
                if not objective.answers:
                    logits = jnp.zeros((len(found.loss), 0))
                elif logits is None:
                    logits = objective.verdict(variables, batch.inputs)
                own = {n: value for n, value in found.metrics.items() if n not in _KNOWN}
                return {"logits": logits, "loss": found.loss, "metrics": own}

            return jax.lax.map(step, (jnp.arange(len(batches.weight)), batches))

        # Apart, so that the many suites are compiled once for all models.
        self._draw, self._answer = jax.jit(draw), jax.jit(answer)

    def _steps_in_pass(self, pool: Pool) -> int:
        return sampler.steps_per_epoch(len(pool.labels), self.batch_size)

    def _at_once(self, pool: Pool) -> int:
        return min(STEPS_AT_ONCE, self._steps_in_pass(pool))

    def __call__(
        self,
        variables: Any,
        pool: Pool,
        key: jax.Array,
        which: int = 0,
        num_pairs: int = 0,
        flipped: bool = False,
    ) -> Predictions:
        """The answers to a suite's pairs.

        Args:
          variables: of the model, on the mesh.
          pool: what the pairs are drawn from, on the mesh.
          key: of the pairs.
          which: the suite's place in `suites`.
          num_pairs: stop after the batch that completes so many; 0: all N · `num_passes`.
          flipped: the same grids in the same order, each with its other text.

        Returns:
          Predictions of the pairs that belong to the suite.
        """
        in_pass, at_once = self._steps_in_pass(pool), self._at_once(pool)
        left = -(-num_pairs // self.batch_size) if num_pairs else in_pass * self.num_passes
        parts = []
        for i in range(self.num_passes):
            pass_key = jax.random.fold_in(key, i)
            for start in range(0, min(left, in_pass), at_once):
                # Steps after the last are filling, of weight 0.
                count = min(at_once, min(left, in_pass) - start) * self.batch_size
                batches = self._draw(pool, pass_key, which, start, flipped)
                answers = self._answer(variables, batches, pass_key, start) | {
                    "words": batches.inputs["words"],
                    **{name: getattr(batches, name) for name in _KEPT},
                }
                first = functools.partial(_first_rows, count)
                parts.append(jax.tree.map(first, distributed.to_host(answers)))
            left = max(0, left - in_pass)
        arrays = jax.tree.map(lambda *x: np.concatenate(x), *parts)
        counts = arrays.pop("weight") > 0  # not the filling of the last batch
        return Predictions(**jax.tree.map(lambda array: array[counts], arrays))

    def pairs(self, pool: Pool, key: jax.Array, which: int, rows: Sequence[int]) -> list[Batch]:
        """The pairs behind some rows of a suite's predictions, each a batch of one.

        The suite leaves no pair out.
        """
        found = []
        for row in rows:
            which_pass, place = divmod(row, len(pool.labels))
            step, place = divmod(place, self.batch_size)
            start = step // self._at_once(pool) * self._at_once(pool)  # as they were drawn before
            drawn = self._draw(pool, jax.random.fold_in(key, which_pass), which, start, False)
            batches = distributed.to_host(drawn)
            at = step - start, slice(place, place + 1)
            found.append(jax.tree.map(lambda x, at=at: x[at], batches))
        return found


def _first_rows(count: int, x: np.ndarray) -> np.ndarray:
    """[steps, B, …] → [count, …]."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])[:count]
