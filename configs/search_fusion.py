"""The learning rate of each design of `study_fusion.py`: the same three rates and budget for all.

Fashion-MNIST, 110,000 pairs, two seeds a rate; the validation split decides, the test split is not
looked at. What wins stands, by hand, in `study_fusion.RATES`. Its seeds are not the study's.

    python -m multimodal_vit.main --mode=search --config=configs/search_fusion.py
"""

import importlib.util
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit.search import search

RATES = (5e-4, 1e-3, 2e-3)


def _module(file: str) -> Any:
    """Another configuration file, as a module."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, Path(__file__).with_name(file))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def get_config() -> ConfigDict:
    study = _module("study_fusion.py")
    changes = study.QUICK | {"evaluation.suites_in_training": (), "seed": 1_000}
    designs = ("single_encoder", *study.CONTENDERS)
    config = search(
        "The learning rates of the fusion designs",
        {
            name: (study.experiment(name, changes), {"train.learning_rate": RATES})
            for name in designs
        },
    )
    config.num_trials, config.num_seeds = len(RATES), 2
    return config
