"""`ImageSet`, the one type that every data source returns, and its three parts, `Splits`."""

import dataclasses
import functools
import hashlib

import numpy as np

from multimodal_vit.data.recordings import Recordings
from multimodal_vit.data.values import check_class_names, check_picture_size
from multimodal_vit.errors import UserError


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size, in host memory.

    Attributes:
      images: uint8 [N, H, W, C], 0 (black) to 255.
      labels: int32 [N], 0 to K - 1.
      class_names: the K names; the name of label i is `class_names[i]`.
      recordings: of the same words, in any number, where there are any; they belong to the part of
        the data and not to single images.

    Raises:
      UserError: the parts do not fit together; the message names the part.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    recordings: Recordings | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != np.uint8:
            raise UserError(
                f"images are {images.dtype} {list(images.shape)}; an image set holds uint8 "
                "[N, H, W, C]: all images of one size, values 0 to 255"
            )
        if 0 in images.shape[1:]:
            raise UserError(f"images are {list(images.shape[1:])}: they are without pixels")
        check_picture_size(*images.shape[1:3], "the image set")
        check_class_names(self.class_names, "the image set")
        if labels.shape != images.shape[:1] or labels.dtype != np.int32:
            raise UserError(
                f"{len(images)} images have labels {labels.dtype} {list(labels.shape)}; "
                "an image set holds one int32 label for each image"
            )
        if len(labels) == 0:
            raise UserError("the image set is empty; there is nothing to train on")
        if labels.min() < 0 or labels.max() >= len(self.class_names):
            raise UserError(
                f"labels run from {labels.min()} to {labels.max()}, but there are "
                f"{len(self.class_names)} class names; labels must be 0 to "
                f"{len(self.class_names) - 1}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice | np.ndarray) -> "ImageSet":
        """Some of the images, by places int [N'] or a slice; the recordings stay with them."""
        return ImageSet(self.images[part], self.labels[part], self.class_names, self.recordings)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @property
    def class_frequencies(self) -> np.ndarray:
        """The share of the images that each class has, float64 [K]."""
        return np.bincount(self.labels, minlength=self.num_classes) / len(self)

    def fingerprint(self) -> str:
        """First 16 hex digits of the sha256 of images and labels: which data a run has seen.

        Of the recordings too, where there are any.
        """
        digest = hashlib.sha256(np.ascontiguousarray(self.images))
        digest.update(np.ascontiguousarray(self.labels))
        if self.recordings is not None:
            digest.update(self.recordings.fingerprint().encode())
        return digest.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Splits:
    """The three parts of a data set, which never mix, and where they were read from.

    Attributes:
      train: its classes are those of the data set; each has an image in it.
      validation: of the same classes.
      test: of the same classes.
      origin: for people.
      rule: how it was split where that is not the documented order, "" otherwise; see `split`.
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    origin: str
    rule: str = ""

    def fingerprint(self) -> str:
        """Identifies all three parts, order included, and says which rule made them."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        parts = [part.fingerprint()[:8] for part in (self.train, self.validation, self.test)]
        return "-".join([*parts, self.rule] if self.rule else parts)
