"""Pure Flax (linen) modules, and the line that builds a model from a configuration.

`EMBEDDINGS` and `FUSIONS` list what a configuration can name in `model.modalities` and
`model.fusion`; `STEMS` what an image can pass through first.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.models.audio_image import (
    LAYOUTS,
    SIZES,
    AudioFeatures,
    ImageFeatures,
    LateFusion,
)
from multimodal_vit.models.embeddings import (
    AudioEmbedding,
    ImageEmbedding,
    PatchEmbedding,
    WordEmbedding,
    patchify,
)
from multimodal_vit.models.encoder import (
    ATTENTION,
    Encoder,
    EncoderBlock,
    SelfAttention,
    fits_cudnn,
    has_cudnn,
)
from multimodal_vit.models.fusion import SingleEncoder
from multimodal_vit.models.multimodal_vit import MultimodalViT
from multimodal_vit.models.oracle import (
    MAX_POSITIONS_PERMUTED,
    BayesRule,
    QuadrantClassifier,
    WordIds,
)
from multimodal_vit.models.stems import STEMS, ConvStem, StridedStem
from multimodal_vit.sampler import Speech, Task, sample_batch

__all__ = [
    "ATTENTION",
    "EMBEDDINGS",
    "FUSIONS",
    "FUSION_READS",
    "LAYOUTS",
    "MAX_POSITIONS_PERMUTED",
    "SIZES",
    "STEMS",
    "AudioEmbedding",
    "AudioFeatures",
    "BayesRule",
    "ConvStem",
    "Encoder",
    "EncoderBlock",
    "ImageEmbedding",
    "ImageFeatures",
    "LateFusion",
    "MultimodalViT",
    "PatchEmbedding",
    "QuadrantClassifier",
    "SelfAttention",
    "SingleEncoder",
    "StridedStem",
    "WordEmbedding",
    "WordIds",
    "build_model",
    "example_inputs",
    "fits_cudnn",
    "has_cudnn",
    "parameter_count",
    "patchify",
]


def _words(model: ConfigDict, task: Task) -> nn.Module:
    return WordEmbedding(task.num_classes, model.embedding_dim, jnp.dtype(model.dtype))


def _patches(model: ConfigDict, task: Task) -> nn.Module:
    dtype = jnp.dtype(model.dtype)
    return ImageEmbedding(
        stem=STEMS[model.stem](model.num_conv_layers, dtype),
        patches=PatchEmbedding(model.patch_size, model.embedding_dim, dtype),
    )


def _audio(model: ConfigDict, task: Task) -> nn.Module:
    return AudioEmbedding(model.audio_patch_frames, model.embedding_dim, jnp.dtype(model.dtype))


def _image_features(model: ConfigDict, task: Task) -> nn.Module:
    return ImageFeatures(SIZES[model.audio_image_sizes], model.flip_rate)


def _audio_features(model: ConfigDict, task: Task) -> nn.Module:
    return AudioFeatures(SIZES[model.audio_image_sizes], model.audio_layout)


def _word_ids(model: ConfigDict, task: Task) -> nn.Module:
    return WordIds(task.num_classes)


def _quadrants(model: ConfigDict, task: Task) -> nn.Module:
    dtype = jnp.dtype(model.dtype)
    stem = STEMS[model.stem](model.num_conv_layers, dtype)
    return QuadrantClassifier(task.grid, task.num_classes, stem, model.embedding_dim, dtype)


def _single_encoder(model: ConfigDict, task: Task) -> nn.Module:
    encoder = Encoder(
        num_layers=model.num_encoder_layers,
        num_heads=model.num_heads,
        mlp_dim=model.mlp_dim,
        dropout_rate=model.dropout_rate,
        dtype=jnp.dtype(model.dtype),
        attention=model.attention,
        remat=model.remat,
    )
    return SingleEncoder(encoder, model.modality_embeddings)


def _bayes_rule(model: ConfigDict, task: Task) -> nn.Module:
    return BayesRule(task)


def _concatenation(model: ConfigDict, task: Task) -> nn.Module:
    return LateFusion(SIZES[model.audio_image_sizes], adds=False)


def _addition(model: ConfigDict, task: Task) -> nn.Module:
    return LateFusion(SIZES[model.audio_image_sizes], adds=True)


EMBEDDINGS: dict[str, Callable[[ConfigDict, Task], nn.Module]] = {
    "words": _words,
    "patches": _patches,
    "audio": _audio,
    "image_features": _image_features,
    "audio_features": _audio_features,
    "word_ids": _word_ids,
    "quadrants": _quadrants,
}
FUSIONS: dict[str, Callable[[ConfigDict, Task], nn.Module]] = {
    "single_encoder": _single_encoder,
    "bayes_rule": _bayes_rule,
    "concatenation": _concatenation,
    "addition": _addition,
}
# Modalities that only these fusions can read, and the only ones that they can. The Bayes rule needs
# both of its own, in this order.
_FEATURES = ("image_features", "audio_features")
FUSION_READS = {
    "bayes_rule": ("word_ids", "quadrants"),
    "concatenation": _FEATURES,
    "addition": _FEATURES,
}


def build_model(model: ConfigDict, task: Task) -> MultimodalViT:
    """The model that `config.model` describes, for a task.

    The configuration is taken to be valid; `multimodal_vit.config.problems` says what is not.
    """
    return MultimodalViT(
        embeddings={name: EMBEDDINGS[name](model, task) for name in model.modalities},
        fusion=FUSIONS[model.fusion](model, task),
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
