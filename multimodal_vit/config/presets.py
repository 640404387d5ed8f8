"""Presets: configurations that experiments start from."""

from collections.abc import Callable

from ml_collections import ConfigDict

from multimodal_vit.config.edit import changed
from multimodal_vit.config.fields import settled, thesis
from multimodal_vit.errors import UserError, hint


def small() -> ConfigDict:
    """A size for two cores: minutes instead of days. Not the thesis's model."""
    config = thesis()
    config.model.stem = "strided"
    config.model.num_conv_layers = 2
    config.model.patch_size = 7
    config.model.embedding_dim = 128
    config.model.num_encoder_layers = 3
    config.model.mlp_dim = 512
    config.train.num_samples = 330_000
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 200
    return config


def speedrun() -> ConfigDict:
    """`small` with what reaches the thesis's accuracies soonest on two cores: docs/speed.md."""
    config = small()
    config.model.dropout_rate = 0.0
    config.train.num_samples = 110_000
    config.train.optimizer = "muon"
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 50
    config.train.epochs_per_validation = 10  # only at the end
    return config


def plain_adam() -> ConfigDict:
    """The thesis's size with plain Adam at a constant rate."""
    config = thesis()
    config.train.schedule = "constant"
    config.train.warmup_steps = 0
    config.train.weight_decay = 0.0
    config.train.gradient_clip = 0.0
    return config


def faithful() -> ConfigDict:
    """What the thesis most likely trained: docs/thesis.md says what is printed and what is not.

    The default encoder layer of PyTorch, which the thesis names: post-norm, ReLU, an MLP of 2,048.
    Plain Adam at a constant rate. Patience alone ends a run; the thesis's ended at about 6.4
    million pairs, a tenth of the bound here.
    """
    config = plain_adam()
    config.model.fusion_options = {"norm": "post", "activation": "relu"}
    config.model.mlp_dim = 2048
    config.train.num_samples = 64_000_000
    return settled(config)


# How the single encoder is trained to classify images and recordings, where it is not as the paper.
ENCODER_RECIPE = {
    "model.modality_dropout_rate": 0.1,
    "train.warmup_steps": 200,
    "train.schedule": "cosine",
    "train.gradient_clip": 1.0,
}


def classifier(name: str) -> ConfigDict:
    """A digit from its image and a recording of it, trained as the audio-image paper does.

    Adam at a constant rate of 0.001, batches of 32, softmax cross entropy (section 2.3).

    Args:
      name: a preset: "small", 2 epochs; "faithful", 20 epochs of four fifths of the images, with a
        random fifth to validate (section 2.1); with any other 10 epochs, the least of the paper's
        10 to 20. Or "encoder_recipe": 10 epochs, trained as the single encoder is.

    Raises:
      UserError: no such preset.
    """
    if name != "encoder_recipe":
        preset(name)
    config = plain_adam()
    config.data.name = "mnist"
    config.data.audio = "spoken_digit"
    config.task.grid = (1, 1)
    config.task.false_rate = 0.0
    config.model.num_match_outputs = 0
    config.train.objective = "class_cross_entropy"
    config.train.num_samples = 110_000 if name == "small" else 550_000
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.patience = 0
    config.evaluation.suites = ("without_image", "without_audio")
    if name == "faithful":
        config.data.validation_share = 0.2
        config.train.num_samples = 20 * 48_000
    return changed(config, ENCODER_RECIPE) if name == "encoder_recipe" else config


def audio_image(name: str, sizes: str, fusion: str) -> ConfigDict:
    """Models A, B and C of the audio-image paper; see `classifier`.

    Args:
      name: a preset, as `classifier` takes it; "faithful" mirrors images too (section 2.1).
      sizes: "a", "b" or "c".
      fusion: "concatenation" or "addition".
    """
    config = classifier(name)
    own = {"sizes": sizes}
    flips = {"flip_rate": 0.5} if name == "faithful" else {}
    config.model.modalities = ("image_features", "audio_features")
    config.model.modality_options = {"image_features": own | flips, "audio_features": own}
    config.model.fusion, config.model.fusion_options = fusion, own
    return settled(config)


PRESETS: dict[str, Callable[[], ConfigDict]] = {
    "thesis": thesis,
    "small": small,
    "speedrun": speedrun,
    "faithful": faithful,
}


def preset(name: str) -> ConfigDict:
    """The configuration that a preset starts from.

    Raises:
      UserError: no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"no preset {name!r}; there are: {', '.join(PRESETS)}{hint(name, PRESETS)}")
    return PRESETS[name]()
