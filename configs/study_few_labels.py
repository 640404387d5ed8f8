"""How many labelled pairs does pre-training save?

A model is pre-trained on images without labels (MAE, SimCLR, BYOL, data2vec, SwAV) or on true pairs
(CLIP, masked labels), then trained to tell true from false on a fixed number of labelled pairs:
100, 1,000 or 10,000. Beside them: from scratch, and a random encoder that stays as it is.
What each costs, pre-training apart, stands in `results.json`: "pflop", and "initial" → "pflop".

Nothing is tuned: one learning rate for all. CLIP and masked labels see the labels of the grids that
they are pre-trained on, so that they save no labels, but show what true pairs alone give.

Preset `full` (the default): MNIST, 330,000 grids of pre-training, 64 image tokens, five seeds; days
on two cores. Preset `quick`: 55,000 grids, 16 image tokens, three seeds; 102 short runs.

    python -m multimodal_vit.main --mode=study --config=configs/study_few_labels.py:quick
"""

from ml_collections import ConfigDict

from multimodal_vit.config import changed, small
from multimodal_vit.study import study

IMAGES = ("mae", "simclr", "byol", "data2vec", "swav")
PAIRS = ("clip", "masked_labels")
TOUCHED = ("embeddings_", "fusion")  # what is taken over; the head starts anew


def get_config(name: str = "full") -> ConfigDict:
    quick = name == "quick"
    base = small()
    base.data.name = "mnist"
    side = 14 if quick else 7  # 4 or 16 tokens a quadrant
    base.model.update({"stem": "conv", "num_conv_layers": 0, "patch_size": side})
    base.model.update({"embedding_dim": 64, "num_encoder_layers": 2, "mlp_dim": 256})
    base.model.dropout_rate = 0.0
    base.train.patience = 0
    base.evaluation.suites = ("standard", "order_foil")
    before = changed(
        base,
        {
            "train.num_samples": 55_000 if quick else 330_000,
            "train.warmup_steps": 50,
            "evaluation.suites": (),
            "evaluation.readouts": ("linear",),
        },
    )
    samples = {100: 20_000, 1_000: 20_000, 10_000: 60_000}  # what is seen of so many pairs
    conditions = {kind: changed(before, {"train.objective": kind}) for kind in (*IMAGES, *PAIRS)}
    starts = {"scratch": {}, "random_frozen": {"train.frozen": TOUCHED}} | {
        kind: {"model.initial": f"@{kind}", "model.initial_parts": TOUCHED} for kind in conditions
    }
    for labelled, seen in samples.items():
        if not quick:
            seen *= 10
        own = {
            "train.num_samples": seen,
            "train.num_labelled": labelled,
            "train.epochs_per_validation": max(1, seen // labelled // 10),
            "train.warmup_steps": 20,
        }
        for start, changes in starts.items():
            conditions[f"{start}_{labelled}"] = changed(base, own | changes)
    config = study(
        "How many labelled pairs does pre-training save?",
        conditions,
        comparisons=[
            (f"{start}_{labelled}", f"scratch_{labelled}")
            for labelled in samples
            for start in starts
            if start != "scratch"
        ],
    )
    config.num_seeds = 3 if quick else 5
    return config
