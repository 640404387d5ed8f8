"""A page that runs the model in a browser: one folder, for any static server."""

import json
import shutil
import subprocess
import tarfile
from importlib import resources
from pathlib import Path

import numpy as np

from multimodal_vit.data import Splits, default_cache_directory
from multimodal_vit.errors import UserError
from multimodal_vit.export import onnx_file
from multimodal_vit.probes.maps import patch_grid
from multimodal_vit.use import Model

FOLDER = "web"
RUNTIME = "1.30.0"  # of onnxruntime-web, from npm
# What the page needs of it: one thread, on the processor; no special headers of the server.
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAGE_FILES = ("index.html", "style.css", "page.js", "fitting.js")
EXAMPLES_OF_EACH = 6  # test images of each class that the page can show
_SECONDS = 300


def check_installed() -> None:
    """Raises a `UserError` unless a page can be made here."""
    onnx_file.check_installed()
    if shutil.which("npm") is None and not _cached().is_file():
        raise UserError(
            "--formats=web takes onnxruntime-web from npm, which is not installed; install Node.js "
            "with npm, or take --formats=onnx"
        )


def write(model: Model, splits: Splits, folder: Path) -> None:
    """Writes all but the model's ONNX file, which lies there already.

    Args:
      model: the model.
      splits: its data, for test images to take.
      folder: of the page.

    Raises:
      UserError: it reads other than words and one grid of images, or npm cannot be reached.
    """
    if model.reads != {"image", "words"} or model.task.classifies:
        raise UserError(
            f"a page asks whether a text names images; the model reads "
            f"{' and '.join(sorted(model.reads))}"
            f"{' and only tells classes' if model.task.classifies else ''}. Take --formats=onnx"
        )
    page = resources.files("multimodal_vit.export") / "page"
    for name in PAGE_FILES:
        (folder / name).write_bytes((page / name).read_bytes())
    (folder / "model.json").write_text(json.dumps(_description(model, splits)), encoding="utf-8")
    _runtime(folder)


def _description(model: Model, splits: Splits) -> dict[str, object]:
    """What the page must know: names, shapes, what pictures look like, test images."""
    height, width, channels = model.task.image_shape
    places = np.concatenate(
        [
            np.flatnonzero(splits.test.labels == label)[:EXAMPLES_OF_EACH]
            for label in range(len(model.class_names))
        ]
    )
    appearance = model.about.appearance
    return {
        "name": model.config.name,
        "origin": model.origin,
        "classNames": model.class_names,
        "grid": model.task.grid,
        "imageShape": [height, width, channels],
        "patches": patch_grid(model.objective.model, model.task),
        "numMatchOutputs": model.config.model.num_match_outputs,
        "appearance": {
            "kind": appearance.kind,
            "paper": appearance.paper,
            "ink": appearance.ink,
            "longSide": appearance.long_side,
            "centre": appearance.centre,
            "centred": appearance.centred,
        },
        "examples": {
            "labels": splits.test.labels[places].tolist(),
            "images": [image.reshape(-1).tolist() for image in splits.test.images[places]],
        },
    }


def _cached() -> Path:
    return default_cache_directory() / "npm" / f"onnxruntime-web-{RUNTIME}.tgz"


def _runtime(folder: Path) -> None:
    """Puts the files of onnxruntime-web into a folder; the package is kept in the cache."""
    package = _cached()
    if not package.is_file():
        _fetch(package)
    try:
        with tarfile.open(package) as archive:
            for name in RUNTIME_FILES:
                member = archive.extractfile(f"package/dist/{name}")
                if member is None:
                    raise KeyError(name)
                (folder / name).write_bytes(member.read())
    except (tarfile.TarError, KeyError, EOFError) as error:
        package.unlink(missing_ok=True)
        raise UserError(
            f"{package} was damaged ({error}) and is removed; start again, which fetches it anew"
        ) from error


def _fetch(package: Path) -> None:
    package.parent.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", f"onnxruntime-web@{RUNTIME}", "--silent", "--pack-destination"]
    try:
        subprocess.run(
            [*command, str(package.parent)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.SubprocessError, OSError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise UserError(
            f"npm could not fetch onnxruntime-web {RUNTIME} ({lines[-1] if lines else error}); "
            "look at the network, or take --formats=onnx"
        ) from error
    if not package.is_file():
        raise UserError(f"npm wrote no {package}; take --formats=onnx")
