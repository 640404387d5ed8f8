"""Decoded arrays on disk, so that a compressed data set is decoded once and not at every start."""

import contextlib
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multimodal_vit.arrays import read_npz
from multimodal_vit.data.image_set import ImageSet
from multimodal_vit.files import remove_left_over, replacing


def source_key(*files: Path) -> str:
    """A key that changes when any of the files does: path, size and time of change of each."""
    facts = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(files)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def cached(path: Path, decode: Callable[[], ImageSet]) -> ImageSet:
    """Reads the image set cached at `path`, or decodes it and writes it there.

    The cache is an uncompressed .npz, whose checksums (CRC-32 of each member) are verified on
    reading; a damaged one is reported and rebuilt. It is written beside its place and then renamed,
    so that a process that dies leaves no half file. A folder that cannot be written is reported and
    costs only the speed of the next start.
    """
    if path.exists():
        try:
            arrays = read_npz(path, ("images", "labels", "class_names"))
            names = tuple(str(name) for name in arrays["class_names"].reshape(-1))
            return ImageSet(arrays["images"], arrays["labels"], names)
        except Exception as error:  # of many kinds: whatever a damaged archive raises
            kept = path.with_name(path.name + ".damaged")
            logging.warning(
                "The cache %s is damaged (%s); decoding the data again, keeping it as %s.",
                path,
                error,
                kept.name,
            )
            with contextlib.suppress(OSError):  # of a folder that cannot be written
                path.replace(kept)
    image_set = decode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(path.parent)
        with replacing(path, "wb") as file:
            np.savez(
                file,
                images=image_set.images,
                labels=image_set.labels,
                class_names=np.array(image_set.class_names, dtype=np.str_),
            )
    except OSError as error:
        logging.warning("Could not write the cache %s (%s); going on without it.", path, error)
    return image_set
