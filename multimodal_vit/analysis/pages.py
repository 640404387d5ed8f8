"""A page as HTML, one self-contained file, and the same in Markdown, with its figures as files.

Strings from data and configurations are escaped. A figure lies in `figures/` as SVG and PNG, and
what it shows as CSV beside it; a table of the page can be taken as CSV too.
"""

import base64
import csv
import dataclasses
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from multimodal_vit.analysis.cells import PageTable
from multimodal_vit.analysis.drawing import COMMON, DARK, HALF, LIGHTER, names_as_text
from multimodal_vit.files import replacing

PIXELS_PER_INCH = 96  # of a page; its text has 16 pixels
PIXELS_OF_TEXT = 16


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure in a page.

    Attributes:
      name: of its files in `figures/`.
      light: a data address for light pages.
      dark: a data address for dark pages.
      text: what a reader who cannot see it is told, and the caption.
      width: at which its letters have a page's size, in the page's own "rem".
      data: a data address of what it shows, as CSV.
    """

    name: str
    light: str
    dark: str
    text: str
    width: float
    data: str

    @property
    def wide(self) -> bool:
        """Whether it takes the page's whole column."""
        return self.width > (HALF + 0.1) * PIXELS_PER_INCH / PIXELS_OF_TEXT


Rows = Iterable[Mapping[str, Any]]
MakeFigure = Callable[[str, Callable[[], Figure], str, Callable[[], Rows]], ReportFigure]


def figures_in(folder: Path) -> MakeFigure:
    """What draws a figure of a page into `figures/`.

    It takes a name, a function that draws, a caption, and a function that gives what is drawn as
    rows of a table.
    """
    (folder / "figures").mkdir(exist_ok=True)

    def figure(
        name: str, draw: Callable[[], Figure], text: str, data: Callable[[], Rows]
    ) -> ReportFigure:
        name = re.sub(r"[^\w-]", "_", name)  # names of data sets can hold anything
        light, dark, inches = themed(draw, folder / "figures", name)
        rows = list(data())
        table = csv_text(list(dict.fromkeys(key for row in rows for key in row)), rows)
        (folder / "figures" / f"{name}.csv").write_text(table, encoding="utf-8")
        width = inches * PIXELS_PER_INCH / PIXELS_OF_TEXT
        return ReportFigure(name, light, dark, text, width, _address("text/csv", table))

    return figure


def themed(draw: Callable[[], Figure], folder: Path, name: str) -> tuple[str, str, float]:
    """Draws a figure for light and dark pages; writes the light one as PNG and SVG.

    Args:
      draw: draws in the current style.
      folder: where `name`.png and `name`.svg go.
      name: of the figure.

    Returns:
      The light and the dark SVG as data addresses, to put into a page, and the width in inches.
    """
    addresses, width = [], 0.0
    for style in ({}, DARK):
        with names_as_text(), mpl.rc_context(COMMON | style):
            figure = draw()
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            svg = buffer.getvalue()
            width = float(figure.get_figwidth())
            if style:
                for colour, lighter in LIGHTER.items():
                    svg = svg.replace(colour.lower(), lighter)
            else:
                (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
                figure.savefig(folder / f"{name}.png", dpi=150, facecolor="white")
        addresses.append(_address("image/svg+xml", svg))
    return addresses[0], addresses[1], width


def csv_text(columns: Sequence[str], rows: Rows) -> str:
    """Rows as CSV; what a row does not know is empty there."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def table_address(table: PageTable) -> str:
    """A page's table as a data address of CSV: its cells as they are shown."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["", *table.columns])
    writer.writerows([name, *cells] for name, _, cells in table.rows)
    return _address("text/csv", file.getvalue())


def _address(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode('ascii')}"


def contents(body: str) -> list[tuple[int, str, str]]:
    """The headings of a page that have a name: their level, name and plain text."""
    found = re.findall(r'<h([23]) id="([^"]+)">(.*?)</h\1>', body, re.DOTALL)
    plain = [unescape(re.sub("<[^>]+>", "", text)) for _, _, text in found]
    return [(int(level), name, text) for (level, name, _), text in zip(found, plain, strict=True)]


def write_pages(folder: Path, template: str, page: Mapping[str, Any]) -> None:
    """Writes `report.html` and `report.md` from the templates of a name."""
    loader = jinja2.PackageLoader("multimodal_vit.analysis")
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    html = jinja2.Environment(loader=loader, autoescape=True, **options)
    markdown = jinja2.Environment(loader=loader, autoescape=False, **options)
    markdown.finalize = _escape_markdown
    filters = {"percent": percent, "p": p_value, "contents": contents, "csv": table_address}
    for environment, ending in ((html, "html"), (markdown, "md")):
        environment.filters |= filters
        with replacing(folder / f"report.{ending}") as file:
            file.write(environment.get_template(f"{template}.{ending}.j2").render(page))


def percent(value: float, digits: int = 2) -> str:
    """A fraction as "97.73 %"; a dash for NaN."""
    return "–" if np.isnan(value) else f"{100 * value:.{digits}f} %"


def p_value(p: float) -> str:
    """A p-value as "p = 0.012" or "p < 0.0001"."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}" if p < 0.1 else f"p = {p:.2f}"


def _escape_markdown(value: object) -> object:
    """Text from data or configuration cannot become markup, unless a template says |safe."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", value.replace("\n", " "))
    return value
