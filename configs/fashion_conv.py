"""The thesis's condition A on Fashion-MNIST: words and convolved patches in one encoder.

Reproduces: Laitenberger 2022, Table 4.1, upper right: 95.70 ± 0.3 % true/false (five runs).
Preset `thesis` (the default): N_c = 4, 6.4 million samples; made for a GPU, days on a CPU.
Preset `faithful`: what the thesis most likely trained, until patience ends it: docs/thesis.md.
Preset `small`: a strided stem, four image tokens; on two CPU cores 96.06 % in 2.4 minutes (seed 0).
Preset `speedrun`: `small` with five epochs, to the thesis's accuracy: docs/speed.md.

    python -m multimodal_vit.main --config=configs/fashion_conv.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset


def get_config(name: str = "thesis") -> ConfigDict:
    config = preset(name)
    config.data.name = "fashion_mnist"
    if name == "speedrun":  # clothes take longer: this is `small` with five epochs
        config.train.num_samples = 275_000
        config.train.optimizer = "adam"
        config.train.learning_rate = 1e-3
        config.train.warmup_steps = 200
        config.model.dropout_rate = 0.1
    return config
