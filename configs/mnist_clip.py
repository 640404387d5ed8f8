"""CLIP's contrast on MNIST, with the model and the budget of `mnist_conv.py`.

Among a batch each image finds its text, and each text its image: docs/objectives.md.
The presets are those of `mnist_conv.py`; Fashion-MNIST with --config.data.name=fashion_mnist.

    python -m multimodal_vit.main --config=configs/mnist_clip.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file


def get_config(name: str = "thesis") -> ConfigDict:
    sibling = from_file(f"{Path(__file__).with_name('mnist_conv.py')}:{name}")
    return changed(sibling, {"train.objective": "clip", "train.batch_size": 256})
