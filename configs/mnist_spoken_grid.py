"""The grid of four digits with its text spoken: image patches and frames of sound in one encoder.

The text is true or false as before; each of its labels is spoken by a recording, none is written.
`study_spoken_grid.py` trains the written, the spoken and both texts: docs/audio.md.
Preset `small`: 165,000 pairs, for two cores: 82.3 % true/false on the test split. `thesis`, the
default, is for a GPU.

    python -m multimodal_vit.main --config=configs/mnist_spoken_grid.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import changed, preset


def get_config(name: str = "thesis") -> ConfigDict:
    config = preset(name)
    config.data.name = "mnist"
    config.data.audio = "spoken_digit"
    if name == "small":
        config.train.num_samples = 165_000
    return changed(
        config,
        {
            "model.modalities": ("audio", "patches"),
            "model.modality_options.audio.patch_frames": 13 if name == "small" else 3,
            "model.fusion_options.modality_embeddings": True,
        },
    )
