"""What does the single encoder owe to what? Ablations at its own size, and one at 1.8 times it.

Experts, memory slots, causal masks in both orders, quadrants that do not see each other, registers,
and a wider encoder; `configs/study_fusion.py` holds other designs beside it.
Presets: `quick` and `small`, with the pairs of those of `study_fusion.py`, on Fashion-MNIST.

    python -m multimodal_vit.main --mode=study --config=configs/study_one_encoder.py:quick
"""

import importlib.util
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit.config import changed
from multimodal_vit.errors import UserError
from multimodal_vit.study import study


def _module(file: str) -> Any:
    """Another configuration file, as a module."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, Path(__file__).with_name(file))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


study_fusion = _module("study_fusion.py")
CHANGES = {
    "registers": {"model.num_registers": 4},  # so that no design is credited with its registers
    "wider": {"model.mlp_dim": 1_352},  # 1.8 times the parameters: what size alone buys
}


def get_config(name: str = "quick") -> ConfigDict:
    if name not in ("quick", "small"):
        raise UserError(f"configs/study_one_encoder.py has no preset {name!r}; quick or small")
    changes = study_fusion.QUICK if name == "quick" else study_fusion.SMALL
    one = study_fusion.experiment("single_encoder", changes)
    found = {"single_encoder": one}
    for design in ("moe", "memory", "causal", "local"):
        found[design] = study_fusion.experiment(design, changes)
    order = {"model.fusion_options.order": "patches_first"}
    found["causal_patches_first"] = changed(found["causal"], order)
    found |= {short: changed(one, fields) for short, fields in CHANGES.items()}
    config = study("What does one encoder owe to its attention, its size and its tokens?", found)
    config.num_seeds, config.control_seeds = (3, 9) if name == "quick" else (5, 15)
    config.control, config.apart = "single_encoder", ("wider", "registers")
    return config
