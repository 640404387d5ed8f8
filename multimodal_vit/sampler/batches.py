"""Batches of pairs, sampled live: pure functions of a key, made for the device.

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

import jax
import jax.numpy as jnp

from multimodal_vit.components import get
from multimodal_vit.sampler.grids import Grids, grids_where, paste, uniform_grids
from multimodal_vit.sampler.held_out import HELD_OUT
from multimodal_vit.sampler.task import INPUTS, Batch, Speech, Task, named_key
from multimodal_vit.sampler.texts import Corruption, corruption_where


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
