"""Evaluation suites: named sets of test pairs, each made to show one thing that a model uses.

A suite says how its false texts are made, which grids belong to it, and what becomes of a pair
before the model sees it. Half of its pairs are true. Drawn on the device with a key of its own, a
suite is the same for every model. To add one, write a line in `SUITES`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from multimodal_vit.errors import UserError, hint
from multimodal_vit.sampler import (
    Batch,
    Corruption,
    Task,
    named_key,
    paste,
    permute_labels,
    replace_labels,
    sample_batch,
)

Inputs = dict[str, jax.Array]


def published_law(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Replaces labels as the thesis does (section 3.4.1), int32 [B, n] → [B, n]."""
    return replace_labels(key, labels, dataclasses.replace(task, replacement_rate=0.25))


@dataclasses.dataclass(frozen=True)
class Suite:
    """A set of test pairs.

    Attributes:
      about: what it asks, in a sentence.
      corruption: how its false texts are made; None: as in the task.
      belongs: which grids count, by their labels int32 [B, n]: bool [B]; None: all.
      change: what becomes of the inputs, their targets staying as they are; None: nothing.
      foil: whether its false texts are made to look true, so that rejecting them is the point.
      false_rate: the share of false texts; None: as in the task.
    """

    about: str
    corruption: Corruption | None = published_law
    belongs: Callable[[jax.Array], jax.Array] | None = None
    change: Callable[[jax.Array, Inputs, Task], Inputs] | None = None
    foil: bool = False
    false_rate: float | None = 0.5

    def draw(
        self,
        key: jax.Array,
        images: jax.Array,
        labels: jax.Array,
        base: jax.Array,
        weight: jax.Array,
        task: Task,
    ) -> Batch:
        """A batch of the suite, as `sampler.sample_batch`; what does not belong has weight 0."""
        if self.false_rate is not None:
            task = dataclasses.replace(task, false_rate=self.false_rate)
        batch = sample_batch(key, images, labels, base, weight, task, self.corruption)
        if self.belongs is not None:
            batch = batch.replace(weight=batch.weight * self.belongs(batch.labels))
        if self.change is not None:
            batch = batch.replace(inputs=self.change(named_key(key, "change"), batch.inputs, task))
        return batch


def replace_one(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Replaces exactly one label, int32 [B, n] → [B, n]; position and class are uniform."""
    return replace_labels(key, labels, dataclasses.replace(task, replacement_rate=0.0))


def replace_at(position: int) -> Corruption:
    """Replaces the label at one position, from 0."""

    def corrupt(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
        shift = jax.random.randint(named_key(key, "shift"), labels.shape, 1, task.num_classes)
        here = jnp.arange(labels.shape[1]) == position
        return jnp.where(here, (labels + shift) % task.num_classes, labels)

    return corrupt


def swap_adjacent(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Swaps two labels that follow each other in reading order and differ; any such pair alike.

    Rows of equal labels stay as they are.
    """
    del task
    differs = labels[:, :-1] != labels[:, 1:]  # (B, n-1)
    scores = jax.random.uniform(named_key(key, "place"), differs.shape)
    place = jnp.where(differs, scores, -1.0).argmax(axis=1)[:, None]  # (B, 1)
    position = jnp.arange(labels.shape[1])
    source = jnp.where(
        position == place, position + 1, jnp.where(position == place + 1, position - 1, position)
    )
    return jnp.take_along_axis(labels, source, axis=1)


def not_all_equal(labels: jax.Array) -> jax.Array:
    """Grids whose labels can be put into another order: bool [B]."""
    return (labels != labels[:, :1]).any(axis=1)


def another_text(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Every pair gets the text of the pair before it."""
    del key, task
    return inputs | {"words": jnp.roll(inputs["words"], 1, axis=0)}


def another_image(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Every pair gets the image of the pair before it."""
    del key, task
    return inputs | {"image": jnp.roll(inputs["image"], 1, axis=0)}


def no_text(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Every text is class 0 throughout."""
    del key, task
    return inputs | {"words": jnp.zeros_like(inputs["words"])}


def no_image(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Every image is black."""
    del key, task
    return inputs | {"image": jnp.zeros_like(inputs["image"])}


def translate(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Moves each image of the grid by up to 3 pixels each way, within its cell; black moves in."""
    r, c = task.grid
    H, W, C = task.image_shape
    B = len(inputs["image"])
    cells = inputs["image"].reshape(B, r, H, c, W, C).transpose(0, 1, 3, 2, 4, 5)
    cells = cells.reshape(-1, H, W, C)  # (B·r·c, H, W, C)
    padded = jnp.pad(cells, ((0, 0), (3, 3), (3, 3), (0, 0)))
    starts = jax.random.randint(named_key(key, "moves"), (len(cells), 2), 0, 7)

    def move(cell: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(cell, (start[0], start[1], 0), (H, W, C))

    moved = jax.vmap(move)(padded, starts).reshape(B, r * c, H, W, C)
    return inputs | {"image": paste(moved, task.grid)}


def add_noise(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Adds Gaussian noise of a fifth of the range, clipped to the range."""
    del task
    image = inputs["image"]
    noise = 51.0 * jax.random.normal(named_key(key, "noise"), image.shape)
    return inputs | {"image": jnp.clip(image + noise, 0, 255).astype(image.dtype)}


def less_contrast(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Half the contrast, around middle grey."""
    del key, task
    image = inputs["image"]
    return inputs | {"image": (64 + image / 2).astype(image.dtype)}


def invert(key: jax.Array, inputs: Inputs, task: Task) -> Inputs:
    """Black for white."""
    del key, task
    return inputs | {"image": 255 - inputs["image"]}


AS_TRAINED = Suite("the task as the model is trained on it", corruption=None, false_rate=None)
SUITES: dict[str, Suite] = {
    "standard": Suite("the published task, whatever the model is trained on"),
    "single_foil": Suite("one label is replaced", replace_one, foil=True),
    "order_foil": Suite(
        "the labels are right but in another order", permute_labels, not_all_equal, foil=True
    ),
    "swap_adjacent": Suite(
        "two labels that follow each other are swapped", swap_adjacent, not_all_equal, foil=True
    ),
    "blind_text": Suite("the text is another pair's", change=another_text),
    "no_text": Suite("the text is one class throughout", change=no_text),
    "blind_image": Suite("the image is another pair's", change=another_image),
    "no_image": Suite("the image is black", change=no_image),
    "translated": Suite("each image moves by up to 3 pixels", change=translate),
    "noisy": Suite("noise of a fifth of the range", change=add_noise),
    "low_contrast": Suite("half the contrast", change=less_contrast),
    "inverted": Suite("black for white", change=invert),
}


def suites_for(task: Task) -> dict[str, Suite]:
    """`SUITES`, and for each position of the grid a suite whose foils are there."""
    positions = {
        f"one_quadrant_{i + 1}": Suite(
            f"the label of position {i + 1} is replaced", replace_at(i), foil=True
        )
        for i in range(task.num_positions)
    }
    known = SUITES | positions
    if task.num_positions == 1:  # there is no order
        del known["order_foil"], known["swap_adjacent"]
    return known


def choose_suites(names: Sequence[str], task: Task) -> dict[str, Suite]:
    """The suites of some names; ("all",) are all.

    Raises:
      UserError: no such suite.
    """
    known = suites_for(task)
    if list(names) == ["all"]:
        return known
    for name in names:
        if name not in known:
            raise UserError(
                f"no suite {name!r}; there are: all, {', '.join(known)}{hint(name, known)}"
            )
    return {name: known[name] for name in names}
