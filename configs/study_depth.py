"""Does depth hurt where there are no shortcuts? The degradation of He et al. 2015, at this size.

Stems of 4, 8, 16 and 32 convolutions, with shortcuts and without, the rest alike; what counts is
the training loss. Preset `quick`: 4 and 16 layers, 13,750 pairs, three seeds, on MNIST.

    python -m multimodal_vit.main --mode=study --config=configs/study_depth.py:quick
"""

from ml_collections import ConfigDict

from multimodal_vit.config import small
from multimodal_vit.study import cross, study


def get_config(name: str = "full") -> ConfigDict:
    quick = name == "quick"
    base = small()
    base.data.name = "mnist"
    base.model.stem = "residual"
    base.model.embedding_dim = 64
    base.model.num_encoder_layers = 2
    base.model.mlp_dim = 256
    base.model.dropout_rate = 0.0  # the training loss is that of the whole model
    base.train.objective = "masked_labels"  # it learns within so few pairs
    base.train.num_samples = 13_750 if quick else 275_000
    if quick:
        base.train.steps_per_validation = 108  # all of them: a quarter of an epoch
        base.train.log_every_steps = 27
    base.train.warmup_steps = 25 if quick else 50
    base.train.patience = 0
    base.evaluation.suites = () if quick else ("order_foil",)
    depths = (4, 16) if quick else (4, 8, 16, 32)
    config = study(
        "Does depth hurt without shortcuts?",
        cross(
            base,
            shortcut={
                "residual": {"model.stem_options.shortcut": "identity"},
                "plain": {"model.stem_options.shortcut": "none"},
            },
            depth={f"{n}": {"model.num_conv_layers": n} for n in depths},
        ),
        comparisons=[(f"residual_{n}", f"plain_{n}") for n in depths],
    )
    config.num_seeds = 3
    return config
