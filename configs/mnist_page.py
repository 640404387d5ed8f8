"""A small order-aware model of MNIST, for the page of `--mode=export` (docs/use.md).

A quarter of the parameters of `mnist_conv_order.py:speedrun`, 207,403, and three times the pairs.
Half of the false texts are the true ones permuted, so that it learns to read in order.

    python -m multimodal_vit.main --config=configs/mnist_page.py
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file


def get_config() -> ConfigDict:
    start = from_file(f"{Path(__file__).with_name('mnist_conv_order.py')}:speedrun")
    return changed(
        start,
        {
            "model.embedding_dim": 64,
            "model.num_encoder_layers": 2,
            "model.mlp_dim": 256,
            "train.num_samples": 330_000,
            "train.epochs_per_validation": 1,
            "evaluation.suites": ("single_foil", "order_foil", "translated"),
        },
    )
