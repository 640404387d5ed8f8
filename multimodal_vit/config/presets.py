"""Presets: configurations that experiments start from."""

from collections.abc import Callable

from ml_collections import ConfigDict

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


def faithful() -> ConfigDict:
    """The thesis's size with the optimizer it names: plain Adam at a constant rate."""
    config = thesis()
    config.train.schedule = "constant"
    config.train.warmup_steps = 0
    config.train.weight_decay = 0.0
    config.train.gradient_clip = 0.0
    return config


def classifier(name: str) -> ConfigDict:
    """A digit from its image and a recording of it, trained as the audio-image paper does.

    Adam at a constant rate of 0.001, batches of 32, softmax cross entropy (section 2.3).

    Args:
      name: a preset: "small", 2 epochs; with any other 10, as the paper (it has 10 to 20).

    Raises:
      UserError: no such preset.
    """
    preset(name)
    config = faithful()
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
    return config


def audio_image(name: str, sizes: str, fusion: str) -> ConfigDict:
    """Models A, B and C of the audio-image paper; see `classifier`.

    Args:
      name: a preset, as `classifier` takes it.
      sizes: "a", "b" or "c".
      fusion: "concatenation" or "addition".
    """
    config = classifier(name)
    own = {"sizes": sizes}
    config.model.modalities = ("image_features", "audio_features")
    config.model.modality_options = {"image_features": own, "audio_features": own}
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
