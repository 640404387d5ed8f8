"""The 1,797 handwritten digits inside scikit-learn: real data that needs no file and no network."""

from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.splitting import split
from multimodal_vit.errors import UserError

SIZE = 28


def load(name: str = "digits", directory: Path | None = None, cache: Path | None = None) -> Splits:
    """Returns the UCI optical digits, resized from 8×8 to 28×28 by bicubic interpolation.

    The folders are those of every source and are not used. The source has no test part; the split
    rule takes the last seventh, so the test digits come from other writers than most of the rest.

    Raises:
      UserError: another name than "digits".
    """
    if name != "digits":
        raise UserError(
            f"data.source=digits holds the digits and not {name!r}; set --config.data.source=auto "
            "as well, or leave data.name as it is"
        )
    from sklearn.datasets import load_digits  # late: importing scikit-learn takes a second or two

    bunch = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], given as 0 to 16
    resized = [Image.fromarray(i).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for i in small]
    images = np.stack([np.asarray(image) for image in resized])
    names = tuple(str(i) for i in bunch.target_names)
    image_set = ImageSet(images[..., None], bunch.target.astype(np.int32), names)
    return split(image_set, None, "scikit-learn digits", rule="order")
