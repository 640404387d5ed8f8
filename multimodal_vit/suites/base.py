"""What a suite and a check are."""

import dataclasses
from collections.abc import Callable

import flax.struct
import jax

from multimodal_vit.sampler import (
    Batch,
    Corruption,
    Grids,
    Speech,
    Task,
    named_key,
    replace_labels,
    sample_batch,
    uniform_grids,
)


@flax.struct.dataclass
class Pool:
    """What the pairs of a suite are drawn from.

    Attributes:
      images: uint8 [N, H, W, C], a whole split.
      labels: int32 [N].
      confusable: int32 [K], for each class another one that a model takes it for.
      speech: recordings of the split, where the words are spoken.
    """

    images: jax.Array
    labels: jax.Array
    confusable: jax.Array
    speech: Speech | None = None


Change = Callable[[jax.Array, Batch, Pool, Task], Batch]


def published(task: Task) -> Task:
    """The task with the thesis's law of false texts (section 3.4.1), and nothing held out."""
    return dataclasses.replace(
        task, false_rate=0.5, corruption="replace", replacement_rate=0.25, held_out="nothing",
        corruption_options=(),
    )  # fmt: skip


def published_law(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Replaces labels as the thesis does (section 3.4.1), int32 [B, n] → [B, n]."""
    return replace_labels(key, labels, published(task))


@dataclasses.dataclass(frozen=True)
class Suite:
    """A set of test pairs.

    Attributes:
      about: what it asks, in a sentence.
      corruption: how its false texts are made; None: as in the task.
      grids: how the images of its grids are chosen.
      belongs: which pairs count: bool [B]; None: all.
      change: what becomes of a batch, its targets staying as they are; None: nothing.
      foil: whether its false texts are made to look true, so that rejecting them is the point.
      false_rate: the share of false texts; None: as in the task, with what the task holds out.
      other_data: whether its images and labels are of another data set.
      shows_labels: whether the image that the model sees shows what its labels say.
    """

    about: str
    corruption: Corruption | None = published_law
    grids: Grids = uniform_grids
    belongs: Callable[[Batch, Task], jax.Array] | None = None
    change: Change | None = None
    foil: bool = False
    false_rate: float | None = 0.5
    other_data: bool = False
    shows_labels: bool = True

    def draw(
        self,
        key: jax.Array,
        pool: Pool,
        base: jax.Array,
        weight: jax.Array,
        task: Task,
        flipped: jax.Array | bool = False,
    ) -> Batch:
        """A batch of the suite, as `sampler.sample_batch`; what does not belong has weight 0.

        With `flipped`, the same grids, each with the text that it does not have else.
        """
        if self.false_rate is not None:
            task = dataclasses.replace(published(task), false_rate=self.false_rate)
        batch = sample_batch(
            key, pool.images, pool.labels, base, weight, task, self.corruption, self.grids,
            pool.speech, flipped,
        )  # fmt: skip
        if self.belongs is not None:
            batch = batch.replace(weight=batch.weight * self.belongs(batch, task))
        if self.change is not None:
            batch = self.change(named_key(key, "change"), batch, pool, task)
        return batch


@dataclasses.dataclass(frozen=True)
class Check:
    """A relation that a model's answers must hold.

    Attributes:
      about: what is done, and what must follow.
      kind: "minimal", "invariance" or "direction" (CheckList).
      after: the suite whose pairs are `BEFORE`'s, changed; of a minimal check, any.
      must: what the answer must do: "be right", "stay" as it was, or, of the pairs that were
        rightly called true, "turn false" or "stay true".
    """

    about: str
    kind: str
    after: Suite
    must: str
