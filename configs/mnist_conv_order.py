"""MNIST with convolutions, trained to read in order.

Half of the false texts are the true ones permuted; everything else, the presets too, is
`mnist_conv.py`. What this changes stands in docs/probes.md.

    python -m multimodal_vit.main --config=configs/mnist_conv_order.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset


def get_config(name: str = "thesis") -> ConfigDict:
    config = preset(name)
    config.data.name = "mnist"
    config.task.corruption = "mixed"
    return config
