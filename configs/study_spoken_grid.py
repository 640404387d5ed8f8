"""The grid task with its text written, spoken, and both, and unseen speakers apart.

python -m multimodal_vit.main --mode=study --config=configs/study_spoken_grid.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file
from multimodal_vit.study import study

TEXTS = {
    "written": {"model.modalities": ("words", "patches")},
    "spoken": {},
    "both": {"model.modalities": ("words", "audio", "patches")},
    "both_dropped": {
        "model.modalities": ("words", "audio", "patches"),
        "model.modality_dropout_rate": 0.1,
    },
    "spoken_unseen": {"data.test_speakers": ("theo", "yweweler")},
}


def get_config(name: str = "thesis") -> ConfigDict:
    base = from_file(f"{Path(__file__).with_name('mnist_spoken_grid.py')}:{name}")
    return study(
        "Is a spoken text read as well as a written one?",
        {text: changed(base, changes) for text, changes in TEXTS.items()},
        comparisons=[("written", "spoken"), ("written", "both")],
    )
