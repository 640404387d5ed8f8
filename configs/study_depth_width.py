"""Is it depth or width that makes order appear? The single encoder at equal training pairs.

Two, three and four layers, 64 and 128 dimensions, on Fashion-MNIST with false texts made as in the
thesis, 330,000 pairs a run, three seeds. The AUROC of order foils is followed through training:
docs/fusion.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_depth_width.py
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset
from multimodal_vit.study import cross, study


def get_config() -> ConfigDict:
    base = preset("small")
    base.data.name = "fashion_mnist"
    base.train.patience = 0
    base.train.steps_per_validation = 215
    base.evaluation.suites = ("standard", "order_foil", "swap_adjacent")
    base.evaluation.suites_in_training = ("order_foil",)
    depths = {f"depth{n}": {"model.num_encoder_layers": n} for n in (2, 3, 4)}
    widths = {f"width{n}": {"model.embedding_dim": n, "model.mlp_dim": 4 * n} for n in (64, 128)}
    config = study("Is it depth or width that makes order appear?", cross(base, d=depths, w=widths))
    config.num_seeds, config.control = 3, "depth3_width128"
    return config
