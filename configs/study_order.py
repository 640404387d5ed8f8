"""Does training on permuted texts teach reading order, and what does it cost?

The runs with the published law are those of `study_table41.py`. Rejection of order foils by both
stands in docs/probes.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_order.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import from_file


def get_config(name: str = "thesis") -> ConfigDict:
    config = from_file(f"{Path(__file__).with_name('study_table41.py')}:{name}")
    config.title = "Does training on permuted texts teach reading order?"
    config.published, config.published_source = ConfigDict(), ""  # of another law
    for condition in config.conditions.values():
        condition.task.corruption = "mixed"
    return config
