"""The 1,797 handwritten digits inside scikit-learn: real data that needs no file and no network."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.splitting import split
from multimodal_vit.errors import UserError, hint

SIZE = 28
NAMES = ("digits", "varied_digits")
# Of "varied_digits":
INNER_SIZE = 20  # in a black margin, as MNIST's digits are
NUM_VARIANTS = 9  # of each training digit, itself included
# The most that a variant is shifted, turned, scaled (factors e^±0.1) and slanted.
MAX_SHIFT, MAX_DEGREES, MAX_LOG_SCALE, MAX_SLANT = 2.0, 10.0, 0.1, 0.1
_SEED = 0  # of the variants: they are data, the same in every run


def load(name: str = "digits", directory: Path | None = None, cache: Path | None = None) -> Splits:
    """Returns the UCI optical digits, resized from 8×8 to 28×28 by bicubic interpolation.

    The folders are those of every source and are not used. The source has no test part; the split
    rule takes the last seventh, so the test digits come from other writers than most of the rest.

    "varied_digits" are the same digits in the same parts, 20×20 in a black margin. Each training
    digit is there nine times: as it is, and eight times shifted by up to 2 pixels, turned by up to
    10 degrees, slanted and scaled by up to a tenth. Those of validation and test are as they are.

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
    side = INNER_SIZE if name == "varied_digits" else SIZE
    resized = [Image.fromarray(i).resize((side, side), Image.Resampling.BICUBIC) for i in small]
    margin = (SIZE - side) // 2
    images = np.pad(np.stack(resized), ((0, 0), (margin, margin), (margin, margin)))
    names = tuple(str(i) for i in bunch.target_names)
    image_set = ImageSet(images[..., None], bunch.target.astype(np.int32), names)
    splits = split(image_set, None, "scikit-learn digits", rule="order")
    if name == "digits":
        return splits
    varied = _with_variants(splits.train, small[: len(splits.train)])
    return dataclasses.replace(splits, train=varied, origin="scikit-learn digits, varied")


def _with_variants(digits: ImageSet, small: np.ndarray) -> ImageSet:
    """The digits, and `NUM_VARIANTS` - 1 times their variants, from images uint8 [N, 8, 8]."""
    rng = np.random.default_rng(_SEED)
    parts = [digits.images]
    for _ in range(NUM_VARIANTS - 1):
        variants = np.stack([_variant(Image.fromarray(image), rng) for image in small])
        parts.append(variants[..., None])
    labels = np.tile(digits.labels, NUM_VARIANTS)
    return ImageSet(np.concatenate(parts), labels, digits.class_names)


def _variant(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """An affine map of an image of 8×8 into one of 28×28, drawn uniformly: uint8 [28, 28]."""
    angle = np.deg2rad(rng.uniform(-MAX_DEGREES, MAX_DEGREES))
    scale = INNER_SIZE / image.width * np.exp(rng.uniform(-MAX_LOG_SCALE, MAX_LOG_SCALE))
    slant = rng.uniform(-MAX_SLANT, MAX_SLANT)
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)[::-1]  # to the right and down
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(scale * turn @ [[1, slant], [0, 1]])  # Pillow asks where from
    (a, b), (d, e) = inverse
    c, f = image.width / 2 - inverse @ (SIZE / 2 + shift)
    shape, how = (SIZE, SIZE), Image.Transform.AFFINE
    return np.asarray(image.transform(shape, how, (a, b, c, d, e, f), Image.Resampling.BICUBIC))
