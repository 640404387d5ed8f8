"""Fashion-MNIST with convolutions, trained with permuted texts too.

Half of the false texts are the true ones permuted; everything else, the presets too, is
`fashion_conv.py`. What this changes stands in docs/probe_results.md.

    python -m multimodal_vit.main --config=configs/fashion_conv_order.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file


def get_config(name: str = "thesis") -> ConfigDict:
    published = from_file(f"{Path(__file__).with_name('fashion_conv.py')}:{name}")
    return changed(published, {"task.corruption": "mixed"})
