"""When does reading order appear, and on what does it depend?

Small models with 4, 16, 49 and 196 image tokens, with and without convolutions before the patches,
trained on the false texts of the thesis or with half of them permuted. How well order foils are
told from true texts is followed through training: docs/probe_results.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_tokens.py
"""

from ml_collections import ConfigDict

from multimodal_vit.config import preset
from multimodal_vit.study import cross, study

# Convolutions and the patches' side, by the number of image tokens.
TOKENS = (4, 16, 49, 196)
RAW = {4: (0, 28), 16: (0, 14), 49: (0, 8), 196: (0, 4)}
CONV = {4: (2, 7), 16: (1, 7), 49: (2, 2), 196: (2, 1)}


def get_config() -> ConfigDict:
    base = preset("small")
    base.model.embedding_dim = 64
    base.model.num_encoder_layers = 2
    base.model.mlp_dim = 256
    base.train.patience = 0
    base.evaluation.suites = ("standard", "order_foil")
    base.evaluation.suites_in_training = ("order_foil",)
    images = {
        name: {"model.num_conv_layers": layers, "model.patch_size": patch}
        for n in TOKENS
        for name, (layers, patch) in ((f"raw{n}", RAW[n]), (f"conv{n}", CONV[n]))
    }
    laws = {"published": {}, "mixed": {"task.corruption": "mixed"}}
    config = study(
        "When does reading order appear, by the number of image tokens?",
        cross(base, image=images, law=laws),
    )
    config.num_seeds = 1
    return config
