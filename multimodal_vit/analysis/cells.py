"""Numbers as a page shows them: of one run with its interval, of several seeds with their spread.

Seeds that lie far apart are listed one by one: a mean with a deviation would describe none of them.
"""

import dataclasses
import statistics
from collections.abc import Sequence

from multimodal_vit.evaluate import FAR_APART

Interval = Sequence[float] | None


@dataclasses.dataclass(frozen=True)
class PageTable:
    """A table of a page.

    Attributes:
      caption: above it.
      columns: their headings, after the first.
      rows: of each its name, what it means ("" for nothing to say) and its cells.
      text: whether the cells are words, which stand at the left, and not numbers.
    """

    caption: str
    columns: list[str]
    rows: list[tuple[str, str, list[str]]]
    text: bool = False


def number(value: float, kind: str) -> str:
    """A value as "percent", "points", "auroc" or "logit", without its unit."""
    if kind == "percent":
        return f"{100 * value:.1f}"
    if kind == "points":
        return f"{100 * value:+.1f}"
    return f"{value:+.2f}" if kind == "logit" else f"{value:.3f}"


def cell(values: Sequence[float | None], kind: str, interval: Interval = None) -> str:
    """What a cell says of the runs of a condition; a dash where some run does not know.

    Args:
      values: of each run.
      kind: see `number`.
      interval: of a single run, where it is known.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "–"
    unit = " %" if kind == "percent" else ""
    if len(known) == 1:
        return f"{number(known[0], kind)}{unit}{between(interval, kind)}"
    if kind != "logit" and max(known) - min(known) > FAR_APART:
        return " · ".join(number(value, kind) for value in known) + unit
    mean, spread = statistics.fmean(known), statistics.stdev(known)
    spread = spread if kind in ("auroc", "logit") else 100 * spread
    digits = {"auroc": 3, "logit": 2}.get(kind, 1)
    return f"{number(mean, kind)} ± {spread:.{digits}f}{unit}"


def between(interval: Interval, kind: str) -> str:
    """An interval in brackets, after a space; "" where there is none."""
    if interval is None:
        return ""
    return f" [{number(interval[0], kind)}, {number(interval[1], kind)}]"
