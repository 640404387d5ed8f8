"""A page as HTML, one self-contained file, and the same in Markdown, with its figures as files.

Strings from data and configurations are escaped.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from multimodal_vit.analysis.study_figures import themed
from multimodal_vit.files import replacing


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure in a page.

    Attributes:
      name: of its files in `figures/`.
      light: a data address for light pages.
      dark: a data address for dark pages.
      text: what a reader who cannot see it is told, and the caption.
    """

    name: str
    light: str
    dark: str
    text: str


MakeFigure = Callable[[str, Callable[[], Figure], str], ReportFigure]


def figures_in(folder: Path) -> MakeFigure:
    """What draws a figure of a page, from a name, a function and a caption, into `figures/`."""
    (folder / "figures").mkdir(exist_ok=True)

    def figure(name: str, draw: Callable[[], Figure], text: str) -> ReportFigure:
        name = re.sub(r"[^\w-]", "_", name)  # names of data sets can hold anything
        return ReportFigure(name, *themed(draw, folder / "figures", name), text)

    return figure


def write_pages(folder: Path, template: str, page: Mapping[str, Any]) -> None:
    """Writes `report.html` and `report.md` from the templates of a name."""
    loader = jinja2.PackageLoader("multimodal_vit.analysis")
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    html = jinja2.Environment(loader=loader, autoescape=True, **options)
    markdown = jinja2.Environment(loader=loader, autoescape=False, **options)
    markdown.finalize = _escape_markdown
    for environment, ending in ((html, "html"), (markdown, "md")):
        environment.filters |= {"percent": percent, "p": p_value}
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
