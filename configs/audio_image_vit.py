"""A digit from its image and a recording: one Transformer encoder, at the size of model C.

Image patches and frames of sound are tokens of one sequence; in training each modality is missing
from a tenth of the examples, so that one alone can be read too. It has C's size (200,482
parameters, C 200,396) and a recipe of its own (`ENCODER_RECIPE`): docs/audio.md has the results.
Preset `thesis` (the default): the paper's 10 epochs. Preset `small`: 2 epochs, for two cores.
Preset `faithful`: the paper's 20 epochs and its random fifth to validate.

    python -m multimodal_vit.main --config=configs/audio_image_vit.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import ENCODER_RECIPE, changed, classifier


def get_config(name: str = "thesis") -> ConfigDict:
    config = classifier(name)
    config.model.modalities = ("patches", "audio")
    config.model.stem = "strided"
    config.model.num_conv_layers = 2
    config.model.patch_size = 7
    config.model.embedding_dim = 64
    config.model.num_encoder_layers = 2
    config.model.num_heads = 4
    config.model.mlp_dim = 220
    config.model.fusion_options.modality_embeddings = True
    return changed(config, ENCODER_RECIPE)
