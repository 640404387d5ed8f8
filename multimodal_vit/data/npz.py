"""Images and labels in one .npz file, as MedMNIST and Keras give them, or one's own."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from multimodal_vit.arrays import read_npz
from multimodal_vit.components import component
from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.splitting import split
from multimodal_vit.data.values import as_labels, as_pixels, check_class_names
from multimodal_vit.errors import UserError

# The names of images and labels, by part. A file has those of one line.
KEYS: tuple[Mapping[str, tuple[str, str]], ...] = (
    {"train": ("images", "labels")},
    {
        "train": ("train_images", "train_labels"),  # MedMNIST
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},  # Keras
)
CLASS_NAMES = "class_names"


@component("data.source", "arrays")
def load(name: str, directory: Path, cache_directory: Path | None = None) -> Splits:
    """Images and labels in `<directory>/<name>.npz`: one's own, MedMNIST's or Keras's.

    Images are [N, H, W] or [N, H, W, C] with C = 1 or 3, numbers from 0 to 255 or fractions from 0
    to 1; labels [N] or [N, 1] whole numbers. The names of the arrays are those of `KEYS`. Names of
    the classes are in `class_names`, in the order of the labels; without it they are the labels.

    Args:
      name: of the file, with or without its ending.
      directory: the data directory; the file lies in it, or in its folder `name`.
      cache_directory: not used: the file is read anew at each start.

    Raises:
      UserError: no such file, damaged, or without such arrays.
    """
    del cache_directory
    stem = name.removesuffix(".npz")
    places = [directory / f"{stem}.npz", directory / stem / f"{Path(stem).name}.npz"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise UserError(
            f"there is no file {places[0]}; name the folder with --config.data.directory=… and the "
            "file in it with --config.data.name=…"
        )
    arrays = read_npz(path)
    keys = next((keys for keys in KEYS if set(keys["train"]) <= arrays.keys()), None)
    if keys is None:
        wanted = "; or ".join(", ".join(names["train"]) for names in KEYS)
        raise UserError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}; needed are {wanted} (and the "
            "same of other parts)"
        )
    parts = {part: names for part, names in keys.items() if set(names) & arrays.keys()}
    for names in parts.values():
        if missing := set(names) - arrays.keys():
            raise UserError(f"{path} lacks the array {missing.pop()}")
    labels = {part: _labels(arrays[names[1]], path, names[1]) for part, names in parts.items()}
    names, labels = _named(arrays.get(CLASS_NAMES), labels, path)
    sets = {
        part: ImageSet(_images(arrays[keys[part][0]], path, keys[part][0]), labels[part], names)
        for part in parts
    }
    return split(
        sets["train"], sets.get("test"), f"{name} ({path})", validation=sets.get("validation")
    )


def _images(array: np.ndarray, path: Path, key: str) -> np.ndarray:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise UserError(
            f"{path}: {key} is {list(array.shape)}; images are [N, H, W] or [N, H, W, C] with 1 or "
            "3 channels"
        )
    return as_pixels(array, f"{path}: {key}")


def _labels(array: np.ndarray, path: Path, key: str) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        raise UserError(
            f"{path}: {key} is {list(array.shape)}, several labels for each image; the task needs "
            "one. Choose one column, and save it anew"
        )
    return as_labels(array, f"{path}: {key}")


def _named(
    given: np.ndarray | None, labels: dict[str, np.ndarray], path: Path
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The classes' names, and labels that count them."""
    if given is not None:
        names = tuple(str(name) for name in given.reshape(-1))
        check_class_names(names, f"{path}: {CLASS_NAMES}")
        return names, labels
    known = np.unique(np.concatenate(list(labels.values())))
    counted = {part: np.searchsorted(known, own).astype(np.int32) for part, own in labels.items()}
    return tuple(str(label) for label in known.tolist()), counted
