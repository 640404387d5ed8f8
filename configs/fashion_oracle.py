"""The modular oracle of `mnist_oracle.py` on Fashion-MNIST.

python -m multimodal_vit.main --config=configs/fashion_oracle.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file


def get_config(name: str = "thesis") -> ConfigDict:
    mnist = from_file(f"{Path(__file__).with_name('mnist_oracle.py')}:{name}")
    return changed(mnist, {"data.name": "fashion_mnist"})
