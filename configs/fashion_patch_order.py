"""Fashion-MNIST with raw patches, trained to read in order.

Half of the false texts are the true ones permuted; everything else, the presets too, is
`fashion_patch.py`. What this changes stands in docs/probes.md.

    python -m multimodal_vit.main --config=configs/fashion_patch_order.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset


def get_config(name: str = "thesis") -> ConfigDict:
    config = preset(name)
    config.data.name = "fashion_mnist"
    config.model.stem = "conv"
    config.model.num_conv_layers = 0
    config.model.patch_size = 14 if name == "small" else 4
    config.task.corruption = "mixed"
    return config
