"""Maps drawn over the image of a pair: amounts, changes, outlines, numbers, and what they mean.

Amounts glow: where much is, the picture is bright; where nothing is, it is dark, and of the image
a grey shadow stays. Changes tint the image in two colours.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from multimodal_vit.analysis.drawing import GREEN, ORANGE, RED, SKY, SMALL, TINY
from multimodal_vit.probes.attention import AttentionResult

GLOW = "inferno"  # from black to bright, by equal steps of lightness
SHADOW = 0.35  # how bright the image is where nothing glows


def _tint(*stops: tuple[float, str, float]) -> LinearSegmentedColormap:
    """Colours by place, each with its alpha."""
    return LinearSegmentedColormap.from_list(
        "tint", [(place, (*to_rgb(colour), alpha)) for place, colour, alpha in stops]
    )


CHANGE = _tint((0, SKY, 0.85), (0.5, SKY, 0), (0.5, ORANGE, 0), (1, ORANGE, 0.85))


def glow(image: np.ndarray, amounts: np.ndarray, limit: float) -> np.ndarray:
    """An image lit by amounts: the more, the brighter, whatever the image shows there.

    Args:
      image: uint8 [H, W, C].
      amounts: float [rows, columns], not negative, that tile the image evenly.
      limit: the amount that is brightest.

    Returns:
      float64 [H, W, 3], from 0 to 1.
    """
    grey = image.mean(axis=-1, keepdims=True) / 255  # (H, W, 1)
    height, width = image.shape[:2]
    rows = np.arange(height) * amounts.shape[0] // height
    columns = np.arange(width) * amounts.shape[1] // width
    light = np.clip(amounts[np.ix_(rows, columns)] / max(limit, 1e-12), 0, 1)
    heat = mpl.colormaps[GLOW](light)[..., :3]  # (H, W, 3)
    return heat * (0.6 + 0.4 * grey) + SHADOW * grey * (1 - heat)


def height_by_width(result: AttentionResult) -> float:
    """Height by width of the pasted image."""
    height, width = result.example.image.shape[:2]
    return height / width


def draw_image(axes: Axes, result: AttentionResult, grey: bool = True) -> None:
    """Draws the pair's image, in grey or, where it has colours, in these."""
    image = result.example.image
    if grey or image.shape[-1] != 3:
        image = image.mean(axis=-1)
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    _frameless(axes)


def _frameless(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def draw_amounts(
    axes: Axes, result: AttentionResult, values: np.ndarray, limit: float
) -> ScalarMappable:
    """Draws amounts [P] as light over the image."""
    shaped = np.asarray(values).reshape(result.example.patches)
    _frameless(axes)
    axes.imshow(glow(result.example.image, shaped, limit), interpolation="nearest")
    return ScalarMappable(Normalize(0, limit), GLOW)


def draw_changes(
    axes: Axes, result: AttentionResult, change: np.ndarray, largest: float
) -> ScalarMappable:
    """Draws changes of the logit [rows, columns], that tile the image evenly, over it."""
    bound = max(float(largest), 1e-6)
    height, width = result.example.image.shape[:2]
    draw_image(axes, result)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    return axes.imshow(
        change, extent=extent, interpolation="nearest", cmap=CHANGE, vmin=-bound, vmax=bound
    )


def _corner(result: AttentionResult, i: int) -> tuple[float, float, float, float]:
    """Left, top, width and height of quadrant i, in pixels of the image."""
    height, width = np.array(result.example.image.shape[:2]) / result.grid
    row, column = divmod(i, result.grid[1])
    return column * width - 0.5, row * height - 0.5, width, height


def outline_quadrant(axes: Axes, result: AttentionResult, i: int, colour: str = GREEN) -> None:
    """Draws a frame around quadrant i."""
    left, top, width, height = _corner(result, i)
    axes.add_patch(
        Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=1.6)
    )


def write_quadrants(axes: Axes, result: AttentionResult, texts: list[str]) -> None:
    """Writes a text into the corner of each quadrant."""
    for i, text in enumerate(texts):
        left, top, width, height = _corner(result, i)
        axes.text(
            left + 0.03 * width, top + 0.04 * height, text, va="top", fontsize=TINY, color="white",
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "black", "linewidth": 0, "alpha": 0.7},
        )  # fmt: skip


def add_colorbar(
    figure: Figure,
    picture: ScalarMappable,
    panels: object,
    label: str,
    percent: bool = False,
    aspect: float = 25,
) -> Colorbar:
    """Adds the scale of a picture below its panels."""
    style = {"format": PercentFormatter(1.0, decimals=0)} if percent else {}
    bar = figure.colorbar(
        picture, ax=panels, location="bottom", shrink=0.8, aspect=aspect,
        ticks=MaxNLocator(4 if percent else 5), **style,
    )  # fmt: skip
    bar.set_label(label, fontsize=SMALL)
    bar.ax.tick_params(labelsize=TINY)
    bar.ax.set_facecolor("black")  # what lies under the tints in most images
    bar.ax.grid(visible=False)
    return bar


def explain_frames(figure: Figure | SubFigure, wrong: bool) -> None:
    """Says in the figure what its frames are.

    Args:
      figure: in which they are.
      wrong: whether there are frames of wrong words too.
    """
    marks = {GREEN: "the quadrant that the word names"}
    if wrong:
        marks[RED] = "the same of a wrong word"
    handles = [
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linewidth=1.6, label=text)
        for colour, text in marks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=SMALL)
