"""The modular oracle on MNIST: a small CNN for each image, then the exact Bayes rule.

A reference, not a multimodal transformer: what separate parts reach when the law of the false texts
is known. Derived in docs/probes.md. The CNN is trained on the class of each image of the grid.
Preset `small`: 165,000 pairs, each of four images; more only overfits. The others: 6.4 million.

    python -m multimodal_vit.main --config=configs/mnist_oracle.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset


def get_config(name: str = "thesis") -> ConfigDict:
    config = preset(name)
    config.data.name = "mnist"
    config.model.modalities = ("word_ids", "quadrants")
    config.model.stem = "strided"
    config.model.num_conv_layers = 2
    config.model.embedding_dim = 128  # the CNN's hidden layer
    config.model.fusion, config.model.fusion_options = "bayes_rule", {}
    if name == "small":
        config.train.num_samples = 165_000
    config.train.objective = "quadrant_cross_entropy"
    return config
