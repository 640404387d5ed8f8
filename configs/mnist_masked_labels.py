"""Masked labels on MNIST: the model of `mnist_conv.py`, trained without any false text.

Some words of each true text are masked and predicted from the image and the other words; whether a
text is true follows from the posterior of all its words by the Bayes rule: docs/objectives.md.
The presets are those of `mnist_conv.py`, the model and the budget too.

    python -m multimodal_vit.main --config=configs/mnist_masked_labels.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file


def get_config(name: str = "thesis") -> ConfigDict:
    sibling = from_file(f"{Path(__file__).with_name('mnist_conv.py')}:{name}")
    return changed(sibling, {"train.objective": "masked_labels"})
