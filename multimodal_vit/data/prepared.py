"""Data sets prepared by tensorflow_datasets, read without TensorFlow.

Any image classification set whose features are `image` and `label` will do, in the `array_record`
format or in `tfrecord`, the default of tensorflow_datasets; the records are decoded by its own
description of their features.
"""

import json
import logging
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_vit.data.cache import cached, source_key
from multimodal_vit.data.image_set import ImageSet, Splits, split
from multimodal_vit.errors import UserError


def find(name: str, directory: Path) -> Path | None:
    """The newest prepared version below `directory/name`, or None.

    `name` may name a configuration or a version as well: "mnist", "cifar10/3.0.2".

    Raises:
      UserError: several configurations are prepared, and `name` does not say which.
    """
    found = [path.parent for path in (directory / name).glob("**/features.json")]
    version = re.compile(r"\d+\.\d+\.\d+")
    found = [path for path in found if version.fullmatch(path.name)]
    if len(configurations := {path.parent for path in found}) > 1:
        names = sorted(str(path.relative_to(directory)) for path in configurations)
        raise UserError(
            f"{directory / name} holds several prepared sets; choose one with --config.data.name: "
            + ", ".join(names)
        )
    return max(found, key=lambda p: tuple(int(i) for i in p.name.split(".")), default=None)


def load(name: str, directory: Path, cache_directory: Path) -> Splits:
    """Reads the prepared set `name`, its `train` split and, where it has one, its `test` split.

    The order of the images is that of the prepared files, which tensorflow_datasets has shuffled:
    the validation part differs from the one that the IDX files give.

    Raises:
      UserError: nothing there, not image classification, or files that cannot be read.
    """
    folder = find(name, directory)
    if folder is None:
        raise UserError(
            f"no prepared tensorflow_datasets set {name!r} in {directory}: "
            f"{directory / name / '<version>' / 'features.json'} does not exist. Name the folder "
            "with --config.data.directory=… or TFDS_DATA_DIR"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    key = source_key(*files)

    def part(split_name: str) -> ImageSet:
        path = cache_directory / f"{name.replace('/', '-')}-{split_name}-{key}.npz"
        return cached(path, lambda: _decode(folder, split_name))

    builder = _builder(folder)
    if "train" not in builder.info.splits:
        raise UserError(f"{folder} has no `train` split; it has: {', '.join(builder.info.splits)}")
    test = part("test") if "test" in builder.info.splits else None
    return split(part("train"), test, f"{name} (tensorflow_datasets, {folder})")


def _not_about_opencv(record: logging.LogRecord) -> bool:
    return "OpenCV is not installed" not in str(record.msg)


def _builder(folder: Path) -> Any:
    logging.getLogger("absl").addFilter(_not_about_opencv)
    import tensorflow_datasets as tfds

    try:
        described = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        features = described["featuresDict"]["features"]
        is_classification = "image" in features and "classLabel" in features.get("label", {})
        builder = tfds.builder_from_directory(folder) if is_classification else None
    except Exception as error:  # of many kinds: whatever a damaged description raises
        raise UserError(
            f"{folder} cannot be read as a tensorflow_datasets set: {error}. Prepare it again"
        ) from error
    if builder is None:
        raise UserError(
            f"{folder} is no image classification set: its features are {', '.join(features)}; "
            "needed are `image` and `label` (a class label)"
        )
    return builder


def _decode(folder: Path, split_name: str) -> ImageSet:
    builder = _builder(folder)
    features = builder.info.features
    images, labels = [], []
    try:
        for record in _records(builder, split_name):
            example = features.deserialize_example_np(record)
            images.append(np.asarray(example["image"]))
            labels.append(int(example["label"]))
    except UserError:
        raise
    except Exception as error:  # of many kinds: whatever a damaged record raises
        raise UserError(
            f"{folder}, split {split_name!r}: record {len(images)} cannot be read "
            f"({type(error).__name__}: {error}). Prepare the data set again"
        ) from error
    expected = builder.info.splits[split_name].num_examples
    if len(images) != expected:
        raise UserError(
            f"{folder}, split {split_name!r}, should hold {expected} examples and holds "
            f"{len(images)}. Prepare the data set again"
        )
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        some = ", ".join(str(list(size)) for size in sorted(sizes)[:3])
        raise UserError(
            f"{folder} holds images of {len(sizes)} sizes ({some}, …); the grid needs images of "
            "one size. Resize them when preparing the data set"
        )
    return ImageSet(np.stack(images), np.array(labels, np.int32), tuple(features["label"].names))


def _records(builder: Any, split_name: str) -> Iterator[bytes]:
    """The serialized examples of a split, in file order."""
    for path in builder.info.splits[split_name].filepaths:
        yield from records(Path(path), builder.info.file_format.value)


def records(path: Path, file_format: str) -> Iterator[bytes]:
    """The serialized examples of one file.

    Args:
      path: the file.
      file_format: "array_record" or "tfrecord".

    Raises:
      UserError: the file is missing or cut short, or of another format.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing. Prepare the data set again")
    if file_format == "array_record":
        from array_record.python.array_record_module import ArrayRecordReader

        reader = ArrayRecordReader(str(path))
        yield from reader.read_all()
        reader.close()
    elif file_format == "tfrecord":
        yield from _tfrecords(path)
    else:
        raise UserError(
            f"{path} is in the format {file_format!r}; prepare the data set with "
            'file_format="array_record"'
        )


def _tfrecords(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: length (uint64), CRC of it, data, CRC of it."""
    left = path.stat().st_size
    with path.open("rb") as file:
        while left:
            header = file.read(12)
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else left
            left -= length + 16
            if left < 0:
                raise UserError(f"{path} is cut short. Prepare the data set again")
            yield file.read(length)
            file.read(4)
