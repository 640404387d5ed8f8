"""A picture from whatever holds one: a file, a PIL image, an array."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from multimodal_vit.errors import UserError, way_out

Picture = str | Path | Image.Image | np.ndarray
MAX_PIXELS = 1 << 26  # of a file: beyond it, it is refused before it is unpacked


def is_picture(value: Any) -> bool:
    """Whether a value is one picture: a path, a PIL image, an array [h, w] or [h, w, 1, 3 or 4]."""
    if isinstance(value, (str, Path, Image.Image)):
        return True
    shape = getattr(value, "shape", ())
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3, 4))


def read(picture: Picture, name: str = "the picture") -> np.ndarray:
    """The pixels of a picture.

    What is transparent is taken to lie on white paper; the orientation that a camera notes is
    applied.

    Args:
      picture: a file that Pillow reads, a PIL image, or an array [h, w] or [h, w, C] with C = 1, 3
        or 4: uint8, or fractions from 0 to 1.
      name: to be named where it is no file.

    Returns:
      float64 [h, w, C] from 0 (black) to 1; C is 1 for grey pictures, else 3.

    Raises:
      UserError: it cannot be read, or holds something else.
    """
    if isinstance(picture, (str, Path)):
        return _of_pil(_open(Path(picture)))
    if isinstance(picture, Image.Image):
        return _of_pil(picture)
    array = np.asarray(picture)
    if not is_picture(array) or 0 in array.shape:
        raise UserError(
            f"{name} is an array {list(array.shape)}; a picture is [h, w] or [h, w, C] with 1, 3 "
            "or 4 channels"
        )
    if array.dtype == np.uint8:
        array = array / 255
    elif array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):
        raise UserError(
            f"{name} holds {array.dtype} from {array.min():g} to {array.max():g}; the values of a "
            "picture are uint8, or fractions from 0 to 1"
        )
    array = np.asarray(array, np.float64)
    return _on_white(array if array.ndim == 3 else array[..., None])


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"{path} has {image.width}×{image.height} pixels; at most {MAX_PIXELS:,} are "
                    "read. Make it smaller"
                )
            image.load()
            return image
    except FileNotFoundError as error:
        raise UserError(f"there is no picture {path}; name a file that is there") from error
    except OSError as error:  # of the disk, or of Pillow: no picture, or a damaged one
        if error.errno is not None:
            raise UserError(f"{path}: {error.strerror}; {way_out(error)}") from error
        raise UserError(
            f"{path} cannot be read as a picture ({' '.join(str(error).split())}); name a PNG or "
            "JPEG file, say"
        ) from error
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as a picture ({error}); it is damaged") from error


def _of_pil(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # 16 bits of grey, which Pillow's "L" would cut off
        return np.asarray(image, np.float64)[..., None] / 65535
    clear = "transparency" in image.info or "A" in image.mode
    grey = image.mode in ("1", "L", "LA", "La", "I", "F")
    mode = ("LA" if clear else "L") if grey else ("RGBA" if clear else "RGB")
    array = np.asarray(image.convert(mode), np.float64) / 255
    if array.ndim == 2:
        array = array[..., None]
    if mode == "LA":
        array = np.repeat(array, (3, 1), axis=-1)
    return _on_white(array)


def _on_white(array: np.ndarray) -> np.ndarray:
    """Colours without a fourth channel, and one channel where all three are alike."""
    if array.shape[-1] == 4:
        array = array[..., :3] * array[..., 3:] + 1 - array[..., 3:]
    if array.shape[-1] == 3 and (array == array[..., :1]).all():
        return array[..., :1]
    return array
