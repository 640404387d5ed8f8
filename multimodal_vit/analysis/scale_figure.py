"""The strip: what models use, as places on a scale from text alone to where each label stands."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from multimodal_vit.analysis.drawing import BLUE, HALF, SMALL, WIDE

CAPTION = (
    "The readers, which know the right labels and use a part of them, stand at the marks; a model "
    "goes as far along a step as its AUROC on foils that only this step tells apart is above "
    "chance. A point is a run"
)


def strip(scales: Mapping[str, Sequence[dict[str, Any]]], reads_order: Mapping[str, str]) -> Figure:
    """Draws a row for each condition, a point for each run; of a single run with its interval.

    Args:
      scales: by condition, of each run, as `probes.verdict.scale` gives them; the same steps.
      reads_order: by condition, what stands below its name, such as "4 of 5 read in order".
    """
    first = next(iter(scales.values()))[0]
    marks = first["marks"]
    labels = [f"{name}\n{reads_order[name]}" if name in reads_order else name for name in scales]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    width = HALF if longest <= 24 else WIDE * 0.65
    figure = Figure(figsize=(width, 0.7 + 0.5 * len(scales)), layout="constrained")
    axes = figure.subplots()
    for place in range(len(marks)):
        axes.axvline(place, color="0.55", linewidth=1.2, zorder=1)
    for row, mine in enumerate(scales.values()):
        axes.plot([0, len(marks) - 1], [row, row], color="0.6", linewidth=0.8, zorder=1)
        single = len(mine) == 1
        for i, scale in enumerate(mine):
            offset = 0.0 if single else 0.36 * (i / (len(mine) - 1) - 0.5)
            place, (low, high) = scale["place"], scale["interval"]
            axes.errorbar(
                place, row + offset, xerr=[[place - low], [high - place]],
                fmt="D" if single else "o", color=BLUE, markersize=8 if single else 6,
                capsize=3 if single else 0, linewidth=1.4, zorder=3,
            )  # fmt: skip
    axes.set_yticks(range(len(scales)), labels, fontsize=SMALL)
    axes.set_ylim(len(scales) - 0.5, -0.5)
    axes.set_xlim(-0.2, len(marks) - 1 + 0.2)
    axes.set_xticks(range(len(marks)), marks, fontsize=SMALL)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in ("left", "bottom", "top", "right"):
        axes.spines[side].set_visible(False)
    return figure
