"""Maps drawn over the image of a pair: amounts, changes, outlines, numbers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from multimodal_vit.analysis.figures import GREEN, ORANGE, SKY
from multimodal_vit.probes.attention import AttentionResult


def _tint(*stops: tuple[float, str, float]) -> LinearSegmentedColormap:
    """Colours by place, each with its alpha."""
    return LinearSegmentedColormap.from_list(
        "tint", [(place, (*to_rgb(colour), alpha)) for place, colour, alpha in stops]
    )


AMOUNT = _tint((0, ORANGE, 0), (1, ORANGE, 0.8))


CHANGE = _tint((0, SKY, 0.85), (0.5, SKY, 0), (0.5, ORANGE, 0), (1, ORANGE, 0.85))


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
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _over(axes: Axes, result: AttentionResult, values: np.ndarray, **style: object) -> AxesImage:
    """Draws values [rows, columns], that tile the image evenly, over it."""
    height, width = result.example.image.shape[:2]
    draw_image(axes, result)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    return axes.imshow(values, extent=extent, interpolation="nearest", **style)


def draw_amounts(
    axes: Axes, result: AttentionResult, values: np.ndarray, limit: float | None
) -> AxesImage:
    """Draws amounts [P] over the image."""
    shaped = values.reshape(result.example.patches)
    return _over(axes, result, shaped, cmap=AMOUNT, vmin=0, vmax=limit)


def draw_changes(
    axes: Axes, result: AttentionResult, change: np.ndarray, largest: float
) -> AxesImage:
    """Draws changes of the logit [rows, columns] over the image."""
    bound = max(float(largest), 1e-6)
    return _over(axes, result, change, cmap=CHANGE, vmin=-bound, vmax=bound)


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
            left + 0.03 * width, top + 0.04 * height, text, va="top", fontsize=9, color="white",
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "black", "linewidth": 0, "alpha": 0.7},
        )  # fmt: skip


def add_colorbar(
    figure: Figure,
    picture: AxesImage,
    panels: object,
    label: str,
    percent: bool = False,
    aspect: float = 25,
) -> Colorbar:
    """Adds the scale of a picture below its panels."""
    style = {"format": PercentFormatter(1.0)} if percent else {}
    bar = figure.colorbar(picture, ax=panels, location="bottom", shrink=0.8, aspect=aspect, **style)
    bar.set_label(label, fontsize=9)
    bar.ax.set_facecolor("black")  # what lies under the tints in most images
    bar.ax.grid(visible=False)
    return bar
