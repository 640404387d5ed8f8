"""Table 4.1 of the thesis: convolutions before the patches, or raw patches, on two data sets.

Reproduces: Laitenberger 2022, Table 4.1 and its two t-tests: 97.73 ± 0.5 against 92.14 ± 0.5 % on
MNIST, 95.70 ± 0.3 against 92.39 ± 0.2 % on Fashion-MNIST; five runs each.
Preset `thesis`: 6.4 million training pairs a run; made for a GPU.
Preset `faithful`: what the thesis most likely trained, until patience ends it: docs/thesis.md.
Preset `small`: other models, made for two CPU cores.

    python -m multimodal_vit.main --mode=study --config=configs/study_table41.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset
from multimodal_vit.study import cross, study

DATA = {"mnist": {"data.name": "mnist"}, "fashion": {"data.name": "fashion_mnist"}}


def get_config(name: str = "thesis") -> ConfigDict:
    patch_size = 14 if name == "small" else 4
    base = preset(name)
    if name == "small":
        base.train.num_samples = 275_000  # five epochs: an hour on two cores for all twenty runs
    raw = {"model.stem": "conv", "model.num_conv_layers": 0, "model.patch_size": patch_size}
    config = study(
        "Are convolutions before the patches better than raw patches?",
        cross(base, data=DATA, image={"conv": {}, "patch": raw}),
        comparisons=[("mnist_conv", "mnist_patch"), ("fashion_conv", "fashion_patch")],
        published={
            "mnist_conv": (0.9773, 0.005, 5),
            "mnist_patch": (0.9214, 0.005, 5),
            "fashion_conv": (0.9570, 0.003, 5),
            "fashion_patch": (0.9239, 0.002, 5),
        },
    )
    config.published_source = "Laitenberger 2022, Table 4.1"
    return config
