"""A digit from its image and a recording: model B, a CNN and a stacked LSTM, concatenated.

Reproduces: Gandham, "Multimodal Deep Learning on MNIST data", section 3.2: macro F1
0.994 (validation) and 0.993 (test). The recordings are others: docs/audio.md.
Preset `thesis` (the default): the paper's 10 epochs. Preset `small`: 2 epochs, for two cores.
Preset `faithful`: its 20 epochs, mirrored images, a random fifth to validate.
Preset `encoder_recipe`: 10 epochs, trained as the single encoder of audio_image_vit.py is.

    python -m multimodal_vit.main --config=configs/audio_image_b.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import audio_image


def get_config(name: str = "thesis") -> ConfigDict:
    return audio_image(name, "b", "concatenation")
