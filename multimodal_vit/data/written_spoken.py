"""The Written and Spoken Digits Database (Khacef et al. 2020, zenodo.org/records/4452953).

Six .npy files: written digits [N, 784] (MNIST), spoken digits [N, 507] (39 frames of 13 cepstral
coefficients) and their labels [N], for training and test. Row by row, image and sound are of the
same class. The database repeats recordings at random to have one for each image; here each counts
once, so that none is in two parts, and the sampler pairs them with images live.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multimodal_vit import audio
from multimodal_vit.arrays import read_npy
from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.recordings import Recordings, RecordingSplits, checked
from multimodal_vit.data.splitting import split
from multimodal_vit.data.values import as_labels, as_pixels
from multimodal_vit.errors import UserError

FILES = {
    (kind, part): f"{stem}_{part}.npy"
    for part in ("train", "test")
    for kind, stem in (("images", "data_wr"), ("sound", "data_sp"), ("labels", "labels"))
}
NUM_FEATURES = audio.NUM_FRAMES * audio.NUM_COEFFICIENTS  # 507
DIGITS = tuple(str(i) for i in range(10))
VALIDATION_FRACTION = 1 / 12  # of the different training recordings of each digit


def load(name: str, directory: Path, cache: Path | None = None) -> Splits:
    """Reads the written digits, as a source of images.

    Raises:
      UserError: files that are missing, or do not hold such digits.
    """
    folder = directory / name
    parts = []
    for part in ("train", "test"):
        labels, images = _labels(folder, part), _array(folder, "images", part, 784)
        if len(images) != len(labels):
            raise UserError(
                f"{folder / FILES['images', part]} holds {len(images)} images for {len(labels)} "
                "labels. Fetch it again"
            )
        images = as_pixels(images, folder / FILES["images", part])
        parts.append(ImageSet(images.reshape(-1, 28, 28, 1), labels, DIGITS))
    # The order is MNIST's, which is mixed.
    return split(*parts, origin=f"{name} (.npy files in {folder})", rule="order")


def recordings(name: str, directory: Path, test_speakers: Sequence[str]) -> RecordingSplits:
    """Reads the spoken digits; of the different ones of each digit the last twelfth validates.

    Raises:
      UserError: files that are missing, or do not hold such digits; speakers, which it lacks.
    """
    folder = directory / name
    if test_speakers:
        raise UserError(
            f"data.test_speakers={tuple(test_speakers)}: {name} does not say who speaks; leave it "
            "empty, or take data.audio=spoken_digit"
        )
    train, test = (_different(folder, part) for part in ("train", "test"))
    place, count = np.zeros(len(train), int), np.bincount(train.labels, minlength=len(DIGITS))
    for label in range(len(DIGITS)):  # the place among those of its digit
        mine = train.labels == label
        place[mine] = np.arange(mine.sum())
    validates = place >= count[train.labels] - np.ceil(count * VALIDATION_FRACTION)[train.labels]
    origin = f"{name} (.npy files in {folder})"
    return checked(train[~validates], train[validates], test, DIGITS, origin)


def _different(folder: Path, part: str) -> Recordings:
    labels, rows = _labels(folder, part), _array(folder, "sound", part, NUM_FEATURES)
    if len(rows) != len(labels):
        raise UserError(
            f"{folder / FILES['sound', part]} holds {len(rows)} recordings for {len(labels)} "
            "labels. Fetch it again"
        )
    rows = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(rows).all():
        raise UserError(f"{folder / FILES['sound', part]} holds values that are no numbers")
    as_bytes = rows.view(np.dtype((np.void, rows.itemsize * NUM_FEATURES)))[:, 0]
    _, first = np.unique(as_bytes, return_index=True)
    first.sort()
    features = rows[first].reshape(-1, audio.NUM_FRAMES, audio.NUM_COEFFICIENTS)
    found = Recordings(features, labels[first], np.full(len(first), ""))
    return found[np.arange(len(found))]


def _labels(folder: Path, part: str) -> np.ndarray:
    path = folder / FILES["labels", part]
    labels = as_labels(_array(folder, "labels", part, None), path)
    if labels.size == 0 or labels.max() >= len(DIGITS):
        raise UserError(f"{path} does not hold digits: labels must be 0 to 9")
    return labels


def _array(folder: Path, kind: str, part: str, width: int | None) -> np.ndarray:
    """One file, [N, width], or [N] without a width."""
    path = folder / FILES[kind, part]
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; the six files {', '.join(FILES.values())} of "
            "zenodo.org/records/4452953 belong there. Name another folder with "
            "--config.data.directory=… or TFDS_DATA_DIR"
        )
    try:
        array = read_npy(path)
    except UserError as error:
        raise UserError(f"{error}. Fetch it again") from error
    if width is None and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape[1:] != (() if width is None else (width,)) or array.dtype.kind not in "iufb":
        wanted = "[N]" if width is None else f"[N, {width}]"
        raise UserError(
            f"{path} holds {array.dtype} {list(array.shape)}, not numbers {wanted}; it is another "
            "file than its name says"
        )
    return array
