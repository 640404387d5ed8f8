"""Pictures of an answer: what the model saw, where it looked, what it says."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multimodal_vit.analysis.drawing import BLUE, GREEN, RED, names_as_text, shortened
from multimodal_vit.analysis.overlays import glow

MOST_CLASSES = 12  # whose probabilities are drawn: the highest


@names_as_text()
def attention_figure(
    image: np.ndarray, words: Sequence[str], maps: np.ndarray, grid: tuple[int, int]
) -> Figure:
    """Draws where each word looks: bright is much attention; its own quadrant is outlined.

    Args:
      image: uint8 [H, W, C], pasted.
      words: the n words.
      maps: float [n, rows, columns], shares of a word's attention over the patches.
      grid: rows and columns of images.
    """
    figure = Figure(figsize=(2.2 * len(words), 2.7), layout="constrained")
    _draw_words(list(figure.subplots(1, len(words), squeeze=False).flat), image, words, maps, grid)
    figure.supxlabel(_about(maps), fontsize=9)
    return figure


def _about(maps: np.ndarray) -> str:
    """What the brightness and the frames of `_draw_words` mean."""
    return (
        f"Bright: much of the word's attention to the image, at most {_brightest(maps):.0%} on a "
        "patch. Green: the quadrant that the word names."
    )


def _brightest(maps: np.ndarray) -> float:
    """The share that is brightest; attention that is even stays dim."""
    return float(min(1.0, max(maps.max(), 2 / maps[0].size)))


@names_as_text()
def prediction_figure(
    image: np.ndarray,
    words: Sequence[str],
    classes: Mapping[str, float],
    true: float | None,
    maps: np.ndarray | None,
    grid: tuple[int, int],
) -> Figure:
    """Draws an answer.

    Args:
      image: uint8 [H, W, C], what the model saw.
      words: of the text.
      classes: probabilities by name.
      true: the probability that the text is true.
      maps: float [n, rows, columns], where each word looked; None where it is not known.
      grid: rows and columns of images.
    """
    figure = Figure(figsize=(2.2 * (2 + (0 if maps is None else len(words))), 2.9))
    figure.set_layout_engine("constrained")
    widths = [1.2, 1.2] + [1] * (0 if maps is None else len(words))
    panels = list(figure.subplots(1, len(widths), squeeze=False, width_ratios=widths).flat)
    _draw_image(panels[0], image, grid)
    panels[0].set_title("what the model saw", fontsize=9)
    top = sorted(classes, key=lambda name: classes[name], reverse=True)[:MOST_CLASSES]
    names = [name for name in classes if name in top]
    panels[1].barh(range(len(names)), [classes[name] for name in names], color=BLUE)
    panels[1].set_yticks(range(len(names)), [shortened(name) for name in names], fontsize=8)
    panels[1].invert_yaxis()
    panels[1].set_xlim(0, 1)
    panels[1].set_title("probability of each class", fontsize=9)
    if maps is not None:
        _draw_words(panels[2:], image, words, maps, grid)
        figure.supxlabel(_about(maps), fontsize=9)
    text = " ".join(words)
    if true is not None:
        said = f"“{text}” is {'true' if true > 0.5 else 'false'}: probability of true {true:.1%}"
        figure.suptitle(said, color=BLUE if true > 0.5 else RED, fontsize=11)
    return figure


def _draw_image(axes: Axes, image: np.ndarray, grid: tuple[int, int]) -> None:
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
    for row in range(1, grid[0]):
        axes.axhline(row * image.shape[0] / grid[0] - 0.5, color=GREEN, linewidth=0.8)
    for column in range(1, grid[1]):
        axes.axvline(column * image.shape[1] / grid[1] - 0.5, color=GREEN, linewidth=0.8)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_words(
    panels: Sequence[Axes],
    image: np.ndarray,
    words: Sequence[str],
    maps: np.ndarray,
    grid: tuple[int, int],
) -> None:
    height, width = image.shape[0] / grid[0], image.shape[1] / grid[1]
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    for i, (axes, word, values) in enumerate(zip(panels, words, maps, strict=True)):
        axes.imshow(glow(image, values, _brightest(maps)), interpolation="nearest")
        row, column = divmod(i, grid[1])
        left, top = column * width - 0.5, row * height - 0.5
        right, bottom = left + width, top + height
        axes.plot(
            [left, right, right, left, left], [top, top, bottom, bottom, top],
            color=GREEN, linewidth=1.2, clip_on=False,
        )  # fmt: skip
        axes.set_title(f"“{shortened(word)}” looks at", fontsize=9)
        axes.set_xlim(extent[0], extent[1])
        axes.set_ylim(extent[2], extent[3])
        axes.set_xticks([])
        axes.set_yticks([])
