"""A digit from its image and a recording: model A, a CNN and an LSTM, concatenated.

Reproduces: Gandham, "Multimodal Deep Learning on MNIST data", section 3.1: macro F1
0.986 (validation) and 0.988 (test). The recordings are others: docs/audio.md.
Preset `thesis` (the default): the paper's 10 epochs. Preset `small`: 2 epochs, for two cores.
Preset `faithful`: its 20 epochs, mirrored images, a random fifth to validate.
Preset `encoder_recipe`: 10 epochs, trained as the single encoder of audio_image_vit.py is.

    python -m multimodal_vit.main --config=configs/audio_image_a.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import audio_image


def get_config(name: str = "thesis") -> ConfigDict:
    return audio_image(name, "a", "concatenation")
