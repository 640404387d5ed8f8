"""A picture of one's own, made to look like those of a data set.

The web page does the same in JavaScript (`export/page/fitting.js`): what is changed here is changed
there; tests/test_fitting.py compares them.
"""

import numpy as np

from multimodal_vit.errors import UserError
from multimodal_vit.pictures.appearance import (
    INK,
    NEAR,
    Appearance,
    border_of,
    centre_of_mass,
    extent,
)

FITS = ("auto", "plain")
LONGEST = 256  # pixels of a side, to which larger pictures are made smaller first
LEAST_CONTRAST = 0.08  # between paper and ink, of the range from black to white


def fit(
    pixels: np.ndarray,
    appearance: Appearance,
    shape: tuple[int, int, int],
    how: str = "auto",
    name: str = "the picture",
) -> np.ndarray:
    """Makes a picture look like those that were measured.

    Of ink on paper, what is drawn is cut out, scaled so that the long side of its box is theirs,
    placed where theirs is, and given their tones, whatever the picture's paper, polarity and size.
    The paper's tone is the median of the border; the ink is what differs from it to the side on
    which more does. A picture of the right size that has their paper and polarity stays as it is.
    Other pictures are cut to the shape, in their middle, and resized.

    Args:
      pixels: float [h, w, C] from 0 to 1, C = 1 or 3.
      appearance: of the data set.
      shape: H, W, C of its images.
      how: one of `FITS`; "plain" resizes the whole picture and changes nothing else.
      name: of the picture, for messages.

    Returns:
      uint8 [H, W, C].

    Raises:
      UserError: nothing is drawn in the picture.
    """
    H, W, C = shape
    if how == "auto" and appearance.kind == "ink":
        found = pixels.mean(axis=-1, keepdims=True)
        if found.shape != (H, W, 1) or not _is_like(found[..., 0], appearance):
            found = _fit_ink(pixels.mean(axis=-1), appearance, (H, W), name)[..., None]
    else:
        found = resized(_cut(pixels, H / W) if how == "auto" else pixels, (H, W))
    if found.shape[-1] != C:
        found = np.repeat(found.mean(axis=-1, keepdims=True), C, axis=-1)
    return np.floor(np.clip(found, 0, 1) * 255 + 0.5).astype(np.uint8)


def _is_like(tones: np.ndarray, appearance: Appearance) -> bool:
    """Whether tones [H, W] have the data set's paper, and their ink is on its side."""
    contrast = (tones - appearance.paper) * np.sign(appearance.ink - appearance.paper)
    near = abs(np.median(border_of(tones)) - appearance.paper) < NEAR
    return bool(near and -contrast.min() <= NEAR <= contrast.max())


def _fit_ink(
    tones: np.ndarray, appearance: Appearance, sides: tuple[int, int], name: str
) -> np.ndarray:
    """Tones [h, w] to tones [H, W]."""
    longest = max(tones.shape)
    if longest > LONGEST:
        small = (max(1, int(side * LONGEST / longest + 0.5)) for side in tones.shape)
        tones = resized(tones[..., None], tuple(small))[..., 0]
    contrast = tones - np.median(border_of(tones))
    lighter, darker = np.maximum(contrast, 0), np.maximum(-contrast, 0)
    ink = lighter if (lighter**2).sum() > (darker**2).sum() else darker
    if ink.max() < LEAST_CONTRAST:
        raise UserError(
            f"{name} shows nothing that differs from its border; draw or photograph one sign on "
            "plain paper, with a margin (or take it as it is: fit='plain', --fit=plain)"
        )
    ink = ink / ink.max()
    top, bottom = extent((ink > INK).any(axis=1))
    left, right = extent((ink > INK).any(axis=0))
    step = max(bottom - top, right - left) / appearance.long_side  # pixels of it for one of theirs
    centre = np.array([top + bottom, left + right]) / 2
    if appearance.centred == "mass":
        near = np.zeros_like(ink)  # shadows far from what is drawn have no weight
        near[top:bottom, left:right] = ink[top:bottom, left:right]
        centre = centre_of_mass(near)
    rows, columns = (
        weights(side, of, at - place * step, step)
        for side, of, at, place in zip(sides, ink.shape, centre, appearance.centre, strict=True)
    )
    found = rows @ ink @ columns.T  # (H, W)
    found = found / max(found.max(), 1e-9)
    return appearance.paper + (appearance.ink - appearance.paper) * found


def _cut(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """The largest part in the middle whose height is `ratio` times its width."""
    h, w = pixels.shape[:2]
    height = min(h, max(1, int(w * ratio + 0.5)))
    width = min(w, max(1, int(h / ratio + 0.5)))
    top, left = (h - height) // 2, (w - width) // 2
    return pixels[top : top + height, left : left + width]


def resized(pixels: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """A picture [h, w, C] as [H, W, C]: linear interpolation, without aliasing."""
    rows, columns = (
        weights(side, of, 0.0, of / side, inside=True)
        for side, of in zip(sides, pixels.shape, strict=False)
    )
    return np.einsum("ir,rcd,jc->ijd", rows, pixels, columns, optimize=True)


def weights(
    num_out: int, num_in: int, start: float, step: float, inside: bool = False
) -> np.ndarray:
    """The weights of a resampling along one axis: triangles as wide as a pixel of the result.

    Args:
      num_out: pixels of the result.
      num_in: pixels there are.
      start: where the result begins, in pixels there.
      step: how many of these one of the result takes.
      inside: whether there is nothing outside; else there is 0.

    Returns:
      float64 [num_out, num_in].
    """
    reach = max(step, 1.0)
    centres = start + (np.arange(num_out) + 0.5) * step  # (num_out,)
    distance = np.abs(np.arange(num_in) + 0.5 - centres[:, None]) / reach
    found = np.maximum(1 - distance, 0)
    total = found.sum(axis=1, keepdims=True) if inside else reach
    return found / np.maximum(total, 1e-9)
