"""Image and sound: models A, B and C, their parts, and one Transformer encoder at C's size.

Tables 1 and 2 of Gandham, "Multimodal Deep Learning on MNIST data", with unimodal rows, the layout
of whole frames, and unseen speakers apart: docs/audio.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_audio_image.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file
from multimodal_vit.study import study

UNSEEN = {"data.test_speakers": ("theo", "yweweler")}
PARTS = {
    "c_concatenated": ("c", {"model.fusion": "concatenation"}),
    "c_frames": ("c", {"model.modality_options.audio_features.layout": "frames"}),
    "c_image": ("c", {"model.modalities": ("image_features",)}),
    "c_audio": ("c", {"model.modalities": ("audio_features",)}),
    "vit_image": ("vit", {"model.modalities": ("patches",)}),
    "vit_audio": ("vit", {"model.modalities": ("audio",)}),
}


def get_config(name: str = "thesis") -> ConfigDict:
    folder = Path(__file__).parent
    models = {m: from_file(f"{folder}/audio_image_{m}.py:{name}") for m in ("a", "b", "c", "vit")}
    conditions = models | {c: changed(models[m], changes) for c, (m, changes) in PARTS.items()}
    for m in ("a", "b", "c", "vit", "c_audio", "vit_audio"):
        conditions[f"{m}_unseen"] = changed(conditions[m], UNSEEN)
    config = study(
        "A digit from its image and a recording: three models of the paper and one encoder",
        conditions,
        comparisons=[("vit", m) for m in ("a", "b", "c")] + [("c", "c_concatenated")],
    )
    config.question = "The conditions named unseen are tested on speakers that nobody heard before."
    return config
