"""Masked labels on Fashion-MNIST: `mnist_masked_labels.py` with the model of `fashion_conv.py`.

python -m multimodal_vit.main --config=configs/fashion_masked_labels.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file


def get_config(name: str = "thesis") -> ConfigDict:
    sibling = from_file(f"{Path(__file__).with_name('fashion_conv.py')}:{name}")
    return changed(sibling, {"train.objective": "masked_labels"})
