"""The modular oracles on both data sets: what separate parts and the exact Bayes rule reach.

A reference for the models of `study_table41.py`; its results stand beside theirs in docs/probes.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_oracle.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import from_file
from multimodal_vit.study import study

ORACLES = {"mnist_oracle": "mnist_oracle.py", "fashion_oracle": "fashion_oracle.py"}


def get_config(name: str = "thesis") -> ConfigDict:
    folder = Path(__file__).parent
    conditions = {c: from_file(f"{folder / file}:{name}") for c, file in ORACLES.items()}
    return study("What does the modular oracle reach?", conditions)
