"""Pixels and labels of foreign files: what they may be, and whole numbers made of them.

What is not finite, negative or out of range is refused and never clipped, since it was something
else to whoever wrote it.
"""

from collections.abc import Sequence

import numpy as np

from multimodal_vit.errors import UserError

MAX_CLASSES = 10_000  # beyond it the tables over pairs of classes outgrow memory
MAX_SIDE = 4_096  # pixels, of one image: a grid of four is then a picture of 8,192
_AT_ONCE = 1 << 24  # values that are looked at in one go, to need little memory besides


def as_pixels(values: np.ndarray, where: object) -> np.ndarray:
    """Pixels as uint8, 0 (black) to 255.

    Args:
      values: whole numbers or fractions, 0 to 255; or, where none is above 1, 0 to 1.
      where: the file, to be named.

    Returns:
      uint8, the shape of `values`; the array itself where it has that type.

    Raises:
      UserError: values that are no such numbers.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "biuf":
        raise UserError(f"{where} holds {values.dtype}; pixels are numbers from 0 to 255")
    least, most = _range(values, where, "pixels")
    if least < 0 or most > 255:
        raise UserError(
            f"{where} holds pixels from {least:g} to {most:g}; they must be 0 to 255, or fractions "
            "0 to 1. Scale them before"
        )
    scale = 255.0 if most <= 1 else 1.0
    found = np.empty(values.shape, np.uint8)
    flat, whole = values.reshape(-1), found.reshape(-1)
    for start in range(0, len(flat), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        whole[part] = np.round(flat[part] * scale)
    return found


def as_labels(values: np.ndarray, where: object) -> np.ndarray:
    """Labels as int32 [N].

    Args:
      values: whole numbers [N], of any type.
      where: the file, to be named.

    Raises:
      UserError: values that are no whole numbers from 0 to 2³¹ - 1.
    """
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise UserError(
            f"{where} holds {values.dtype} {list(values.shape)}; labels are one whole number for "
            "each image"
        )
    least, most = _range(values, where, "labels")
    if least < 0 or most > np.iinfo(np.int32).max:
        raise UserError(
            f"{where} holds labels from {least:g} to {most:g}; they must be whole numbers from 0. "
            "Leave images without a class out"
        )
    found = values.astype(np.int32)
    if values.dtype.kind == "f" and (found != values).any():
        broken = values[found != values][0]
        raise UserError(f"{where} holds the label {broken:g}; labels are whole numbers from 0")
    return found


def _range(values: np.ndarray, where: object, what: str) -> tuple[float, float]:
    if values.size == 0:
        return 0, 0
    least, most = values.min().item(), values.max().item()  # NaN if one of them is
    if not np.isfinite([least, most]).all():
        raise UserError(
            f"{where} holds {what} that are no finite numbers (NaN or infinite); mend them, or "
            "leave them out"
        )
    return least, most


def check_class_names(names: Sequence[str], where: object) -> None:
    """Refuses names that do not tell the classes apart, and too many of them.

    Raises:
      UserError: a name twice, an empty one, or more than `MAX_CLASSES`.
    """
    if len(names) > MAX_CLASSES:
        raise UserError(
            f"{where} has {len(names):,} classes; at most {MAX_CLASSES:,} are told apart"
        )
    seen: dict[str, int] = {}
    for label, name in enumerate(names):
        if not name.strip():
            raise UserError(f"{where}: class {label} has no name; give every class one")
        if name in seen:
            raise UserError(
                f"{where} calls both class {seen[name]} and class {label} {name!r}; the words of a "
                "text must tell the classes apart: give each its own name"
            )
        seen[name] = label


def check_picture_size(height: int, width: int, where: object) -> None:
    """Refuses images whose side is larger than `MAX_SIDE`, before they are held in memory.

    Raises:
      UserError: it is.
    """
    if max(height, width) > MAX_SIDE:
        raise UserError(
            f"{where} holds an image of {height}×{width} pixels; the largest side that is read is "
            f"{MAX_SIDE:,}. Make the images smaller"
        )


def listed(names: Sequence[str], at_most: int = 8) -> str:
    """Some names with commas; of many the first, and how many more there are."""
    if len(names) <= at_most:
        return ", ".join(names)
    return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"
