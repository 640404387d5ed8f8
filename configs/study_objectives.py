"""Does the objective decide whether order is read? And what is learned without false texts?

One model, one number of floating-point operations, many objectives: true/false as published; masked
labels, a caption model, CLIP's and SigLIP's contrast, the bag of labels, none of which sees a false
text; and image-text matching with four kinds of false pairs. Each is asked by its own verdict, and
read out: docs/objectives.md.

An objective that passes the encoder twice for a pair sees fewer pairs: `FLOP` holds what a pair
costs, and a test holds it against the programs.

Preset `full` (the default): both data sets, the FLOP of 330,000 pairs of true/false, five seeds.
Preset `quick`: MNIST, a smaller model, the FLOP of 110,000 pairs, three seeds.
Preset `fashion`: as `quick`, of Fashion-MNIST.

    python -m multimodal_vit.main --mode=study --config=configs/study_objectives.py:quick
"""

from ml_collections import ConfigDict

from multimodal_vit.config import changed, small
from multimodal_vit.errors import UserError
from multimodal_vit.study import study

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
# Of a training pair, by formula, where one of true/false costs 1: the small model's, and `quick`'s.
FLOP = {
    "small": {
        "bag": 0.666, "clip": 1.083, "siglip": 1.083, "matching_random": 2.494,
        "matching_hard": 3.324, "matching_law": 1.747, "matching_order": 1.747,
    },
    "quick": {
        "bag": 0.825, "clip": 1.049, "siglip": 1.049, "matching_random": 1.78,
        "matching_hard": 2.219, "matching_law": 1.39, "matching_order": 1.39,
    },
}  # fmt: skip
DATA = {"mnist": "mnist", "fashion": "fashion_mnist"}
VALIDATIONS = 8  # in a run: how often it is asked for order


def conditions(data: dict[str, str], model: str) -> dict[str, ConfigDict]:
    """Every objective on every data set, at equal FLOP."""
    base = small()
    base.train.patience = 0
    base.evaluation.suites = (
        "standard", "single_foil", "count_foil", "order_foil", "existence_foil", "spatial_foil",
    )  # fmt: skip
    base.evaluation.suites_in_training = ("order_foil",)
    base.evaluation.readouts = ("zero_shot", "retrieval")
    if model == "quick":
        base.model.update({"embedding_dim": 64, "num_encoder_layers": 2, "mlp_dim": 256})
        base.train.num_samples = 110_000
        base.train.warmup_steps = 50
    found = {}
    for where, name in data.items():
        for short, fields in OBJECTIVES.items():
            pairs = round(base.train.num_samples / FLOP[model].get(short, 1.0))
            steps = pairs // base.train.batch_size
            own = {
                "data.name": name,
                "train.num_samples": pairs,
                "train.steps_per_validation": steps // VALIDATIONS,
            }
            found[f"{short}_{where}"] = changed(base, own | fields)
    return found


def get_config(name: str = "full") -> ConfigDict:
    if name not in ("full", "quick", "fashion"):
        raise UserError(
            f"configs/study_objectives.py has no preset {name!r}; full, quick or fashion"
        )
    kinds = {"full": tuple(DATA), "quick": ("mnist",), "fashion": ("fashion",)}[name]
    config = study(
        "Does the objective decide whether order is read?",
        conditions({kind: DATA[kind] for kind in kinds}, "small" if name == "full" else "quick"),
        comparisons=[
            (f"{other}_{where}", f"true_false_{where}")
            for where in kinds
            for other in OBJECTIVES
            if other != "true_false"
        ],
    )
    config.num_seeds = 5 if name == "full" else 3
    return config
