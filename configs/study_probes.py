"""What do the models use, by what they are trained on? Beside the modular oracle.

The four conditions of `study_table41.py`, the same with half of the false texts permuted in
training, and the oracles. What it found stands in docs/probe_results.md.
Presets: as in `study_table41.py`. `small` takes about three hours on two cores.

    python -m multimodal_vit.main --mode=study --config=configs/study_probes.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import changed, from_file
from multimodal_vit.study import study


def get_config(name: str = "thesis") -> ConfigDict:
    folder = Path(__file__).parent
    published = from_file(f"{folder / 'study_table41.py'}:{name}").conditions
    order = {f"{n}_order": changed(c, {"task.corruption": "mixed"}) for n, c in published.items()}
    oracles = {n: from_file(f"{folder / n}.py:{name}") for n in ("mnist_oracle", "fashion_oracle")}
    config = study("What do the models use?", dict(published.items()) | order | oracles)
    config.question = "Suites, checks and attention, by the law of the false texts in training."
    return config
