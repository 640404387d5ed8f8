"""What the pictures of a data set look like, measured: ink on paper of one tone, or whole pictures.

A model knows the pictures of its training alone. Of ink on paper it knows one polarity, one size
and one place; a photograph of the same sign, resized as it is, has another of each.
"""

import dataclasses
from typing import Any, Self

import numpy as np

INK = 0.25  # of the strongest ink of a picture: above it a pixel belongs to what is drawn
NEAR = 0.1  # of the range from black to white: as near to the paper's tone is paper
ALIKE = 0.95  # of the pictures, or of their contrast, must be so
AT_MOST = 5_000  # pictures are measured, evenly from all


@dataclasses.dataclass(frozen=True)
class Appearance:
    """What the pictures of a data set have in common.

    Attributes:
      kind: "ink": what is drawn on paper of one tone; "whole": none of this is known.
      paper: the tone of the paper, from 0 (black) to 1 (white).
      ink: the tone of the strongest ink.
      long_side: of the box around the ink, in pixels, the median.
      centre: of the ink, down and to the right, in pixels from the upper left corner.
      centred: what lies there: "mass", the ink's centre of mass, or "box", the centre of its box.
    """

    kind: str = "whole"
    paper: float = 0.0
    ink: float = 1.0
    long_side: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)
    centred: str = "box"

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """What `dataclasses.asdict` gave, read from JSON."""
        return cls(**saved | {"centre": tuple(saved["centre"])})

    def describe(self) -> str:
        """One line for people."""
        if self.kind == "whole":
            return "whole pictures, without a paper of one tone"
        tone = "light ink on dark paper" if self.ink > self.paper else "dark ink on light paper"
        y, x = self.centre
        return f"{tone}, {self.long_side:.1f} px long, {self.centred} centred at ({y:.1f}, {x:.1f})"


def measure(images: np.ndarray) -> Appearance:
    """Measures the pictures of a training part.

    They are ink on paper where they are grey, `ALIKE` of them have the same tone at their border
    (its median), and `ALIKE` of the contrast to it lies on one side. So are MNIST, Fashion-MNIST
    and the digits; photographs are not. Where the ink is centred by its mass and where by its box
    is measured too: it is that which varies less (MNIST: mass; Fashion-MNIST: box).

    Args:
      images: uint8 [N, H, W, C].

    Returns:
      Rounded to 3 decimals.
    """
    places = np.linspace(0, len(images) - 1, min(len(images), AT_MOST)).astype(int)
    images = images[places]
    if (images != images[..., :1]).any():
        return Appearance()
    tones = images[..., 0] / 255  # (N, H, W)
    borders = np.median(border_of(tones), axis=-1)  # (N,)
    paper = float(np.median(borders))
    contrast = tones - paper
    sides = np.maximum(contrast, 0).sum(), np.maximum(-contrast, 0).sum()
    alike = (np.abs(borders - paper) < NEAR).mean()
    if alike < ALIKE or max(sides) < max(ALIKE * sum(sides), 1e-9):
        return Appearance()
    sign = 1.0 if sides[0] > sides[1] else -1.0
    ink = np.maximum(sign * contrast, 0)
    strongest = ink.max(axis=(1, 2))
    drawn = strongest > NEAR  # of empty pictures nothing is measured
    if not drawn.any():
        return Appearance()
    ink = ink[drawn] / strongest[drawn, None, None]
    top, bottom = extent((ink > INK).any(axis=2))
    left, right = extent((ink > INK).any(axis=1))
    centres = {
        "mass": centre_of_mass(ink),
        "box": np.stack([top + bottom, left + right], axis=-1) / 2,  # (N, 2)
    }
    centred = min(centres, key=lambda name: float(centres[name].var(axis=0).sum()))
    y, x = centres[centred].mean(axis=0)
    return Appearance(
        "ink",
        round(paper, 3),
        round(paper + sign * float(np.median(strongest)), 3),
        round(float(np.median(np.maximum(bottom - top, right - left))), 3),
        (round(float(y), 3), round(float(x), 3)),
        centred,
    )


def border_of(tones: np.ndarray) -> np.ndarray:
    """The pixels of the outermost rows and columns: [..., H, W] to [..., 2·H + 2·W]."""
    sides = tones[..., 0], tones[..., -1], tones[..., 0, :], tones[..., -1, :]
    return np.concatenate(sides, axis=-1)


def extent(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where bool [..., L] is first true, and one behind where it is last; both int [...]."""
    return there.argmax(axis=-1), there.shape[-1] - there[..., ::-1].argmax(axis=-1)


def centre_of_mass(ink: np.ndarray) -> np.ndarray:
    """Down and to the right, in pixels from the upper left corner: [..., H, W] to [..., 2]."""
    H, W = ink.shape[-2:]
    down = (ink.sum(axis=-1) * (np.arange(H) + 0.5)).sum(axis=-1)
    right = (ink.sum(axis=-2) * (np.arange(W) + 0.5)).sum(axis=-1)
    return np.stack([down, right], axis=-1) / ink.sum(axis=(-2, -1))[..., None]
