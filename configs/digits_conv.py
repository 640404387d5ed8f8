"""The embedded default: the 1,797 digits inside scikit-learn. No download, under two minutes.

The `small` model of `mnist_conv.py` with a budget for 1,412 training images. It shows that
everything works; its accuracy says nothing about the thesis.

    python -m multimodal_vit.main --config=configs/digits_conv.py
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset


def get_config() -> ConfigDict:
    config = preset("small")
    config.data.source = "digits"
    config.data.name = "digits"
    config.train.num_samples = 150_000
    config.train.epochs_per_validation = 10
    config.evaluation.num_passes = 8
    return config
