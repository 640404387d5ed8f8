"""A caption model on MNIST, with the model and the budget of `mnist_conv.py`.

Each word is predicted from the image and the words before it: docs/objectives.md.
The presets are those of `mnist_conv.py`; Fashion-MNIST with --config.data.name=fashion_mnist.

    python -m multimodal_vit.main --config=configs/mnist_caption.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file


def get_config(name: str = "thesis") -> ConfigDict:
    sibling = from_file(f"{Path(__file__).with_name('mnist_conv.py')}:{name}")
    return changed(sibling, {"train.objective": "caption"})
