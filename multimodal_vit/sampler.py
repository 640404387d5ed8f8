"""The four-quadrant task, sampled live: pure functions of a key, made for the device.

`sample_batch` pastes images into a grid and draws a text of labels that is true or false of it
(thesis, sections 3.1 and 3.4.1). It is vectorised, works under `jit` and `vmap`, and knows nothing
of models. A batch is a function of its key and its base images alone: under a mesh each device
computes its own rows, and the numbers do not depend on how many devices there are (this rests on
`jax_threefry_partitionable`, JAX's default).

An epoch shows every image of a split once as a base image, in an order drawn from the key
(`epoch_order`). The base image fills the first position of the grid; the others are drawn
uniformly, with replacement, from the same split. Where the last batch of an epoch is not full, it
repeats images with weight 0.

Where there are recordings, the words of the text are spoken too: each by a recording of its class,
drawn uniformly from the same part of the data.
"""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit.components import get
from multimodal_vit.errors import UserError


@dataclasses.dataclass(frozen=True)
class Task:
    """What a pair of image and text looks like, and how false texts are made.

    Attributes:
      grid: rows and columns of the grid; reading order is row by row.
      image_shape: H, W, C of one image of the data set.
      num_classes: K, also the size of the vocabulary.
      false_rate: probability of a false text.
      corruption: how false texts are made, a component of `task.corruption`.
      replacement_rate: probability that a label is replaced beyond the one that always is.
      held_out: what no pair shows or says, a key of `HELD_OUT`.
      audio_shape: F, C of one recording, where the words are spoken too.
      corruption_options: those of the corruption, names and values.
    """

    grid: tuple[int, int]
    image_shape: tuple[int, int, int]
    num_classes: int
    false_rate: float = 0.5
    corruption: str = "replace"
    replacement_rate: float = 0.25
    held_out: str = "nothing"
    audio_shape: tuple[int, int] | None = None
    corruption_options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise UserError(
                f"the task needs at least 2 classes to tell apart, not {self.num_classes}"
            )
        if not can_hold_out(self.held_out, self):
            raise UserError(
                f"task.held_out={self.held_out!r} leaves too little with {self.num_classes} "
                f"classes at {self.num_positions} positions: sequences need 100 different ones, "
                "pairs 5 classes and 2 positions"
            )

    def option(self, name: str) -> Any:
        """An option of the task's corruption."""
        return dict(self.corruption_options)[name]

    @property
    def num_positions(self) -> int:
        """n, the number of images in the grid and of words in the text."""
        return self.grid[0] * self.grid[1]

    @property
    def classifies(self) -> bool:
        """Whether there is no question of true or false: one image, and a text that is true."""
        return self.num_positions == 1 and self.false_rate == 0

    @property
    def canvas_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pasted image."""
        height, width, channels = self.image_shape
        return self.grid[0] * height, self.grid[1] * width, channels


@flax.struct.dataclass
class Speech:
    """Recordings to draw from, on the device.

    Attributes:
      features: float32 [M, F, C], sorted by class.
      first: int32 [K + 1], where each class begins, and M.
    """

    features: jax.Array
    first: jax.Array


INPUTS = ("image", "words", "audio")  # in the order of a batch's "present"


@flax.struct.dataclass
class Batch:
    """B pairs of image and text with their targets.

    Attributes:
      inputs: what a model may see: "image" uint8 [B, H, W, C] and "words" int32 [B, n]; where the
        words are spoken, also "audio" float32 [B, n, F, C] and "present" bool [B, 3], which of
        `INPUTS` the model gets.
      chosen: int32 [B, n], the images' places in the split, in reading order.
      labels: int32 [B, n], their classes.
      match: bool [B], the text names every image in reading order.
      classes: bool [B, K], the class is in the image.
      replaced: bool [B, n], where text and image differ.
      weight: float32 [B], 1, or 0 for the filling of an epoch's last batch.
      spoken: int32 [B, n], the recordings' places in the part, where the words are spoken.
    """

    inputs: dict[str, jax.Array]
    chosen: jax.Array
    labels: jax.Array
    match: jax.Array
    classes: jax.Array
    replaced: jax.Array
    weight: jax.Array
    spoken: jax.Array | None = None


def named_key(key: jax.Array, name: str) -> jax.Array:
    """An independent key for the purpose `name`; every random stream here has one."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def replace_labels(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """False texts by the thesis's law (section 3.4.1).

    One position, drawn uniformly, is always replaced; each other one with probability
    `replacement_rate`. A replacement is uniform over the K - 1 other classes.

    Args:
      key: a random key.
      labels: int32 [B, n].
      task: the task; its `num_classes` and `replacement_rate` are used.

    Returns:
      int32 [B, n], in each row different from `labels` in at least one place.
    """
    B, n = labels.shape
    first = jax.random.randint(named_key(key, "first"), (B, 1), 0, n)  # [B, 1]
    more = jax.random.bernoulli(named_key(key, "more"), task.replacement_rate, (B, n))
    replaced = more | (jnp.arange(n) == first)  # [B, n]
    shift = jax.random.randint(named_key(key, "shift"), (B, n), 1, task.num_classes)
    return jnp.where(replaced, (labels + shift) % task.num_classes, labels)


def replacement_chances(task: Task) -> np.ndarray:
    """The chance of one false text by `replace_labels`, by the labels that it differs in.

    d / n · r^(d-1) · (1 - r)^(n-d) / (K - 1)^d for d differences: float64 [n + 1], 0 for none.
    """
    n, r, K = task.num_positions, task.replacement_rate, task.num_classes
    d = np.arange(1, n + 1)
    chances = np.concatenate([[0.0], d / n * r ** (d - 1) * (1 - r) ** (n - d)])
    return chances / (K - 1) ** np.arange(n + 1)


def permute_labels(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """False texts that only order tells from true ones: the same labels in another order.

    All orders that change the text are equally likely. A row of equal labels, which no order
    changes, gets the false text of `replace_labels`.

    Args:
      key: a random key.
      labels: int32 [B, n].
      task: the task.

    Returns:
      int32 [B, n], in each row different from `labels` in at least one place.
    """
    B, n = labels.shape
    scores = jax.random.uniform(named_key(key, "order"), (B, _ORDERS, n))
    orders = jnp.argsort(scores, axis=-1)  # (B, _ORDERS, n)
    candidates = jnp.take_along_axis(labels[:, None, :], orders, axis=2)
    # Should none of them change the text, a rotation by one does, unless all labels are equal.
    candidates = jnp.concatenate([candidates, jnp.roll(labels, 1, axis=1)[:, None]], axis=1)
    differs = (candidates != labels[:, None, :]).any(axis=-1)  # (B, _ORDERS + 1)
    replaced = replace_labels(named_key(key, "replaced"), labels, task)
    return jnp.where(differs.any(axis=1, keepdims=True), _first(candidates, differs), replaced)


_ORDERS = 8  # drawn for each row; a text with four labels stays as it is with at most 1/4 each


def _first(candidates: jax.Array, fits: jax.Array) -> jax.Array:
    """The first candidate of each row that fits, [B, C, n] and bool [B, C] → [B, n].

    Where none does, the first of all.
    """
    return jnp.take_along_axis(candidates, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]


def mix_labels(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """False texts, each with equal chance by `replace_labels` or by `permute_labels`."""
    by_order = jax.random.bernoulli(named_key(key, "by order"), 0.5, (len(labels), 1))
    replaced = replace_labels(named_key(key, "replace"), labels, task)
    permuted = permute_labels(named_key(key, "permute"), labels, task)
    return jnp.where(by_order, permuted, replaced)


Corruption = Callable[[jax.Array, jax.Array, Task], jax.Array]
CORRUPTIONS: dict[str, Corruption] = {
    "replace": replace_labels,
    "permute": permute_labels,
    "mixed": mix_labels,
}


def sequence_is_held_out(labels: jax.Array, num_classes: int) -> jax.Array:
    """Whether a sequence of labels is one of a fixed tenth, int32 [..., n] → bool [...].

    A hash of the sequence decides; sequences of one label throughout never are.
    """
    del num_classes
    code = jnp.full(labels.shape[:-1], 2166136261, jnp.uint32)
    for i in range(labels.shape[-1]):
        code = (code ^ labels[..., i].astype(jnp.uint32)) * jnp.uint32(2654435769)
        code ^= code >> 15
    return (code % 10 == 0) & (labels != labels[..., :1]).any(axis=-1)


def pair_is_held_out(labels: jax.Array, num_classes: int) -> jax.Array:
    """Whether two classes of a fixed tenth of all pairs of classes occur together.

    int32 [..., n] → bool [...]; of ten classes four pairs are held out, of 45.
    """
    first, second = np.triu_indices(num_classes, 1)
    count = max(1, len(first) // 10)
    which = np.random.default_rng(0).permutation(len(first))[:count]
    table = np.zeros((num_classes, num_classes), bool)
    table[first[which], second[which]] = table[second[which], first[which]] = True
    return jnp.asarray(table)[labels[..., :, None], labels[..., None, :]].any(axis=(-2, -1))


HELD_OUT: dict[str, Callable[[jax.Array, int], jax.Array] | None] = {
    "nothing": None,
    "sequences": sequence_is_held_out,
    "pairs": pair_is_held_out,
}


def can_hold_out(kind: str, task: Task) -> bool:
    """Whether the task has enough sequences or pairs of classes to hold a tenth out."""
    if kind == "sequences":
        return task.num_classes**task.num_positions >= 100
    return kind == "nothing" or (task.num_classes >= 5 and task.num_positions >= 2)


_CANDIDATES = 64  # for each row; half of all grids and texts or more fit


Grids = Callable[[jax.Array, jax.Array, jax.Array, Task], jax.Array]


def uniform_grids(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
    """The images of each grid: the base image, then others drawn uniformly from the split.

    Args:
      key: a random key.
      labels: int32 [N], of the split.
      base: int32 [B].
      task: the task; its `num_positions` n is used.

    Returns:
      int32 [B, n], places in the split.
    """
    n = task.num_positions
    others = jax.random.randint(named_key(key, "others"), (len(base), n - 1), 0, len(labels))
    return jnp.concatenate([base[:, None].astype(others.dtype), others], axis=1)


def grids_where(fits: Callable[[jax.Array], jax.Array]) -> Grids:
    """Grids whose labels fit, int32 [..., n] → bool [...]; else as `uniform_grids`.

    A grid that none of 64 draws makes fit shows its base image throughout.
    """

    def draw(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
        keys = jax.random.split(key, _CANDIDATES)
        candidates = jax.vmap(lambda k: uniform_grids(k, labels, base, task), out_axes=1)(keys)
        constant = jnp.broadcast_to(base[:, None, None], (len(base), 1, task.num_positions))
        candidates = jnp.concatenate([candidates, constant.astype(candidates.dtype)], axis=1)
        known = fits(labels[candidates]).at[:, -1].set(True)  # (B, _CANDIDATES + 1)
        return _first(candidates, known)

    return draw


def corruption_where(fits: Callable[[jax.Array], jax.Array], corruption: Corruption) -> Corruption:
    """False texts that fit, int32 [..., n] → bool [...]; else as `corruption`.

    A text that none of 64 draws makes fit says one wrong class throughout.
    """

    def corrupt(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
        keys = jax.random.split(key, _CANDIDATES)
        candidates = jax.vmap(lambda k: corruption(k, labels, task), out_axes=1)(keys)
        constant = jnp.broadcast_to((labels[:, :1] + 1) % task.num_classes, labels.shape)
        candidates = jnp.concatenate([candidates, constant[:, None]], axis=1)
        return _first(candidates, fits(candidates).at[:, -1].set(True))

    return corrupt


def paste(images: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Pastes the images of each example into one, in reading order.

    Args:
      images: [B, r·c, H, W, C], any dtype.
      grid: r rows and c columns.

    Returns:
      [B, r·H, c·W, C], the same dtype.
    """
    r, c = grid
    B, _, H, W, C = images.shape
    rows = images.reshape(B, r, c, H, W, C).transpose(0, 1, 3, 2, 4, 5)  # (B, r, H, c, W, C)
    return rows.reshape(B, r * H, c * W, C)


def recordings_of(key: jax.Array, speech: Speech, words: jax.Array) -> jax.Array:
    """Recordings drawn uniformly from those of each word: places in the part.

    Args:
      key: a random key.
      speech: every word has a recording in it.
      words: int32, any shape.

    Returns:
      int32, the shape of `words`.
    """
    first = speech.first[words]
    return first + jax.random.randint(key, words.shape, 0, speech.first[words + 1] - first)


def sample_batch(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    base: jax.Array,
    weight: jax.Array,
    task: Task,
    corruption: Corruption | None = None,
    grids: Grids = uniform_grids,
    speech: Speech | None = None,
    flipped: jax.Array | bool = False,
) -> Batch:
    """Draws one pair of image and text for each base image.

    Args:
      key: the key of this batch.
      images: uint8 [N, H, W, C], a whole split.
      labels: int32 [N], its labels.
      base: int32 [B], the image that fills the first position of each grid.
      weight: float32 [B], passed on to the batch.
      task: the task.
      corruption: how false texts are made, where not as the task says.
      grids: how the images of a grid are chosen, where the task holds nothing out.
      speech: recordings that speak the words; None: the text is only written.
      flipped: give every grid its other text: a false one where it had the true one, and the true
        one where it had a false one.

    Returns:
      The batch; every array's first axis is B.
    """
    corruption = corruption or get("task.corruption", task.corruption).target
    if (is_held_out := HELD_OUT[task.held_out]) is not None:

        def fits(labels: jax.Array) -> jax.Array:
            return ~is_held_out(labels, task.num_classes)

        grids, corruption = grids_where(fits), corruption_where(fits, corruption)
    chosen = grids(key, labels, base, task)  # (B, n)
    true_words = labels[chosen]  # (B, n)
    is_false = jax.random.bernoulli(named_key(key, "false"), task.false_rate, (len(base), 1))
    is_false ^= flipped
    false_words = corruption(named_key(key, "corruption"), true_words, task)
    words = jnp.where(is_false, false_words, true_words)
    replaced = words != true_words
    classes = (true_words[..., None] == jnp.arange(task.num_classes)).any(axis=1)  # (B, K)
    inputs, spoken = {"image": paste(images[chosen], task.grid), "words": words}, None
    if speech is not None:
        spoken = recordings_of(named_key(key, "spoken"), speech, words)  # (B, n)
        inputs["audio"] = speech.features[spoken]  # (B, n, F, C)
        inputs["present"] = jnp.ones((len(base), len(INPUTS)), bool)
    return Batch(
        inputs=inputs,
        chosen=chosen,
        labels=true_words,
        match=~replaced.any(axis=1),
        classes=classes,
        replaced=replaced,
        weight=weight,
        spoken=spoken,
    )


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """The batches that show every image once: N / B, rounded up."""
    return -(-num_images // batch_size)


def epoch_order(key: jax.Array, num_images: int, batch_size: int) -> jax.Array:
    """The base images of one epoch: a random permutation, filled up to whole batches.

    Returns:
      int32 [steps · batch_size]; the first `num_images` entries are the permutation, the rest
      begins it anew.
    """
    order = jax.random.permutation(key, num_images).astype(jnp.int32)
    return jnp.resize(order, steps_per_epoch(num_images, batch_size) * batch_size)


def base_images(
    order: jax.Array, step: jax.Array, batch_size: int, num_images: int
) -> tuple[jax.Array, jax.Array]:
    """The base images int32 [B] of step `step` of an epoch, and their weights float32 [B]."""
    start = step * batch_size
    base = jax.lax.dynamic_slice(order, (start,), (batch_size,))
    weight = (start + jnp.arange(batch_size) < num_images).astype(jnp.float32)
    return base, weight
