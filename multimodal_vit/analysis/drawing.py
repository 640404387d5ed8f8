"""What all figures share: colours, styles for light and dark pages, sizes, how names are shown.

A page shows a figure at its own size, an inch as 96 pixels, so its letters are of the page's size.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from multimodal_vit.files import replacing

TEXT, SMALL, TINY = 11, 10, 9  # points: a page's own text has 12; nothing is smaller than the last
HALF, WIDE = 4.8, 9.8  # inches: one of two side by side, and the page's column
# Okabe & Ito's colours, told apart by colour-blind readers; line styles tell them apart in grey.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
STYLES = [
    (BLUE, "-", "o"),
    (RED, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (ORANGE, "-", "v"),
    (SKY, "--", "P"),
]
INK_DARK, GRID_DARK = "#e6e6e6", "#3a3d44"
DARK = {
    "text.color": INK_DARK,
    "axes.labelcolor": INK_DARK,
    "axes.edgecolor": "#8a8d94",
    "axes.titlecolor": INK_DARK,
    "xtick.color": INK_DARK,
    "ytick.color": INK_DARK,
    "legend.labelcolor": INK_DARK,
    "grid.color": GRID_DARK,
}
LIGHTER = {BLUE: "#56b4e9", RED: "#f5935a", GREEN: "#2fc99b", PURPLE: "#e3a2c6"}  # on dark pages
COMMON = {
    "figure.facecolor": "none",  # the page's own shines through
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "multimodal_vit",  # the same figure gives the same file
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
}
# Else "$" and "\\" in a name are markup.
PLAIN_TEXT = {"text.parse_math": False, "text.usetex": False}
LONGEST_NAME = 40  # signs of a name in a picture


@contextlib.contextmanager
def names_as_text() -> Iterator[None]:
    """Within it, what is drawn shows every text as it is: no sign of a name is markup.

    A name whose signs the font lacks is drawn with boxes; matplotlib's warnings of each sign, at
    each drawing, are left out (see `names_without_signs`).
    """
    with mpl.rc_context(PLAIN_TEXT), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


def names_without_signs(names: Sequence[str]) -> list[str]:
    """The names with signs that the pictures' fonts lack, as matplotlib finds in drawing them."""
    signs = sorted({sign for name in names for sign in shortened(name) if not sign.isascii()})
    lines = ["".join(signs[i : i + 50]) for i in range(0, len(signs), 50)]
    figure = Figure()
    figure.text(0, 0, "\n".join(lines), parse_math=False, usetex=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FigureCanvasAgg(figure).draw()
    found = (re.match(r"Glyph (\d+) ", str(warning.message)) for warning in caught)
    missing = {chr(int(match[1])) for match in found if match}
    return [name for name in names if not missing.isdisjoint(name)]


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Writes a figure, whole or not at all, in the format that the path's ending names."""
    with names_as_text(), replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), dpi=dpi)


def shortened(name: str) -> str:
    """A name as a picture shows it: in one line, not too long, without signs that nobody sees."""
    seen = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    return seen if len(seen) <= LONGEST_NAME else seen[: LONGEST_NAME - 1] + "…"


def short_number(number: float) -> str:
    """A number as an axis shows it: 55k, 6.4M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def styles() -> list[tuple[str, str, str]]:
    """Colour, line and marker of each condition of a panel."""
    return STYLES * 8
