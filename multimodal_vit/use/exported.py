"""The folder of an exported model: its parameters as safetensors, and what they are made for."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from multimodal_vit import component_files
from multimodal_vit import config as configuration
from multimodal_vit.about_data import AboutData
from multimodal_vit.config_file import source
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import read_json, write_json
from multimodal_vit.use.model import Model

WEIGHTS, DESCRIPTION, REPEAT = "model.safetensors", "config.json", "repeat.py"
FORMAT = "multimodal_vit model"
FORMAT_VERSION = 1


def save(model: Model, folder: Path) -> None:
    """Writes what `load` reads, and beside it the configuration as a file."""
    config = configuration.changed(model.config, {"data.directory": ""})
    save_description(folder, config, model.about, model.origin)
    save_weights(model.variables, folder / WEIGHTS)
    shutil.copymode(folder / DESCRIPTION, folder / WEIGHTS)  # safetensors lets its owner alone read
    text = source(config, f"The configuration of the training: {model.origin}.")
    (folder / REPEAT).write_text(text, encoding="utf-8")


def save_weights(variables: Mapping[str, Any], path: Path) -> None:
    """Writes all arrays, each under its path, such as "params/fusion/encoder/norm/scale"."""
    arrays = {
        name: np.ascontiguousarray(array)
        for name, array in flatten_dict(variables, sep="/").items()
    }
    save_file(arrays, path, metadata={"format": FORMAT})


def load_weights(path: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    """Reads what `save_weights` wrote.

    Args:
      path: of the file.
      like: the variables' shapes and dtypes.

    Raises:
      DamagedError: it cannot be read, or is of another model.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{path} cannot be read ({error}); put it back from a copy") from error
    wanted = flatten_dict(like, sep="/")
    for name, array in wanted.items():
        own = found.get(name)
        if own is None or own.shape != array.shape or own.dtype != array.dtype:
            came = "nothing" if own is None else f"{own.dtype} {list(own.shape)}"
            raise DamagedError(
                f"{path} is of another model: {name} is {came}, where {array.dtype} "
                f"{list(array.shape)} belongs"
            )
    return unflatten_dict({name: found[name] for name in wanted}, sep="/")


def save_description(folder: Path, config: ConfigDict, about: AboutData, origin: str) -> None:
    """Writes what the model is made of and what it must know of its data; and the sources."""
    component_files.keep(config.components, folder)
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "origin": origin,
        "class_names": about.class_names,  # where hubs and people look for them
        "image_shape": about.image_shape,
        "data": about.to_json() | {"origin": without_folders(about.origin)},
        "experiment": configuration.to_json(config),
    }
    write_json(folder / DESCRIPTION, content)


def without_folders(origin: str) -> str:
    """Where data come from, without the folders of the machine that it was written on."""
    return re.sub(r"(?<=[\s(])[/~][^,)]*/", "…/", origin)


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model, and no run."""
    return (folder / WEIGHTS).is_file() and not (folder / "checkpoints").exists()


def load_description(folder: Path, trust_components: bool) -> tuple[ConfigDict, AboutData, str]:
    """Reads what `save_description` wrote.

    Returns:
      The configuration, what is known of the data, and where the parameters come from.

    Raises:
      UserError: of a newer version, or made of components that may not be executed.
      DamagedError: it is not as it was written.
    """
    path = folder / DESCRIPTION
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; put it back from a copy") from error
    if content.get("format") != FORMAT:
        raise DamagedError(f"{path} describes no model that this program exported")
    if content.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {content.get('format_version')}; this program reads "
            f"{FORMAT_VERSION}. Use the version of the program that wrote it"
        )
    try:
        config = configuration.from_json(content["experiment"]["config"], path)
        about = AboutData.from_json(content["data"], path)
        origin = str(content["origin"])
    except KeyError as error:
        raise DamagedError(f"{path} is damaged: {error} is missing") from error
    component_files.load_kept(config.components, folder, trust_components)
    return configuration.settled(config), about, origin
