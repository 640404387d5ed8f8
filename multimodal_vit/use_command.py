"""The modes of the command line that use a trained model: predict and export."""

import os
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from multimodal_vit.analysis import drawing
from multimodal_vit.errors import UserError
from multimodal_vit.export.card import CARD
from multimodal_vit.export.writing import FORMATS, export
from multimodal_vit.terminal import show
from multimodal_vit.use import Model, Prediction, load
from multimodal_vit.use.drawing import prediction_figure
from multimodal_vit.use.exported import is_exported
from multimodal_vit.workdir import Workdir

PICTURE = "prediction.png"


def run_use(
    folder: Path, values: flags.FlagValues, console: Console, given: ConfigDict | None = None
) -> int:
    """Predicts or exports, as the flags say; returns the exit code, 0.

    Args:
      folder: of a run, or an exported one.
      values: the flags.
      console: for what is found and written.
      given: a configuration of which only the data directory is taken.

    Raises:
      UserError: the folder, or what is given to the model, cannot be used.
    """
    if values.mode == "export":
        return _export(folder, values, console, given.data.directory if given else "")
    return _predict(folder, values, console)


def _export(folder: Path, values: flags.FlagValues, console: Console, directory: str) -> int:
    """Writes the model of a run in the formats that are asked for."""
    if not values.formats:
        raise UserError(
            f"--mode=export writes what is asked for; give --formats={','.join(FORMATS)}, or some "
            "of these"
        )
    if is_exported(folder) and (not values.out or Path(values.out).resolve() == folder.resolve()):
        raise UserError(
            f"--workdir={folder} is an exported model; name another folder with --out=…, or the "
            "run that it is of"
        )
    model = load(folder, values.trust_components)
    out = Path(values.out) if values.out else folder / "export"
    written = export(model, Workdir(folder).results(), out, values.formats, directory)
    table = Table(title=f"{model.origin}, in {out}", title_justify="left")
    for name in ("format", "open", "size", "largest difference to the model", "pairs compared"):
        table.add_column(name, justify="left" if name in ("format", "open") else "right")
    for one in written:
        size = f"{one.num_bytes / 1e6:,.2f} MB"
        table.add_row(one.name, str(one.path), size, f"{one.difference:.2g}", str(one.num_pairs))
    show(console, table)
    console.print(f"What the model does, and does not do: {out / CARD}", soft_wrap=True)
    return 0


def _predict(folder: Path, values: flags.FlagValues, console: Console) -> int:
    """Prints what the model of a folder says of pictures and a text, and draws it."""
    if not values.images:
        raise UserError(
            "--mode=predict asks about pictures; give --images=a.png,b.png,c.png,d.png and "
            '--text="3 1 4 1", say'
        )
    model = load(folder, values.trust_components)
    images: Any = values.images
    if len(images) == 1 and model.task.num_positions > 1:
        (images,) = images  # one picture that has them all
    texts = values.text if values.text is not None else None
    given = (images, texts) if texts is not None else ([images], None)
    (found,) = model.predict(
        *given, fit=values.fit or "auto", attention=model.returns_attention and texts is not None
    )
    show(console, _table(model, found))
    place = folder if os.access(folder, os.W_OK) else Path()
    maps = None
    if found.attention is not None:
        maps = found.attention.of_words()[0].reshape(-1, *found.attention.patches)
    figure = prediction_figure(
        found.image, found.text, found.classes, found.true, maps, model.task.grid
    )
    drawing.save(figure, place / PICTURE, dpi=110)
    console.print(
        f"What the model saw: {place / PICTURE} (training pictures: "
        f"{model.about.appearance.describe()})",
        soft_wrap=True,
    )
    return 0


def _table(model: Model, found: Prediction) -> Table:
    table = Table(title=model.origin, title_justify="left")
    table.add_column("asked")
    table.add_column("probability", justify="right")
    table.add_column("answer")
    if found.true is not None:
        table.add_row(
            f"“{' '.join(found.text)}” names the images in reading order",
            f"{found.true:.2%}",
            "true" if found.true > 0.5 else "false",
        )
        table.add_section()
    best = max(found.classes, key=lambda name: found.classes[name], default="")
    for name, probability in found.classes.items():
        said = probability > 0.5 if found.true is not None else name == best
        table.add_row(f"an image shows “{name}”", f"{probability:.2%}", "yes" if said else "no")
    return table
