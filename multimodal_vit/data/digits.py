"""The 1,797 handwritten digits inside scikit-learn: real data that needs no file and no network."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.splitting import split
from multimodal_vit.errors import UserError, hint

SIZE = 28
NAMES = ("digits", "shifted_digits")
SHIFTED_SIZE = 20  # in a black margin, as MNIST's digits are
SHIFTS = (-2, 0, 2)  # pixels, down and to the right, of the digits that are trained on


def load(name: str = "digits", directory: Path | None = None, cache: Path | None = None) -> Splits:
    """Returns the UCI optical digits, resized from 8×8 to 28×28 by bicubic interpolation.

    The folders are those of every source and are not used. The source has no test part; the split
    rule takes the last seventh, so the test digits come from other writers than most of the rest.

    "shifted_digits" are the same digits in the same parts, resized to 20×20 in a black margin. Each
    training digit is there nine times, shifted by -2, 0 or 2 pixels in both directions; those of
    validation and test are in the middle.

    Raises:
      UserError: a name that is neither.
    """
    if name not in NAMES:
        raise UserError(
            f"data.source=digits holds the digits and not {name!r}; set --config.data.source=auto "
            f"as well, or name one of {', '.join(NAMES)}{hint(name, NAMES)}"
        )
    from sklearn.datasets import load_digits  # late: importing scikit-learn takes a second or two

    bunch = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], given as 0 to 16
    shifted = name == "shifted_digits"
    shape = (SHIFTED_SIZE if shifted else SIZE,) * 2
    resized = [Image.fromarray(i).resize(shape, Image.Resampling.BICUBIC) for i in small]
    images = np.stack([np.asarray(image) for image in resized])
    if shifted:
        margin = (SIZE - SHIFTED_SIZE) // 2
        images = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    names = tuple(str(i) for i in bunch.target_names)
    image_set = ImageSet(images[..., None], bunch.target.astype(np.int32), names)
    splits = split(image_set, None, "scikit-learn digits", rule="order")
    if not shifted:
        return splits
    origin = f"{splits.origin}, those of training shifted"
    return dataclasses.replace(splits, train=_shifted(splits.train), origin=origin)


def _shifted(digits: ImageSet) -> ImageSet:
    """Every image once for each shift down and to the right; what is shifted out is margin."""
    places = [(down, right) for down in SHIFTS for right in SHIFTS]
    images = np.concatenate([np.roll(digits.images, place, axis=(1, 2)) for place in places])
    return ImageSet(images, np.tile(digits.labels, len(places)), digits.class_names)
