"""Data sets prepared by tensorflow_datasets, read without TensorFlow.

Any image classification set whose features are `image` and `label` will do, in the `array_record`
format or in `tfrecord`, the default of tensorflow_datasets. Its description is read as JSON
(`description`), its records as the plain examples that they are; no class that it names is used.
"""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multimodal_vit.arrays import check_size
from multimodal_vit.data import description
from multimodal_vit.data.cache import cached, source_key
from multimodal_vit.data.description import Described, find
from multimodal_vit.data.idx import CONTENTS_SHA256
from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.records import records
from multimodal_vit.data.splitting import split
from multimodal_vit.data.values import check_picture_size
from multimodal_vit.errors import UserError

__all__ = ["example", "find", "load", "scalar"]

_USED = ("train", "validation", "test")


def load(name: str, directory: Path, cache_directory: Path) -> Splits:
    """Reads the prepared set `name`: its `train`, and `validation` and `test` where it has them.

    The order of the images is that of the prepared files, which tensorflow_datasets has shuffled:
    the validation part of MNIST differs from the one that the IDX files give. MNIST and
    Fashion-MNIST are split in that order, as documented; others class by class.

    Raises:
      UserError: nothing there, not image classification, or files that cannot be read.
    """
    folder = find(name, directory)
    if folder is None:
        raise UserError(
            f"{description.absent(name, directory)}. Name the folder with "
            "--config.data.directory=… or TFDS_DATA_DIR"
        )
    described = _described(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    key = source_key(*files)

    def part(split_name: str) -> ImageSet | None:
        if not described.counts.get(split_name):
            return None
        path = cache_directory / f"{name.replace('/', '-')}-{split_name}-{key}.npz"
        return cached(path, lambda: _decode(described, split_name))

    train = part("train")
    if train is None:
        raise UserError(f"{folder} has no `train` split; it has: {', '.join(described.counts)}")
    if unused := [other for other in described.counts if other not in _USED]:
        logging.warning("%s: the splits %s are not used.", folder, ", ".join(unused))
    return split(
        train,
        part("test"),
        f"{name} (tensorflow_datasets, {folder})",
        rule="order" if Path(name).parts[0] in CONTENTS_SHA256 else "stratified",
        validation=part("validation"),
    )


def _described(folder: Path) -> Described:
    described = description.read(folder)
    features = described.features
    if "image" not in features.get("image", {}) or "classLabel" not in features.get("label", {}):
        raise UserError(
            f"{folder} is no image classification set: its features are {', '.join(features)}; "
            "needed are `image` and `label` (a class label)"
        )
    return described


def _shape(described: Described) -> tuple[int, ...]:
    """Height, width and channels of the images; -1 where the description leaves them open.

    Raises:
      UserError: no such description, or pixels that are not uint8.
    """
    image = described.features["image"]["image"]
    try:
        dtype = str(image.get("dtype", "uint8"))
        shape = tuple(int(i) for i in image["shape"]["dimensions"])
        if len(shape) != 3 or not (shape[2] == -1 or 1 <= shape[2] <= 4):
            raise ValueError(f"images are {list(shape)}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{described.folder}: the feature `image` is not described as [H, W, C] "
            f"({type(error).__name__}: {error}). Prepare the data set again"
        ) from error
    if dtype != "uint8":
        raise UserError(
            f"{described.folder} holds {dtype[:20]} images; only uint8, 0 to 255, are read. "
            "Prepare the data set with these"
        )
    return shape


def _decode(described: Described, split_name: str) -> ImageSet:
    folder, expected = described.folder, described.counts[split_name]
    shape = _shape(described)
    names = description.class_names(folder, "label", described.features["label"])
    check_size(folder, f"the split {split_name!r}", expected * int(np.prod(np.abs(shape))))
    images, labels, num_bytes, sizes = [], [], 0, set()
    try:
        for path in described.files[split_name]:
            for record in records(path, described.file_format):
                features = example(record)
                images.append(_picture(_only(features, "image", "bytes_list"), shape))
                labels.append(scalar(features, "label", len(names)))
                sizes.add(images[-1].shape)
                num_bytes += images[-1].nbytes
                check_size(folder, f"the split {split_name!r}", num_bytes)
    except UserError:
        raise
    except Exception as error:  # of many kinds: whatever a damaged record or picture raises
        raise UserError(
            f"{folder}, split {split_name!r}: record {len(labels)} cannot be read "
            f"({type(error).__name__}: {error}). Prepare the data set again"
        ) from error
    if len(images) != expected:
        raise UserError(
            f"{folder}, split {split_name!r}, should hold {expected} examples and holds "
            f"{len(images)}. Prepare the data set again"
        )
    if len(sizes) > 1:
        some = ", ".join(str(list(size)) for size in sorted(sizes)[:3])
        raise UserError(
            f"{folder} holds images of {len(sizes)} sizes ({some}, …); the grid needs images of "
            "one size. Resize them when preparing the data set"
        )
    return ImageSet(np.stack(images), np.array(labels, np.int32), names)


def example(record: bytes) -> Any:
    """The features of a record, by name, as `tf.train.Example` has them.

    Raises:
      Exception: of protobuf's kinds, where the record is none.
    """
    from tensorflow_datasets.proto import tf_example_pb2  # late: half a second

    return tf_example_pb2.Example.FromString(record).features.feature


def _only(features: Any, name: str, kind: str) -> Any:
    """The one value of a feature of an example.

    Raises:
      ValueError: it has none, several, or of another kind.
    """
    values = getattr(features[name], kind).value if name in features else ()
    if len(values) != 1:
        raise ValueError(f"it has {len(values)} values of `{name}`, not 1")
    return values[0]


def scalar(features: Any, name: str, num_classes: int) -> int:
    """The class label of an example.

    Raises:
      ValueError: it has none, or no class has it.
    """
    label = _only(features, name, "int64_list")
    if not 0 <= label < num_classes:
        raise ValueError(f"its label is {label}, which none of the {num_classes} classes has")
    return label


def _picture(encoded: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of a PNG or JPEG file, uint8 [H, W, C]; its size is looked at before they are.

    Raises:
      UserError: it is too large.
      Exception: of Pillow's many kinds, where it is damaged; a PNG's checksums are verified.
    """
    with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
        size = (image.height, image.width)
        check_picture_size(*size, "the data set")
        if any(wanted not in (-1, side) for wanted, side in zip(shape, size, strict=False)):
            raise ValueError(
                f"its image is {size[0]}×{size[1]}, described as {shape[0]}×{shape[1]}"
            )
        if image.format == "PNG":
            image.verify()  # after which it has to be opened anew
    with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
        plain = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
        if plain not in ("L", "RGB", "RGBA"):
            raise ValueError(f"its image is of the kind {image.mode}, not 8 bits grey or colour")
        pixels = np.asarray(image if plain == image.mode else image.convert(plain))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1 and shape[2] > 1:
        pixels = np.repeat(pixels, shape[2], axis=2)  # grey as colour, as TensorFlow has it
    if shape[2] not in (-1, pixels.shape[2]):
        raise ValueError(f"its image has {pixels.shape[2]} channels, described as {shape[2]}")
    return pixels
