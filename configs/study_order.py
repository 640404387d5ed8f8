"""Does training on permuted texts teach reading order, and what does it cost?

The runs with the published law are those of `study_table41.py`. Rejection of order foils by both
stands in docs/probes.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_order.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset
from multimodal_vit.study import cross, study

DATA = {"mnist": {"data.name": "mnist"}, "fashion": {"data.name": "fashion_mnist"}}


def get_config(name: str = "thesis") -> ConfigDict:
    base = preset(name)
    if name == "small":
        base.train.num_samples = 275_000  # as in study_table41.py
    base.task.corruption = "mixed"
    base.evaluation.suites = ("standard", "single_foil", "order_foil", "swap_adjacent")
    patch_size = 14 if name == "small" else 4
    raw = {"model.stem": "conv", "model.num_conv_layers": 0, "model.patch_size": patch_size}
    return study(
        "Does training on permuted texts teach reading order?",
        cross(base, data=DATA, image={"conv": {}, "patch": raw}),
        comparisons=[("mnist_conv", "mnist_patch"), ("fashion_conv", "fashion_patch")],
    )
