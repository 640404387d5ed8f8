"""A digit from its image and a recording: one Transformer encoder, at the size of model C.

Image patches and frames of sound are tokens of one sequence; in training each modality is missing
from a tenth of the examples, so that one alone can be read too. It is trained as models A, B and C
(200,396 parameters in C, 200,482 here): docs/audio.md has the results.
Preset `thesis` (the default): the paper's 10 epochs. Preset `small`: 2 epochs, for two cores.

    python -m multimodal_vit.main --config=configs/audio_image_vit.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import classifier


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
    config.model.modality_dropout_rate = 0.1
    config.train.warmup_steps = 200
    config.train.schedule = "cosine"
    config.train.gradient_clip = 1.0
    return config
