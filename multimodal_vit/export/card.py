"""The model card: what a model is, how well it does, and what it does not do."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import jinja2

from multimodal_vit import __version__
from multimodal_vit.suites import Suite, suites_for
from multimodal_vit.use import Model, exported

CARD = "README.md"
_FIGURES = {
    "match_accuracy": "true/false accuracy",
    "accuracy": "accuracy",
    "class_accuracy": "per-class accuracy",
    "auroc": "AUROC of true against false texts",
}
_NOTHING_SAID = dict.fromkeys(("can", "uses", "bias", "calibration"), "")


def text(
    model: Model, results: Mapping[str, Any] | None, written: Sequence[Any], folder: Path
) -> str:
    """The card, Markdown with the metadata block that hubs read.

    Args:
      model: the model.
      results: of its run, where it is finished.
      written: what lies in the folder, see `writing.Written`.
      folder: where.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("multimodal_vit.export"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters["yaml"] = _quoted
    results = results or {}
    tested = results.get("test", {})
    rows, columns = model.task.grid
    height, width, channels = model.task.image_shape
    page = {
        "name": model.config.name,
        "seed": model.config.seed,
        "origin": model.origin,
        "data": model.about.origin.partition(" (")[0],
        "data_name": model.config.data.name,
        "fingerprint": model.about.fingerprint,
        "classes": ", ".join(model.class_names),
        "grid": f"{rows}×{columns}",
        "num_positions": model.task.num_positions,
        "image": f"{height}×{width}" + (" in colour" if channels == 3 else ""),
        "appearance": model.about.appearance.describe(),
        "fusion": model.config.model.fusion,
        "modalities": ", ".join(model.config.model.modalities),
        "corruption": model.config.task.corruption,
        "classifies": model.task.classifies,
        "test": _figures(tested),
        "example_images": [f"{i + 1}.png" for i in range(model.task.num_positions)],
        "example_text": ", ".join(islice(cycle(model.class_names), model.task.num_positions)),
        "numbers": {about: round(tested[n], 4) for n, about in _FIGURES.items() if n in tested},
        "num_pairs": tested.get("num_pairs", 0),
        "foils": _foils(results.get("suites", {}), suites_for(model.task)),
        "verdict": _NOTHING_SAID | (results.get("verdict") or {}),
        "cost": {name: results.get(name) for name in ("samples_seen", "parameters", "pflop")},
        "versions": results.get("versions", {}),
        "files": [(_shown(one.path, folder), one.num_bytes, one.difference) for one in written],
        "has_weights": (folder / exported.WEIGHTS).is_file(),
        "version": __version__,
    }
    return environment.get_template("card.md.j2").render(page)


def _figures(test: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for name, about in _FIGURES.items():
        if name in test:
            found.append((about, _number(name, test[name]), _between(name, test)))
    return found


def _between(name: str, values: Mapping[str, Any]) -> str:
    interval = values.get("intervals", {}).get(name)
    return "" if interval is None else " – ".join(_number(name, end) for end in interval)


def _number(name: str, value: float) -> str:
    return f"{value:.3f}" if name == "auroc" else f"{value:.2%}"


def _foils(
    asked: Mapping[str, Any], suites: Mapping[str, Suite]
) -> list[tuple[str, str, str, str]]:
    """What becomes of changed pairs: the suite, its AUROC, the interval, the share rejected."""
    found = []
    for name, values in asked.items():
        if "auroc" not in values:
            continue
        rejected = values.get("rejection_rate")
        found.append(
            (
                suites[name].about if name in suites else name,
                _number("auroc", values["auroc"]),
                _between("auroc", values),
                "" if rejected is None else f"{rejected:.1%}",
            )
        )
    return found


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _quoted(value: object) -> str:
    """A text as YAML takes it, whatever signs it has."""
    shown = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{shown}"'
