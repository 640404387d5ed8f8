"""Evaluation suites: named sets of test pairs, each made to show one thing that a model uses.

A suite says which images stand in its grids, how its false texts are made, and what becomes of a
pair before the model sees it. Half of its pairs are true. Drawn on the device with a key of its
own, a suite is the same for every model. To add one, write a line in `SUITES`.

A check compares a model's answers to the pairs of two suites that are drawn with one key, so that
the second shows what became of the first: `CHECKS`, after CheckList (Ribeiro et al. 2020).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import flax.struct
import jax
import jax.numpy as jnp

from multimodal_vit import components
from multimodal_vit.errors import UserError, hint
from multimodal_vit.sampler import (
    HELD_OUT,
    INPUTS,
    Batch,
    Corruption,
    Grids,
    Speech,
    Task,
    can_hold_out,
    corruption_where,
    grids_where,
    named_key,
    paste,
    permute_labels,
    recordings_of,
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


def recount(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
    """Keeps which labels occur and changes how often, int32 [B, n] → [B, n].

    One of several equal labels becomes another one of the row's; every such change alike. Rows of
    equal labels and rows of different ones stay as they are.
    """
    del task
    B, n = labels.shape
    same = labels[:, :, None] == labels[:, None, :]  # (B, n, n)
    fits = (same.sum(axis=2) > 1)[:, :, None] & ~same  # at i, the label of j
    scores = jnp.where(fits, jax.random.uniform(named_key(key, "place"), (B, n, n)), -1.0)
    best = scores.reshape(B, n * n).argmax(axis=1)[:, None]  # (B, 1)
    other = jnp.take_along_axis(labels, best % n, axis=1)
    changed = (jnp.arange(n) == best // n) & fits.any(axis=(1, 2))[:, None]
    return jnp.where(changed, other, labels)


def some_equal(batch: Batch, task: Task) -> jax.Array:
    """Grids in which a label occurs twice or more, and another one too: bool [B]."""
    del task
    ordered = jnp.sort(batch.labels, axis=1)
    differs = ordered[:, 1:] != ordered[:, :-1]  # (B, n-1)
    return differs.any(axis=1) & ~differs.all(axis=1)


def not_all_equal(batch: Batch, task: Task) -> jax.Array:
    """Grids whose labels can be put into another order: bool [B]."""
    del task
    return (batch.labels != batch.labels[:, :1]).any(axis=1)


def of_class(key: jax.Array, labels: jax.Array, wanted: jax.Array) -> jax.Array:
    """Images drawn uniformly from those of a class: places in the split.

    Args:
      key: a random key.
      labels: int32 [N], of the split.
      wanted: int32, any shape; each class occurs in the split.
    """
    order = jnp.argsort(labels)
    first = jnp.searchsorted(labels[order], wanted)
    count = jnp.searchsorted(labels[order], wanted, side="right") - first
    return order[first + jax.random.randint(key, wanted.shape, 0, count)]


def equal_grids(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
    """Grids that show the class of their base image throughout; see `sampler.uniform_grids`."""
    wanted = jnp.broadcast_to(labels[base][:, None], (len(base), task.num_positions))
    return of_class(named_key(key, "others"), labels, wanted).at[:, 0].set(base)


def held_out(kind: str) -> Suite:
    """Grids and texts that a training with `task.held_out` = `kind` never shows."""
    is_held_out = HELD_OUT[kind]
    assert is_held_out is not None

    def fits(labels: jax.Array, task: Task) -> jax.Array:
        return is_held_out(labels, task.num_classes)

    def grids(key: jax.Array, labels: jax.Array, base: jax.Array, task: Task) -> jax.Array:
        return grids_where(functools.partial(fits, task=task))(key, labels, base, task)

    def corruption(key: jax.Array, labels: jax.Array, task: Task) -> jax.Array:
        return corruption_where(functools.partial(fits, task=task), published_law)(
            key, labels, task
        )

    def belongs(batch: Batch, task: Task) -> jax.Array:
        return fits(batch.labels, task) & fits(batch.inputs["words"], task)

    return Suite(
        f"grids and texts of the {kind} that task.held_out={kind} keeps out of training",
        corruption, grids, belongs,
    )  # fmt: skip


def _with(batch: Batch, **inputs: jax.Array) -> Batch:
    return batch.replace(inputs=batch.inputs | inputs)


def _say(key: jax.Array, batch: Batch, pool: Pool, words: jax.Array) -> Batch:
    """The batch with another text; where it is spoken, the words that change are spoken anew."""
    if pool.speech is None:
        return _with(batch, words=words)
    anew = recordings_of(named_key(key, "spoken"), pool.speech, words)
    spoken = jnp.where(words == batch.inputs["words"], batch.spoken, anew)  # (B, n)
    audio = pool.speech.features[spoken]
    return _with(batch, words=words, audio=audio).replace(spoken=spoken)


def confusable_word(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Every wrong word becomes the class that the model takes the shown one for."""
    del task
    words = jnp.where(batch.replaced, pool.confusable[batch.labels], batch.inputs["words"])
    return _say(key, batch, pool, words)


def another_text(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Every pair gets the text of the pair before it."""
    del task
    return _say(key, batch, pool, jnp.roll(batch.inputs["words"], 1, axis=0))


def another_image(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Every pair gets the image of the pair before it."""
    del key, pool, task
    return _with(batch, image=jnp.roll(batch.inputs["image"], 1, axis=0))


def no_text(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Every text is class 0 throughout."""
    del task
    return _say(key, batch, pool, jnp.zeros_like(batch.inputs["words"]))


def another_sound(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Every pair gets the recordings of the pair before it; the written words stay."""
    del key, pool, task
    return _with(batch, audio=jnp.roll(batch.inputs["audio"], 1, axis=0))


def without(*missing: str) -> Change:
    """The model is not given some of `sampler.INPUTS`."""

    def change(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
        del key, pool, task
        there = jnp.array([name not in missing for name in INPUTS])
        return _with(batch, present=batch.inputs["present"] & there)

    return change


def no_image(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Every image is black."""
    del key, pool, task
    return _with(batch, image=jnp.zeros_like(batch.inputs["image"]))


def translate(pixels: int) -> Change:
    """Moves each image of the grid by up to `pixels` each way, within its cell; black moves in."""

    def change(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
        H, W, C = task.image_shape
        cells = pool.images[batch.chosen].reshape(-1, H, W, C)  # (B·n, H, W, C)
        padded = jnp.pad(cells, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
        shape = (len(cells), 2)
        starts = jax.random.randint(named_key(key, "moves"), shape, 0, 2 * pixels + 1)

        def move(cell: jax.Array, start: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(cell, (start[0], start[1], 0), (H, W, C))

        moved = jax.vmap(move)(padded, starts).reshape(*batch.chosen.shape, H, W, C)
        return _with(batch, image=paste(moved, task.grid))

    return change


def add_noise(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Adds Gaussian noise of a fifth of the range, clipped to the range."""
    del pool, task
    image = batch.inputs["image"]
    noise = 51.0 * jax.random.normal(named_key(key, "noise"), image.shape)
    return _with(batch, image=jnp.clip(image + noise, 0, 255).astype(image.dtype))


def less_contrast(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Half the contrast, around middle grey."""
    del key, pool, task
    image = batch.inputs["image"]
    return _with(batch, image=(64 + image / 2).astype(image.dtype))


def invert(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Black for white."""
    del key, pool, task
    return _with(batch, image=255 - batch.inputs["image"])


def other_images(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Another image of the same class at every position."""
    chosen = of_class(named_key(key, "images"), pool.labels, batch.labels)
    return _with(batch, image=paste(pool.images[chosen], task.grid)).replace(chosen=chosen)


def _swap(key: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """For each grid two positions, drawn, whose labels differ where any do; int32 [B, 1] each."""
    B, n = batch.labels.shape
    differs = batch.labels[:, :, None] != batch.labels[:, None, :]  # (B, n, n)
    scores = jnp.where(differs, jax.random.uniform(named_key(key, "places"), (B, n, n)), -1.0)
    place = scores.reshape(B, n * n).argmax(axis=1)[:, None]
    return place // n, place % n


def _swapped(values: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """[B, n] with the values at two positions of each row exchanged."""
    position = jnp.arange(values.shape[1])
    source = jnp.where(position == first, second, jnp.where(position == second, first, position))
    return jnp.take_along_axis(values, source, axis=1)


def swap_words(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Exchanges two words whose images are of different classes."""
    del task
    return _say(key, batch, pool, _swapped(batch.inputs["words"], *_swap(key, batch)))


def swap_words_and_images(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """Exchanges two words and their images, of different classes."""
    places = _swap(key, batch)
    chosen, words = (_swapped(x, *places) for x in (batch.chosen, batch.inputs["words"]))
    said = _say(key, batch, pool, words)
    changed = _with(said, image=paste(pool.images[chosen], task.grid))
    return changed.replace(chosen=chosen, labels=pool.labels[chosen])


AS_TRAINED = Suite("the task as the model is trained on it", corruption=None, false_rate=None)
SUITES: dict[str, Suite] = {
    "standard": Suite("the published task, whatever the model is trained on"),
    "single_foil": Suite("one label is replaced", replace_one, foil=True),
    "count_foil": Suite(
        "the text names the classes that occur, but one too often and another too seldom",
        recount, belongs=some_equal, foil=True,
    ),
    "order_foil": Suite(
        "the labels are right but in another order",
        permute_labels, belongs=not_all_equal, foil=True,
    ),
    "swap_adjacent": Suite(
        "two labels that follow each other are swapped",
        swap_adjacent, belongs=not_all_equal, foil=True,
    ),
    "near_foil": Suite(
        "one label is replaced by the class that the model itself most takes it for",
        replace_one, change=confusable_word, foil=True,
    ),
    "held_out_sequences": held_out("sequences"),
    "held_out_pairs": held_out("pairs"),
    "blind_text": Suite("the text is another pair's", change=another_text),
    "no_text": Suite("the text is one class throughout", change=no_text),
    "blind_image": Suite(
        "the image is another pair's", change=another_image, shows_labels=False
    ),
    "no_image": Suite("the image is black", change=no_image, shows_labels=False),
    "translated": Suite("each image moves by up to 3 pixels", change=translate(3)),
    "noisy": Suite("noise of a fifth of the range", change=add_noise),
    "low_contrast": Suite("half the contrast", change=less_contrast),
    "inverted": Suite("black for white", change=invert),
    "other_data_set": Suite(
        "a control: images of another data set, whose classes the words do not name",
        other_data=True, shows_labels=False,
    ),
}  # fmt: skip


# Where the words are spoken. What is missing, the model knows to be missing (`without`).
AUDIO_SUITES: dict[str, Suite] = {
    "blind_audio": Suite("the sound is another pair's", change=another_sound),
    "without_image": Suite("no image is given", change=without("image"), shows_labels=False),
    "without_words": Suite("the text is spoken alone", change=without("words")),
    "without_audio": Suite("the text is written alone", change=without("audio")),
    "only_image": Suite("no text is given, in any form", change=without("words", "audio")),
    "only_words": Suite(
        "only the written text is given", change=without("image", "audio"), shows_labels=False
    ),
    "only_audio": Suite(
        "only the spoken text is given", change=without("image", "words"), shows_labels=False
    ),
}
# Of a classifier of one image and one recording of its class.
CLASSIFICATION_SUITES = (
    "standard", "blind_image", "blind_audio", "without_image", "without_audio",
    "translated", "noisy", "low_contrast", "inverted",
)  # fmt: skip


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


BEFORE = SUITES["standard"]
CHECKS: dict[str, Check] = {
    "equal_grid": Check(
        "one class throughout the grid: the answer must be right", "minimal",
        Suite("grids of one class", grids=equal_grids), "be right",
    ),
    "another_image": Check(
        "every image is replaced by another of its class: the answer must stay", "invariance",
        Suite("other images of the same classes", change=other_images), "stay",
    ),
    "small_shift": Check(
        "each image moves by at most one pixel: the answer must stay", "invariance",
        Suite("images moved by at most a pixel", change=translate(1)), "stay",
    ),
    "swap_words": Check(
        "two different words of a true text are exchanged: it must turn false", "direction",
        Suite("two words exchanged", change=swap_words), "turn false",
    ),
    "swap_words_and_images": Check(
        "two words are exchanged and their images alike: true must stay true", "direction",
        Suite("two words and their images exchanged", change=swap_words_and_images), "stay true",
    ),
}  # fmt: skip


ALL = ("all",)  # every suite, and every check


def suites_for(task: Task) -> dict[str, Suite]:
    """The suites that make sense of a task.

    `SUITES` and those from outside the package, and for each position of the grid a suite whose
    foils are there; `AUDIO_SUITES` where the words are spoken. Of a classifier
    `CLASSIFICATION_SUITES`.
    """
    positions = {
        f"one_quadrant_{i + 1}": Suite(
            f"the label of position {i + 1} is replaced", replace_at(i), foil=True
        )
        for i in range(task.num_positions)
    }
    more = {own.name: own.target for own in components.all_of("evaluation.suites")}
    known = SUITES | positions | more
    if task.audio_shape is not None:
        known |= AUDIO_SUITES
    if task.classifies:
        return {
            name: dataclasses.replace(known[name], false_rate=0.0)
            for name in CLASSIFICATION_SUITES
            if name in known
        }
    if task.num_positions == 1:  # there is no order
        del known["order_foil"], known["swap_adjacent"]
    if task.num_positions < 3:  # no label occurs twice beside another
        del known["count_foil"]
    for kind in HELD_OUT:
        if f"held_out_{kind}" in known and not can_hold_out(kind, task):
            del known[f"held_out_{kind}"]
    return known


def checks_for(task: Task) -> dict[str, Check]:
    """All checks; with one image in the grid, those without an exchange; of a classifier none."""
    if task.classifies:
        return {}
    known = all_checks()
    if task.num_positions > 1:
        return known
    return {name: check for name, check in known.items() if check.kind != "direction"}


def all_checks() -> dict[str, Check]:
    """`CHECKS`, and those from outside the package."""
    return {own.name: own.target for own in components.all_of("checks")}


def choose_suites(names: Sequence[str], task: Task) -> dict[str, Suite]:
    """The suites of some names; ("all",) are all.

    Raises:
      UserError: no such suite.
    """
    known = suites_for(task)
    if tuple(names) == ALL:
        return known
    for name in names:
        if name not in known:
            raise UserError(
                f"no suite {name!r}; there are: all, {', '.join(known)}{hint(name, known)}"
            )
    return {name: known[name] for name in names}
