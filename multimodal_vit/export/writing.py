"""Writes a model in several formats into one folder, each whole and compared, or not at all."""

import dataclasses
import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_vit.data import Splits
from multimodal_vit.errors import UserError, hint, way_out
from multimodal_vit.export import card, onnx_file, stablehlo, web
from multimodal_vit.export.pairs import real_pairs
from multimodal_vit.export.program import Inputs, Program, difference, program_of
from multimodal_vit.files import replacing, temporary_folder
from multimodal_vit.use import Model, exported, load


@dataclasses.dataclass(frozen=True)
class Written:
    """One format that was written.

    Attributes:
      name: of the format.
      path: what is to be opened.
      num_bytes: of all its files.
      difference: the largest, of its answers to the model's.
      num_pairs: that were compared.
    """

    name: str
    path: Path
    num_bytes: int
    difference: float
    num_pairs: int


@dataclasses.dataclass(frozen=True)
class Job:
    """What every format is written from."""

    model: Model
    splits: Splits
    pairs: Inputs
    results: dict[str, Any] | None

    @functools.cached_property
    def program(self) -> Program:
        """The model as a function."""
        return program_of(self.model, self.pairs)

    @functools.cached_property
    def expected(self) -> list[np.ndarray]:
        """What it answers to the pairs."""
        return self.program.expected(self.pairs)

    @functools.cached_property
    def onnx(self) -> bytes:
        """Its ONNX file."""
        return onnx_file.converted(self.program)


def _safetensors(job: Job, folder: Path) -> float:
    """Parameters and description; they must be the same bits again."""
    exported.save(job.model, folder)
    again = load(folder, trust_components=True)  # its components are those of the model here
    return difference([again.logits(job.pairs)], [job.model.logits(job.pairs)])


def _stablehlo(job: Job, folder: Path) -> float:
    path = folder / stablehlo.FILE
    stablehlo.write(job.program, path)
    return difference(stablehlo.run(job.program, path, job.pairs), job.expected)


def _onnx(job: Job, folder: Path) -> float:
    path = folder / onnx_file.FILE
    path.write_bytes(job.onnx)
    return difference(onnx_file.run(job.program, path, job.pairs), job.expected)


def _web(job: Job, folder: Path) -> float:
    page = folder / web.FOLDER
    page.mkdir()
    web.write(job.model, job.splits, page)
    return _onnx(job, page)


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
      write: writes into a folder and returns the largest difference to the model's answers.
      opens: what of it is to be opened.
      tolerance: the largest difference that is allowed.
      check: asked before anything is read or written.
    """

    write: Callable[[Job, Path], float]
    opens: str
    tolerance: float
    check: Callable[[], None] = lambda: None


FORMATS = {
    "safetensors": Format(_safetensors, exported.WEIGHTS, 0.0),
    "stablehlo": Format(_stablehlo, stablehlo.FILE, 1e-4),
    "onnx": Format(_onnx, onnx_file.FILE, 1e-4, onnx_file.check_installed),
    "web": Format(_web, f"{web.FOLDER}/index.html", 1e-4, web.check_installed),
}


def export(
    model: Model,
    results: dict[str, Any] | None,
    out: Path,
    formats: Sequence[str],
    directory: str = "",
) -> list[Written]:
    """Writes a model, with a card that says what it does.

    Args:
      model: the model.
      results: of its run, where it is finished.
      out: the folder; it may hold an earlier export, whose files of these formats are replaced.
      formats: keys of `FORMATS`.
      directory: the data folder, where it is not the configured one.

    Returns:
      What was written, in order.

    Raises:
      UserError: an unknown format, a folder of other things, data that are not at hand, or a format
        that cannot be written or answers otherwise; nothing of that one is left.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(
                f"--formats={name} is not one of {', '.join(FORMATS)}{hint(name, FORMATS)}"
            )
        FORMATS[name].check()
    _check_folder(out)
    pairs, splits = real_pairs(model, directory)
    job = Job(model, splits, pairs, results)
    num_pairs = len(next(iter(pairs.values())))
    written: list[Written] = []
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(formats):
            chosen = FORMATS[name]
            with temporary_folder(out) as folder:
                worst = chosen.write(job, folder)
                if not worst <= chosen.tolerance:
                    raise UserError(
                        f"the model as {name} answers otherwise than the model, by up to "
                        f"{worst:.2g}; it is not written. The other formats may serve"
                    )
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                for part in folder.iterdir():
                    _put(part, out)
            written.append(Written(name, out / chosen.opens, size, worst, num_pairs))
        with replacing(out / card.CARD) as file:
            file.write(card.text(model, results, written, out))
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error}); {way_out(error)}") from error
    finally:
        if new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
    return written


def _check_folder(out: Path) -> None:
    known = {card.CARD, exported.DESCRIPTION, *(Path(f.opens).parts[0] for f in FORMATS.values())}
    if out.is_dir() and any(out.iterdir()) and not known & {path.name for path in out.iterdir()}:
        raise UserError(f"--out={out} holds other files; name a new or empty folder")
    if (out / "checkpoints").exists() or (out.exists() and not out.is_dir()):
        raise UserError(f"--out={out} is no folder for an export; name a new or empty one")


def _put(part: Path, out: Path) -> None:
    """Moves a finished file or folder into its place; what was there goes."""
    target = out / part.name
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    part.replace(target)
