"""One design of joining words and image, at the size of the single encoder: docs/fusion.md.

`fusion.py:DESIGN` is the size for two cores; every design but those without attention has, within
5 %, the parameters and training FLOP of `fusion.py:single_encoder`. `benchmarks/match_budget.py`
finds these settings and shows how near they come.

    python -m multimodal_vit.main --config=configs/fusion.py:vilbert
"""

from ml_collections import ConfigDict

from multimodal_vit.config import changed, preset
from multimodal_vit.errors import UserError, hint

LAYERS, MLP, REGISTERS = "model.num_encoder_layers", "model.mlp_dim", "model.num_registers"
OPTIONS = "model.fusion_options."

SETTINGS = {
    "single_encoder": {},
    "product": {LAYERS: 2, MLP: 284, REGISTERS: 4},
    "concat": {LAYERS: 2, MLP: 284, REGISTERS: 4},
    "add": {LAYERS: 3, MLP: 124, REGISTERS: 4},
    "concat_linear": {LAYERS: 3, MLP: 124, REGISTERS: 4},
    "clip": {LAYERS: 2, MLP: 284, REGISTERS: 4},
    "vilbert": {LAYERS: 1, MLP: 284, REGISTERS: 4},
    "flava": {LAYERS: 2, MLP: 288, REGISTERS: 2},
    "late_transformer": {LAYERS: 2, MLP: 284, REGISTERS: 11},
    "unit": {LAYERS: 2, MLP: 156, OPTIONS + "num_queries": 12},
    "perceiver": {LAYERS: 2, MLP: 508, OPTIONS + "num_latents": 10},
    "hip": {LAYERS: 1, MLP: 312, OPTIONS + "group_latents": 3, OPTIONS + "num_latents": 5},
    "flamingo": {LAYERS: 2, MLP: 200, REGISTERS: 6},
    "mbt": {LAYERS: 2, MLP: 320, OPTIONS + "num_bottlenecks": 4},
    "moe": {},
    "limoe": {MLP: 468, REGISTERS: 1},
    "memory": {MLP: 504},
    "meshed": {LAYERS: 2, MLP: 420, REGISTERS: 4},
    "causal": {},
    "local": {OPTIONS + "extent": 0},
    "bag": {},
    "lowrank": {OPTIONS + "rank": 576},
    "mlp": {},
}
# Without attention most weights serve one product an example: equal in parameters at most.
UNMATCHED = ("bag", "lowrank", "mlp")


def get_config(name: str = "single_encoder") -> ConfigDict:
    if name not in SETTINGS:
        raise UserError(
            f"configs/fusion.py has no {name!r}; there are: {', '.join(SETTINGS)}"
            f"{hint(name, SETTINGS)}"
        )
    return changed(preset("small"), {"model.fusion": name} | SETTINGS[name])
