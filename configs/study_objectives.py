"""Does the objective decide whether order is read? And what is learned without false texts?

One model, one number of pairs, many objectives: true/false as published; masked labels, a caption
model, CLIP's and SigLIP's contrast, the bag of labels, none of which sees a false text; and
image-text matching with four kinds of false pairs. Each is asked by its own verdict, and read out:
docs/objectives.md. The pairs are equal; the cost of each stands in the report, in PFLOP.

Preset `full` (the default): both data sets, 330,000 pairs, five seeds; about a day on two cores.
Preset `quick`: MNIST, a smaller model, 55,000 pairs, three seeds; about an hour. Both estimated.

    python -m multimodal_vit.main --mode=study --config=configs/study_objectives.py:quick
"""

from ml_collections import ConfigDict

from multimodal_vit.config import small
from multimodal_vit.study import cross, study

OBJECTIVES = {
    "true_false": {},
    "masked_labels": {"train.objective": "masked_labels"},
    "caption": {"train.objective": "caption"},
    "bag": {"train.objective": "bag"},
    "clip": {"train.objective": "clip"},
    "siglip": {"train.objective": "siglip"},
} | {
    f"matching_{kind}": {
        "train.objective": "matching",
        "train.objective_options.negatives": kind,
    }
    for kind in ("random", "hard", "law", "order")
}


def get_config(name: str = "full") -> ConfigDict:
    base = small()
    base.train.patience = 0
    base.evaluation.suites = (
        "standard", "single_foil", "count_foil", "order_foil", "existence_foil", "spatial_foil",
    )  # fmt: skip
    base.evaluation.suites_in_training = ("order_foil",)
    base.evaluation.readouts = ("zero_shot", "retrieval")
    data = {"mnist": {}, "fashion": {"data.name": "fashion_mnist"}}
    if name == "quick":
        base.model.update({"embedding_dim": 64, "num_encoder_layers": 2, "mlp_dim": 256})
        base.train.num_samples = 55_000
        base.train.warmup_steps = 50
        del data["fashion"]
    conditions = cross(base, objective=OBJECTIVES, data=data)
    config = study(
        "Does the objective decide whether order is read?",
        conditions,
        comparisons=[
            (f"{other}_{where}", f"true_false_{where}")
            for where in data
            for other in OBJECTIVES
            if other != "true_false"
        ],
    )
    config.num_seeds = 3 if name == "quick" else 5
    return config
