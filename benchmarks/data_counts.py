"""Counts what a data set holds: images of each class in each part, and images that occur twice.

    python benchmarks/data_counts.py --source=auto --name=fashion_mnist
    python benchmarks/data_counts.py --source=digits --name=digits

The data directory is `TFDS_DATA_DIR`, else `~/tensorflow_datasets`. docs/data_sets.md has what this
prints of the sets that the project uses.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from multimodal_vit.data import ImageSet, load_splits


def in_bytes(part: ImageSet) -> list[bytes]:
    """Each image as its bytes: equal bytes are equal images."""
    return [image.tobytes() for image in part.images]


def main() -> None:
    """Prints a Markdown table and two sentences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="auto")
    parser.add_argument("--name", default="mnist")
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    parser.add_argument("--directory", type=Path, default=Path(default))
    given = parser.parse_args()
    splits = load_splits(given.source, given.name, given.directory.expanduser())
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    names = splits.train.class_names
    print(f"| {given.name} | " + " | ".join(names) + " | all |")
    print("| --- " * (len(names) + 2) + "|")
    for name, part in parts.items():
        counts = np.bincount(part.labels, minlength=len(names))
        print(f"| {name} | " + " | ".join(f"{count:,}" for count in (*counts, len(part))) + " |")
    side, dtype = "×".join(map(str, splits.train.images.shape[1:])), splits.train.images.dtype
    train = in_bytes(splits.train)
    other = {name: in_bytes(part) for name, part in parts.items() if name != "training"}
    seen = set(train)
    print(f"\nImages are {dtype} {side}; {len(train) - len(seen):,} training images occur twice.")
    for name, images in other.items():
        count = sum(image in seen for image in images)
        print(f"Of {len(images):,} {name} images {count:,} are training images too.")
    print(f"Fingerprint: {splits.fingerprint()}")


if __name__ == "__main__":
    main()
