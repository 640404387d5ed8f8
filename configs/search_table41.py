"""The thesis's search for hyper-parameters, behind Table 4.1.

The thesis searched dropout, learning rate, N_c, N_e, D_e and heads at random on a grid, several
seeds a setting. Its grid is not printed; the values here are chosen around the presets. The
MLP keeps its size. Every condition gets the same budget; the test split is not looked at.

Preset `thesis` (the default): 20 trials of five seeds in each of four conditions, 400 runs of the
thesis's size; for several GPUs, each with a worker of its own (see docs/search.md).
Preset `budget`: the model of the preset `faithful`, and the thesis's budget in place of a number of
trials: 54 GPU-days for each kind of image tokens, here half of it on each data set (the thesis does
not say how it was shared), five seeds a setting.
Preset `small`: six trials of two seeds in each condition, 48 runs: two to three hours on two cores,
estimated from single runs of the `:small` presets (2.4 to 3.6 minutes), not measured.

    python -m multimodal_vit.main --mode=search --config=configs/search_table41.py:small
"""

from ml_collections import ConfigDict

from multimodal_vit.config import changed, preset
from multimodal_vit.search import search

GRIDS = {
    "thesis": {
        "model.dropout_rate": (0.0, 0.1, 0.2),
        "train.learning_rate": (1e-4, 3e-4, 1e-3),
        "model.num_encoder_layers": (2, 4, 6),
        "model.embedding_dim": (128, 256, 512),
        "model.num_heads": (4, 8),
    },
    "small": {
        "model.dropout_rate": (0.0, 0.1),
        "train.learning_rate": (5e-4, 1e-3, 2e-3),
        "model.num_encoder_layers": (2, 3),
        "model.embedding_dim": (64, 96, 128),
        "model.num_heads": (4, 6),  # 6 divides 96 alone: the other combinations are skipped
    },
}
CONV_LAYERS = {"thesis": (2, 4, 6), "small": (2, 3)}  # N_c
RAW_PATCHES = {"thesis": 4, "small": 14}  # their size, as in configs/mnist_patch.py


def get_config(name: str = "thesis") -> ConfigDict:
    start = preset("faithful" if name == "budget" else name)
    size = "small" if name == "small" else "thesis"
    raw = {
        "model.stem": "conv",
        "model.num_conv_layers": 0,
        "model.patch_size": RAW_PATCHES[size],
    }
    conditions = {}
    for short, data in (("mnist", "mnist"), ("fashion", "fashion_mnist")):
        conv = changed(start, {"data.name": data})
        conv_grid = GRIDS[size] | {"model.num_conv_layers": CONV_LAYERS[size]}
        conditions[f"{short}_conv"] = (conv, conv_grid)
        conditions[f"{short}_patch"] = (changed(conv, raw), GRIDS[size])
    config = search("Hyper-parameters of Table 4.1", conditions)
    if size == "small":
        config.num_trials, config.num_seeds = 6, 2
    if name == "budget":
        config.num_trials, config.num_seeds = 10**6, 5  # the hours end it
        config.max_hours = 54 * 24 / 2
    return config
