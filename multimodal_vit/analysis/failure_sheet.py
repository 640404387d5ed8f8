"""Failed checks as pictures: before and after the change, with an arrow from one to the other."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from multimodal_vit import sampler
from multimodal_vit.analysis.drawing import (
    BLUE,
    ORANGE,
    RED,
    SMALL,
    WIDE,
    names_as_text,
    shortened,
)
from multimodal_vit.analysis.sheets import (
    COLUMNS,
    draw_pair,
    height_by_width,
    in_reading_order,
    panels_for,
    wrapped,
)
from multimodal_vit.suites import all_checks

NO_CHANGE = "contradicts its class outputs"  # of a pair called true
MOST = 2  # of each check


@dataclasses.dataclass(frozen=True)
class Failure:
    """A pair that fails a check.

    Attributes:
      check: its name.
      must: what the answer must do, in words.
      images: uint8 [H, W, C] each: before and after the change, or one alone where nothing changes.
      words: int [n] each, the texts.
      labels: int [n] each, what the images show.
      probabilities: of "true", as the model says.
    """

    check: str
    must: str
    images: tuple[np.ndarray, ...]
    words: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    probabilities: tuple[float, ...]

    def changed(self, grid: tuple[int, int]) -> tuple[list[int], list[int]]:
        """The positions whose word and whose image is another after the change."""
        if len(self.images) < 2:
            return [], []
        words = np.flatnonzero(self.words[0] != self.words[1])
        before, after = np.asarray(sampler.cells(np.stack(self.images), grid))  # (n, h, w, C) each
        images = np.flatnonzero((before != after).any(axis=(1, 2, 3)))
        return words.tolist(), images.tolist()

    def right(self, when: int) -> bool:
        """Whether an answer is right."""
        is_true = bool((self.words[when] == self.labels[when]).all())
        return (self.probabilities[when] > 0.5) == is_true


@names_as_text()
def failure_sheet(
    found: Sequence[Failure], grid: tuple[int, int], class_names: tuple[str, ...]
) -> Figure:
    """Draws failed checks, two in a row, each before and after its change.

    A wrong answer has a cross; frames are around what changed.
    """
    width = WIDE / COLUMNS
    both = [failure for failure in found if len(failure.images) > 1]
    alone = [failure for failure in found if len(failure.images) == 1]
    cells = [(failure, when) for failure in both for when in (0, 1)]
    cells += [(failure, 0) for failure in alone]  # last, so that no place before it stays empty
    titles, captions = [], []
    for failure, when in cells:
        heading = failure.must if when else failure.check
        told = "" if len(failure.images) == 1 else ("before: ", "after: ")[when]
        text = in_reading_order(failure.words[when], grid, class_names, width)
        titles.append(f"{wrapped([heading], width)}\n{told}{text}")
        captions.append(wrapped(_judged(failure, when, grid, class_names), width))
    columns = min(COLUMNS, len(cells))
    height = 0.9 * width * height_by_width(found[0].images[0].shape, grid)
    figure, panels = panels_for(titles, captions, columns, width, height)
    for axes, (failure, when), title, caption in zip(panels, cells, titles, captions, strict=True):
        marked = set().union(*failure.changed(grid)) if when else set()
        draw_pair(axes, failure.images[when], grid, dict.fromkeys(marked, ORANGE))
        axes.set_title(title, fontsize=SMALL, pad=4)
        right = failure.right(when) and failure.must != NO_CHANGE
        axes.set_xlabel(caption, fontsize=SMALL, color=BLUE if right else RED)
        if when:
            arrow = axes.annotate(
                "", xy=(-0.01, 0.5), xytext=(-0.13, 0.5), xycoords="axes fraction",
                arrowprops={"arrowstyle": "-|>", "color": ORANGE, "linewidth": 2},
                annotation_clip=False,
            )  # fmt: skip
            arrow.set_in_layout(False)
    return figure


def _judged(
    failure: Failure, when: int, grid: tuple[int, int], class_names: tuple[str, ...]
) -> list[str]:
    """What is true of a pair, what the model says, and what changed, in lines."""
    p = failure.probabilities[when]
    is_true = (failure.words[when] == failure.labels[when]).all()
    mark = " ✓" if failure.right(when) else " ✗ wrong"
    if failure.must == NO_CHANGE:
        mark = "\n✗ contradicts its classes"
    says = f"says {'true' if p > 0.5 else 'false'}, p = {max(p, 1 - p):.3f}"
    lines = [f"the text is {'true' if is_true else 'false'}", *f"{says}{mark}".split("\n")]
    if when:
        words, images = failure.changed(grid)
        for i in words:
            before, after = (shortened(class_names[text[i]]) for text in failure.words)
            lines.append(f"changed: word {i + 1}, {before} → {after}")
        if len(images) == len(failure.words[when]):
            lines.append("changed: every image")
        elif images:
            places = ", ".join(str(i + 1) for i in images)
            lines.append(f"changed: image {places}")
    return lines


def failures_in(evidence: Mapping[str, np.ndarray]) -> list[Failure]:
    """Up to two failures of every check, from what a run keeps; see `probes.answers.Probed`."""
    must = {name: f"it must {check.must}" for name, check in all_checks().items()}
    found = []
    for check in [*must, "consistent"]:
        times = [when for when in ("before", "after") if f"{check}/{when}/image" in evidence]
        for i in range(MOST):
            if not times or i >= len(evidence[f"{check}/{times[0]}/image"]):
                break
            image, words, labels, probability = (
                tuple(evidence[f"{check}/{when}/{name}"][i] for when in times)
                for name in ("image", "words", "labels", "probability")
            )
            asked = must.get(check, NO_CHANGE)
            found.append(
                Failure(check, asked, image, words, labels, tuple(map(float, probability)))
            )
    return found
