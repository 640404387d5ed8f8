"""A model from a configuration, and the inputs to initialise it with."""

import functools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import get
from multimodal_vit.models.assembly import MultimodalViT
from multimodal_vit.sampler import Speech, Task, sample_batch


def build_model(model: ConfigDict, task: Task) -> MultimodalViT:
    """The model that `config.model` describes, for a task.

    The configuration is taken to be valid; `multimodal_vit.config.problems` says what is not.
    """
    embeddings = {}
    for name in model.modalities:
        options = model.modality_options.get(name, ConfigDict())
        embeddings[name] = get("model.modalities", name).target.build(model, task, options)
    fusion = get("model.fusion", model.fusion).target
    return MultimodalViT(
        embeddings=embeddings,
        fusion=fusion.build(model, task, model.fusion_options),
        num_outputs=model.num_match_outputs + task.num_classes,
        modality_dropout_rate=model.modality_dropout_rate,
    )


def example_inputs(task: Task, batch_size: int = 1) -> dict[str, jax.Array]:
    """Zeros in the shape of a batch's inputs, to initialise a model with."""
    one = jnp.zeros((1,), jnp.int32)
    images = jnp.zeros((1, *task.image_shape), jnp.uint8)
    base, weight = jnp.zeros((batch_size,), jnp.int32), jnp.ones((batch_size,))
    speech = None
    if task.audio_shape is not None:
        first = jnp.zeros((task.num_classes + 1,), jnp.int32)
        speech = Speech(jnp.zeros((1, *task.audio_shape)), first)
    sample = functools.partial(sample_batch, task=task, speech=speech)
    batch = jax.eval_shape(sample, jax.random.key(0), images, one, base, weight)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch.inputs)


def parameter_count(params: object) -> int:
    """The number of trained scalars in a tree of parameters (arrays or their shapes)."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
