"""What becomes of a pair before the model sees it."""

import jax
import jax.numpy as jnp

from multimodal_vit.sampler import (
    INPUTS,
    Batch,
    Task,
    moved,
    named_key,
    paste,
    recordings_of,
)
from multimodal_vit.suites.base import Change, Pool
from multimodal_vit.suites.foils import of_class


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
        images = pool.images[batch.chosen].reshape(-1, H, W, C)  # (B·n, H, W, C)
        shape = (len(images), 2)
        starts = jax.random.randint(named_key(key, "moves"), shape, 0, 2 * pixels + 1)
        changed = jax.vmap(lambda image, start: moved(image, start, pixels))(images, starts)
        return _with(batch, image=paste(changed.reshape(*batch.chosen.shape, H, W, C), task.grid))

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


def replace_image(key: jax.Array, batch: Batch, pool: Pool, task: Task) -> Batch:
    """One image of each grid becomes one of another class; the text stays (as in VQA v2)."""
    B, n = batch.labels.shape
    place = jax.random.randint(named_key(key, "place"), (B, 1), 0, n)
    shift = jax.random.randint(named_key(key, "shift"), (B, 1), 1, task.num_classes)
    here = jnp.arange(n) == place
    wanted = jnp.where(here, (batch.labels + shift) % task.num_classes, batch.labels)
    drawn = of_class(named_key(key, "images"), pool.labels, wanted)
    chosen = jnp.where(here, drawn, batch.chosen)
    image = paste(pool.images[chosen], task.grid)
    return _with(batch, image=image).replace(chosen=chosen, labels=pool.labels[chosen])


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
