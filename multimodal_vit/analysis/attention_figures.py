"""Pictures of where a model looks and what it uses, drawn from an `AttentionResult`.

Every function returns a `Figure` in matplotlib's current style (see `pages.themed`). Bright is much
attention, dark is none; of what hiding does, no colour is no effect.
"""

import textwrap
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter

from multimodal_vit.analysis.drawing import (
    BLUE,
    GREEN,
    HALF,
    RED,
    SMALL,
    TEXT,
    TINY,
    WIDE,
    shortened,
)
from multimodal_vit.analysis.overlays import (
    add_colorbar,
    draw_amounts,
    draw_changes,
    draw_image,
    explain_frames,
    height_by_width,
    outline_quadrant,
    write_quadrants,
)
from multimodal_vit.analysis.sheets import differences
from multimodal_vit.probes.attention import AttentionResult
from multimodal_vit.probes.maps import quadrant_overlap, shares

Direction = Literal["word_to_patch", "patch_to_word"]
LABELS: dict[Direction, str] = {
    "word_to_patch": "share of the word's attention to the image that falls on the patch (bright: "
    "much)",
    "patch_to_word": "share of the patch's attention to the text that falls on the word (bright: "
    "much)",
}
OWN: dict[Direction, str] = {
    "word_to_patch": "own_quadrant_share",
    "patch_to_word": "own_word_share",
}


def attention(result: AttentionResult, direction: Direction, by_head: bool = False) -> Figure:
    """Draws the attention between each word of the true text and the image.

    A column for each word, its own quadrant outlined. A row for each layer, the mean over heads,
    or for each head of the layer that looks at its own most; beside it the own share of all pairs.

    Args:
      result: of a model.
      direction: from words to patches or from patches to words.
      by_head: whether the rows are heads.
    """
    maps, own = _maps(result, direction, 0), np.array(result.numbers[OWN[direction]])
    chosen = _best_layer(result, direction)
    if by_head:
        rows, own, name = maps[chosen], own[chosen], "head"  # (heads, n, P), (heads,)
    else:
        rows, own, name = maps.mean(axis=1), own.mean(axis=1), "layer"  # (L, n, P), (L,)
    words = [shortened(result.class_names[word]) for word in result.example.words[0]]
    ratio = height_by_width(result)
    # The width of a panel in inches: a figure of few words takes half of the page's column.
    side = min(1.8, (WIDE - 1.2) / len(words), 2.4 / ratio)
    figure = Figure(
        figsize=(min(1.2 + side * len(words), WIDE), 1.6 + (side * ratio + 0.1) * len(rows)),
        layout="compressed",
    )
    panels = figure.subplots(len(rows), len(words), squeeze=False)
    limit = _limit(result, direction, rows)
    for i, j in np.ndindex(panels.shape):
        axes = panels[i, j]
        picture = draw_amounts(axes, result, rows[i, j], limit)
        outline_quadrant(axes, result, j)
        if i == 0:
            _name(axes, words[j], side, SMALL if len(words) < 7 else TINY)
    for i, axes in enumerate(panels[:, 0]):
        best = by_head and i == own.argmax()
        axes.set_ylabel(
            f"{name} {i + 1}{' ★' if best else ''}\nown {own[i]:.0%}", rotation=0, ha="right",
            va="center", fontsize=SMALL, fontweight="bold" if best else None, labelpad=8,
        )  # fmt: skip
    label = textwrap.fill(LABELS[direction], int(10 * figure.get_figwidth()))
    if by_head:
        label += "\n★: the head that looks at its own most"
    add_colorbar(figure, picture, panels, label, percent=True, aspect=40)
    explain_frames(figure, wrong=False)
    return figure


def own_shares(result: AttentionResult) -> Figure:
    """The shares of attention between word i and quadrant i, by layer and head, as numbers."""
    chance = result.numbers["chance"]
    tables = [np.array(result.numbers[OWN[direction]]) for direction in OWN]
    titles = ["from word i,\nshare on quadrant i", "from quadrant i,\nshare on word i"]
    layers, heads = tables[0].shape
    figure = Figure(
        figsize=(min(max(HALF, 0.8 + heads), WIDE), 1.9 + 0.48 * layers),
        layout="constrained",
    )
    panels = figure.subplots(1, 2, squeeze=False)
    for axes, table, title in zip(panels[0], tables, titles, strict=True):
        picture = axes.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(table):
            axes.text(
                j, i, f"{value:.0%}", ha="center", va="center", fontsize=TINY,
                color="black" if value > 0.5 else "white",
            )  # fmt: skip
        axes.set_xticks(range(heads), [str(j + 1) for j in range(heads)])
        axes.set_yticks(range(layers), [str(i + 1) for i in range(layers)])
        axes.set_xlabel("head")
        axes.set_title(title, fontsize=SMALL)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0, 0].set_ylabel("layer")
    bar = figure.colorbar(picture, ax=panels, format=PercentFormatter(1.0, decimals=0))
    bar.set_label(f"chance {chance:.0%}")
    bar.ax.axhline(chance, color=RED, linewidth=2)
    return figure


def rollout_and_occlusion(result: AttentionResult) -> Figure:
    """Where the class token's attention comes from, and what hiding parts of the image does.

    Of the example's true text: attention rollout, the quadrants hidden one by one, and a window
    that slides over the image. A blue part speaks for "true": without it the logit is lower.
    """
    example = result.example
    figure = Figure(
        figsize=(WIDE, 1.9 + min(2.8 * height_by_width(result), 5.0)), layout="constrained"
    )
    panels = figure.subplots(1, 3, squeeze=False)[0]
    mass = np.asarray(shares(example.maps.rollout[0]))  # (P,)
    picture = draw_amounts(panels[0], result, mass, mass.max())
    write_quadrants(panels[0], result, [f"{q:.0%}" for q in mass @ _overlap(result)])
    add_colorbar(
        figure,
        picture,
        panels[:1],
        "share of what comes from the image\n(bright: much)",
        percent=True,
    )
    panels[0].set_title("attention rollout from the class token", fontsize=SMALL)
    for axes, change, title in (
        (panels[1], example.quadrants[0].reshape(result.grid), "a quadrant hidden"),
        (panels[2], example.windows[0], "a window hidden"),
    ):
        picture = draw_changes(axes, result, change, np.abs(change).max())
        axes.set_title(title, fontsize=SMALL)
        label = "change of the logit of “true”:\nblue falls, orange rises"
        add_colorbar(figure, picture, [axes], label)
    write_quadrants(panels[1], result, _signed(example.quadrants[0]))
    text = ", ".join(shortened(result.class_names[word]) for word in example.words[0])
    figure.suptitle(
        f"{textwrap.fill(text, 100)}\n{_answer(result, 0)}", fontsize=TEXT,
    )  # fmt: skip
    return figure


def true_and_false(result: AttentionResult) -> Figure:
    """One image with a true text and with a text with one wrong word, side by side.

    For each: the image, what hiding parts of it does, and the attention of the layer that looks at
    its own most, from words to patches and from patches to words, the words in reading order.
    """
    example = result.example
    side = min(2.5 * height_by_width(result), 4.0)  # the height of a picture in inches
    small = min(2.5 * height_by_width(result) * result.grid[0] / result.grid[1], 4.0)  # of its maps
    heights = (side + 0.45, small + 0.4 + 0.17 * result.grid[0])
    figure = Figure(figsize=(WIDE, sum(heights) + 1.0), layout="constrained")
    whole, below = figure.subfigures(2, 1, height_ratios=(sum(heights) + 0.6, 0.4))
    explain_frames(below, wrong=True)
    limits = {d: _limit(result, d, np.stack([_best(result, d, k) for k in (0, 1)])) for d in OWN}
    largest = np.abs(example.windows).max()
    for k, half in enumerate(whole.subfigures(1, 2, wspace=0.04)):
        _half(half, result, k, heights, limits, largest)
    return figure


def _half(
    half: SubFigure,
    result: AttentionResult,
    k: int,
    heights: tuple[float, float],
    limits: dict[Direction, float],
    largest: float,
) -> None:
    """Draws text `k` of the example."""
    example = result.example
    names = [shortened(result.class_names[word]) for word in example.words[k]]
    wrong = np.flatnonzero(example.words[k] != example.labels)
    half.suptitle(
        f"{textwrap.fill(', '.join(names), 52)}\n{_answer(result, k)}",
        fontsize=TEXT, color=RED if len(wrong) else BLUE,
    )  # fmt: skip
    blocks = half.subfigures(2, 2, height_ratios=heights)
    image, occluded = blocks[0, 0].subplots(), blocks[0, 1].subplots()
    draw_image(image, result, grey=False)
    for i in wrong:
        outline_quadrant(image, result, i, RED)
    told = differences(example.words[k], example.labels, result.class_names)
    lines = [textwrap.fill(line, 36) for line in ("the text is false", *told)]
    image.set_title(_padded("\n".join(lines) if told else "the text is true"), fontsize=TINY)
    draw_changes(occluded, result, example.windows[k], largest)
    for i in wrong:
        outline_quadrant(occluded, result, i, RED)
    write_quadrants(occluded, result, _signed(example.quadrants[k]))
    where = "a quadrant (number) or a window\n(blue −, orange +) is hidden"
    occluded.set_title(_padded(f"change of the logit where\n{where}"), fontsize=TINY)
    for block, direction, title in (
        (blocks[1, 0], "word_to_patch", "from each word to the image"),
        (blocks[1, 1], "patch_to_word", "from the image to each word"),
    ):
        layer = f"layer {_best_layer(result, direction) + 1}"
        block.suptitle(
            f"{title},\n{layer}; brightest: {_percent(limits[direction])}", fontsize=TINY
        )
        panels = block.subplots(*result.grid, squeeze=False).flat
        for i, (axes, values) in enumerate(zip(panels, _best(result, direction, k), strict=True)):
            draw_amounts(axes, result, values, limits[direction])
            outline_quadrant(axes, result, i, RED if i in wrong else GREEN)
            name = _name(axes, names[i], 2.2 / result.grid[1], TINY)
            if i in wrong:
                name.set_color(RED)


def _padded(text: str, lines: int = 3) -> str:
    """A title of so many lines, at least, so that pictures side by side are of one size."""
    return "\n" * (lines - 1 - text.count("\n")) + text


def _maps(result: AttentionResult, direction: Direction, k: int) -> np.ndarray:
    """The maps of text `k`, [L, heads, n, P], as `LABELS` says."""
    if direction == "word_to_patch":
        return np.asarray(shares(result.example.maps.word_to_patch[k]))
    return np.asarray(shares(result.example.maps.patch_to_word[k])).swapaxes(-1, -2)


def _best_layer(result: AttentionResult, direction: Direction) -> int:
    return int(np.mean(result.numbers[OWN[direction]], axis=1).argmax())


def _best(result: AttentionResult, direction: Direction, k: int) -> np.ndarray:
    """The mean over heads in the layer that looks at its own most, [n, P]."""
    return _maps(result, direction, k)[_best_layer(result, direction)].mean(axis=0)


def _limit(result: AttentionResult, direction: Direction, maps: np.ndarray) -> float:
    """Where the colours end: no hot patch of many blanks the rest, even attention stays pale."""
    choices = np.prod(result.grid if direction == "patch_to_word" else result.example.patches)
    return min(1.0, max(2 / choices, float(np.quantile(maps, 0.995))))


def _overlap(result: AttentionResult) -> np.ndarray:
    return quadrant_overlap(result.example.patches, result.grid)


def _answer(result: AttentionResult, k: int) -> str:
    probability = result.example.probability[k]
    return f"model: {'true' if probability > 0.5 else 'false'}, p(true) = {probability:.3f}"


def _name(axes: Axes, name: str, inches: float, size: float) -> Text:
    """Titles a panel, in lines that fit its width."""
    letters = max(6, int(120 / size * inches))
    return axes.set_title(
        textwrap.fill(name, letters, break_long_words=False), fontsize=size, pad=2
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.1 else f"{share:.0%}"


def _signed(values: np.ndarray) -> list[str]:
    decimals = 1 if np.abs(values).max() >= 1 else 2
    return [f"{value:+.{decimals}f}".replace("-", "−") for value in values]
