"""Does weight decay matter on 1,412 images? Two conditions, three seeds, about six minutes.

What it found stands in docs/results.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_digits.py
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.study import cross, from_file, study


def get_config() -> ConfigDict:
    base = from_file(Path(__file__).with_name("digits_conv.py"))
    base.data.name = "digits"  # each training digit once, filling its quadrant: the hard case
    base.train.optimizer = "adam"
    base.train.warmup_steps = 200
    base.train.weight_decay = 1.0
    base.train.epochs_per_validation = 10
    decay = {"decay": {}, "no_decay": {"train.weight_decay": 0.0}}
    config = study(
        "Does weight decay matter on few images?",
        cross(base, decay=decay),
        comparisons=[("decay", "no_decay")],
    )
    config.num_seeds = 3
    return config
