"""The thesis's condition A on MNIST: word tokens and convolved image patches in one encoder.

Reproduces: Laitenberger 2022, Table 4.1, upper left: 97.73 ± 0.5 % true/false (five runs).
Preset `thesis` (the default): N_c = 4, 6.4 million samples; made for a GPU, days on a CPU.
Preset `faithful`: what the thesis most likely trained, until patience ends it: docs/thesis.md.
Preset `small`: a strided stem, four image tokens; on two CPU cores 99.29 % in 2.4 minutes (seed 0).
Preset `speedrun`: the same model with Muon, to the thesis's accuracy soonest: docs/speed.md.

    python -m multimodal_vit.main --config=configs/mnist_conv.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset


def get_config(name: str = "thesis") -> ConfigDict:
    config = preset(name)
    config.data.name = "mnist"
    return config
