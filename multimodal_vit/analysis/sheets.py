"""Sheets of pairs: the images of a grid apart, the text above, what is wrong in it by position."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from multimodal_vit import sampler
from multimodal_vit.analysis.drawing import (
    BLUE,
    GREEN,
    RED,
    SMALL,
    WIDE,
    names_as_text,
    shortened,
)

GAP = 0.09  # between the images of a grid, of an image's side
COLUMNS = 4
_LINE = 1.3 * SMALL / 72  # inches of a line of text


@names_as_text()
def sample_sheet(
    images: np.ndarray,
    words: np.ndarray,
    labels: np.ndarray,
    grid: tuple[int, int],
    class_names: tuple[str, ...],
    columns: int = COLUMNS,
    notes: Sequence[str] = (),
    sounds: np.ndarray | None = None,
    judged: bool = True,
) -> Figure:
    """Draws examples of the task with their texts and targets; wrong positions are framed.

    Args:
      images: uint8 [B, H, W, C].
      words: int [B, n], their texts.
      labels: int [B, n], what they show.
      grid: rows and columns of images in each; they are drawn apart, which they are not in the
        data.
      class_names: the K names.
      columns: examples in a row, at most.
      notes: a line below each, if given.
      sounds: float [B, T, F], spectrograms to show beside the images, if given.
      judged: whether it is said below each if its text is true.
    """
    if sounds is not None:
        columns = max(1, columns // 2)
    width = WIDE / columns
    columns = fitting_columns(len(images), columns)
    picture = 0.94 * width / (1 if sounds is None else 2)
    titles = [in_reading_order(text, grid, class_names, width) for text in words]
    captions = []
    for i, (text, shown) in enumerate(zip(words, labels, strict=True)):
        verdict = [] if not judged else ["true"] if (text == shown).all() else ["false"]
        lines = verdict + differences(text, shown, class_names) + list(notes[i : i + 1])
        captions.append(wrapped(lines, width))
    figure, panels = panels_for(
        titles, captions, columns, width, picture * height_by_width(images[0].shape, grid)
    )
    for i, axes in enumerate(panels):
        wrong = np.flatnonzero(words[i] != labels[i])
        draw_pair(axes, images[i], grid, {int(place): RED for place in wrong} if judged else {})
        axes.set_title(titles[i], fontsize=SMALL, pad=4)
        colour = None if not judged else RED if len(wrong) else BLUE
        axes.set_xlabel(captions[i], fontsize=SMALL, **({"color": colour} if colour else {}))
        if sounds is not None:
            _draw_sound(axes, sounds[i], len(words[i]))
    return figure


def differences(words: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """What is wrong in a text, a line for each position: "position 1: says 3, shows 1"."""
    return [
        f"position {i + 1}: says {shortened(class_names[word])}, "
        f"shows {shortened(class_names[label])}"
        for i, (word, label) in enumerate(zip(words, labels, strict=True))
        if word != label
    ]


def apart(image: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """A pasted image with its cells apart; nothing, of alpha 0, lies between them.

    Args:
      image: uint8 [H, W, C] of 1 or 3 channels.
      grid: rows and columns of images.

    Returns:
      uint8 [H', W', 4].
    """
    (cells,) = np.asarray(sampler.cells(image[None], grid))  # (n, h, w, C)
    if cells.shape[-1] != 3:
        cells = np.repeat(cells[..., :1], 3, axis=-1)
    n, height, width, _ = cells.shape
    gap = gap_of(image.shape, grid)
    canvas = np.zeros((grid[0] * (height + gap) - gap, grid[1] * (width + gap) - gap, 4), np.uint8)
    for i in range(n):
        top, left = (place * side for place, side in zip(
            divmod(i, grid[1]), (height + gap, width + gap), strict=True
        ))  # fmt: skip
        canvas[top : top + height, left : left + width, :3] = cells[i]
        canvas[top : top + height, left : left + width, 3] = 255
    return canvas


def gap_of(shape: Sequence[int], grid: tuple[int, int]) -> int:
    """The pixels between cells."""
    return max(1, round(GAP * max(shape[0] // grid[0], shape[1] // grid[1])))


def fitting_columns(count: int, most: int) -> int:
    """The columns, at most so many, that leave the fewest places of the last row empty."""
    return min(range(min(count, most), max(1, most // 2) - 1, -1) or [1], key=lambda c: -count % c)


def height_by_width(shape: Sequence[int], grid: tuple[int, int]) -> float:
    """Height by width of a picture whose cells are apart."""
    gap = gap_of(shape, grid)
    return (shape[0] + gap * (grid[0] - 1)) / (shape[1] + gap * (grid[1] - 1))


def panels_for(
    titles: Sequence[str], captions: Sequence[str], columns: int, width: float, picture: float
) -> tuple[Figure, list[Axes]]:
    """A figure as high as its pictures and lines of text are, and an axes for each example."""
    rows = -(-len(titles) // columns)

    def lines(texts: Sequence[str], row: int) -> int:
        mine = texts[row * columns : (row + 1) * columns]
        return max(text.count("\n") + 1 if text else 0 for text in mine)

    text = sum(lines(titles, row) + lines(captions, row) + 1.2 for row in range(rows)) * _LINE
    figure = Figure(figsize=(width * columns, rows * picture + text), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.04)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    return figure, panels[: len(titles)]


def draw_pair(axes: Axes, image: np.ndarray, grid: tuple[int, int], framed: dict[int, str]) -> None:
    """Draws a pair's image, with frames of some colours around some cells."""
    axes.imshow(apart(image, grid), interpolation="nearest")
    gap = gap_of(image.shape, grid)
    height, width = image.shape[0] / grid[0], image.shape[1] / grid[1]
    for place, colour in framed.items():
        row, column = divmod(place, grid[1])
        corner = column * (width + gap) - 0.5, row * (height + gap) - 0.5
        axes.add_patch(
            Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=2.4,
                      clip_on=False)
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)


def _draw_sound(axes: Axes, sound: np.ndarray, num_words: int) -> None:
    """Draws a spectrogram [T, F] to the right of a picture, with lines between the words."""
    beside = axes.inset_axes((1.04, 0, 1, 1))
    beside.imshow(sound.T, origin="lower", aspect="auto", cmap="magma")
    for word in range(1, num_words):
        beside.axvline(word * len(sound) / num_words - 0.5, color=GREEN, linewidth=0.8)
    beside.set_xticks([])
    beside.set_yticks([])


def letters_in(inches: float) -> int:
    """How many letters fit into a line."""
    return max(10, int(0.96 * inches * 72 / (0.56 * SMALL)))


def wrapped(lines: Sequence[str], inches: float) -> str:
    """Lines of text that fit a width, each in as many as it needs."""
    return "\n".join(textwrap.fill(line, letters_in(inches)) for line in lines)


def in_reading_order(
    text: np.ndarray, grid: tuple[int, int], class_names: Sequence[str], inches: float
) -> str:
    """A text in one line where it is short, else a line for each row of the grid."""
    names = [shortened(class_names[word]) for word in text]
    whole = ", ".join(names)
    if len(whole) <= letters_in(inches) - 10:
        return whole
    rows = [", ".join(names[i : i + grid[1]]) for i in range(0, len(names), grid[1])]
    return wrapped(",\n".join(rows).split("\n"), inches)
