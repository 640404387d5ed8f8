"""Fuzzes the readers of IDX files, results, metrics, configurations and predictions with atheris.

Bytes may be refused with a `UserError`, and nothing else. Needs `pip install atheris`.

    python benchmarks/fuzz_readers.py -max_total_time=60 -max_len=4096
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["multimodal_vit"]):
    from multimodal_vit import config
    from multimodal_vit.data import idx
    from multimodal_vit.errors import UserError
    from multimodal_vit.evaluate import Predictions
    from multimodal_vit.files import read_json
    from multimodal_vit.train.writer import read_metrics

READERS = (idx.read, read_json, read_metrics, config.load, Predictions.load)


def main() -> None:
    """Runs until the time that libFuzzer's flags give is over, or something else is raised."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "file", Path(folder) / "file.gz"]

        def one(data: bytes) -> None:
            path = paths[len(data) % 2]
            path.write_bytes(data[1:])
            with contextlib.suppress(UserError):
                READERS[data[0] % len(READERS) if data else 0](path)

        atheris.Setup(sys.argv, one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
