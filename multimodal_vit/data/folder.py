"""Pictures in folders that are named by their classes."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_vit.arrays import check_size
from multimodal_vit.components import component, option
from multimodal_vit.data.cache import cached, source_key
from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.splitting import split
from multimodal_vit.data.values import check_picture_size, listed
from multimodal_vit.errors import UserError
from multimodal_vit.pictures.fitting import resized
from multimodal_vit.pictures.reading import read

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_PARTS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}
_PLACE = "<directory>/<name>/<class>/*.png, or <directory>/<name>/train/<class>/*.png and test/"

Found = dict[str, list[Path]]  # the files of each class


@component(
    "data.source",
    "folder",
    options={
        "image_size": option(
            (), "to which pictures are resized: a side, or rows and columns; (): they are of one"
        )
    },
)
def load(
    name: str, directory: Path, cache_directory: Path, image_size: Sequence[Any] = ()
) -> Splits:
    """Pictures in `<directory>/<name>/<class>/`, or below `train/` and `test/` there.

    A class is called as its folder. Where the pictures are grey, the images have one channel; one
    in colour makes all three. They are split class by class; `train/`, `validation/` (or `val/`)
    and `test/` are kept apart where there are such folders.

    Args:
      name: the folder in the data directory.
      directory: the data directory.
      cache_directory: where decoded pictures are kept.
      image_size: () or the size that all pictures get.

    Raises:
      UserError: no such folder, no pictures in it, of several sizes without `image_size`, or some
        that cannot be read; the message names them.
    """
    size = _size(image_size)
    place = directory / name
    parts = _parts(place)
    names = sorted({label for found in parts.values() for label in found}, key=_in_order)
    files = [path for found in parts.values() for paths in found.values() for path in paths]
    key = source_key(*files)
    shown = "x".join(map(str, size)) if size else "own"
    start = f"{name.replace('/', '-')}-{shown}"
    every = {
        part: cached(
            cache_directory / f"{start}-{part}-{key}.npz",
            lambda found=found: _decoded(found, names, size, place),
        )
        for part, found in parts.items()
    }
    channels = max(images.images.shape[-1] for images in every.values())
    every = {part: _with_channels(images, channels) for part, images in every.items()}
    train, test = every["train"], every.get("test")
    return split(train, test, f"{name} ({place})", validation=every.get("validation"))


def _size(image_size: Sequence[Any]) -> tuple[int, int] | None:
    if not image_size:
        return None
    sides = tuple(image_size)
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if not whole or len(sides) > 2 or min(sides) < 1:
        raise UserError(
            f"data.source_options.image_size={sides} must be a side, such as 28, or rows and "
            "columns, such as 28,56"
        )
    check_picture_size(*(sides * 2)[:2], "data.source_options.image_size")
    return (sides * 2)[0], (sides * 2)[1]


def _parts(place: Path) -> dict[str, Found]:
    """The files by class, by part: of "train" alone where there are no folders of parts."""
    if not place.is_dir():
        raise UserError(
            f"there is no folder {place}; pictures lie in {_PLACE}. Name the folders with "
            "--config.data.directory=… and --config.data.name=…"
        )
    below = _folders(place)
    named = [folder for folder in below if folder.name.lower() in _PARTS]
    if not any(folder.name.lower() == "train" for folder in named):
        return {"train": _classes(place, below)}
    if other := [folder.name for folder in below if folder not in named]:
        raise UserError(
            f"{place} holds train/ and also {listed(other)}; beside it only validation/ (or val/) "
            "and test/ are read. Move or remove the others"
        )
    found = {}
    for folder in named:
        part = _PARTS[folder.name.lower()]
        if part in found:
            raise UserError(f"{place} holds two folders for the {part} part; remove one")
        found[part] = _classes(folder, _folders(folder))
    return found


def _folders(place: Path) -> list[Path]:
    return sorted(
        path for path in place.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))
    )


def _classes(place: Path, folders: Sequence[Path]) -> Found:
    found, ignored = {}, 0
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        pictures = [path for path in files if path.suffix.lower() in ENDINGS]
        ignored += sum(not path.name.startswith(".") for path in files) - len(pictures)
        found[folder.name] = [path for path in pictures if not path.name.startswith(".")]
    if not any(found.values()):
        raise UserError(
            f"there are no pictures ({', '.join(ENDINGS[:3])}, …) in the folders of {place}; they "
            f"lie in {_PLACE}"
        )
    if empty := [name for name, paths in found.items() if not paths]:
        raise UserError(
            f"{place}: there are no pictures in {listed(empty)}; put some there, or remove the "
            "folder"
        )
    if ignored > 0:
        logging.warning("%s: %d files that are no pictures are not read.", place, ignored)
    return found


def _in_order(name: str) -> tuple[bool, int, str]:
    """Numbers by their size, then names."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name


def _decoded(
    found: Found, names: Sequence[str], size: tuple[int, int] | None, place: Path
) -> ImageSet:
    images, labels, failed = [], [], []
    for label, name in enumerate(names):
        for path in found.get(name, ()):
            try:
                pixels = read(path)
                check_picture_size(*pixels.shape[:2], path)
            except UserError as error:
                failed.append(str(error))
                continue
            if size is not None:
                pixels = resized(pixels, size)
            images.append(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
            labels.append(label)
    if failed:
        raise UserError(
            f"{failed[0]} ({len(failed)} pictures in {place} cannot be read; mend or remove them)"
            if len(failed) > 1
            else failed[0]
        )
    sizes = Counter(image.shape[:2] for image in images)
    if len(sizes) > 1:
        shown = [f"{h}×{w} ({count})" for (h, w), count in sizes.most_common()]
        side = min(sizes.most_common(1)[0][0])
        raise UserError(
            f"the pictures in {place} are of {len(sizes)} sizes: {listed(shown, 5)}; resize them "
            f"to one with --config.data.source_options.image_size={side}, say"
        )
    channels = max(image.shape[-1] for image in images)
    (height, width) = next(iter(sizes))
    check_size(place, f"{len(images):,} images", len(images) * height * width * channels)
    stacked = np.empty((len(images), height, width, channels), np.uint8)
    for i, image in enumerate(images):
        stacked[i] = image  # of one channel: the same in all
    return ImageSet(stacked, np.array(labels, np.int32), tuple(names))


def _with_channels(images: ImageSet, channels: int) -> ImageSet:
    if images.images.shape[-1] == channels:
        return images
    repeated = np.repeat(images.images, channels, axis=-1)
    return ImageSet(repeated, images.labels, images.class_names)
