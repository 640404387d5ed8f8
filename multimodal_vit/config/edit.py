"""Configurations changed, and read from files."""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from multimodal_vit import component_files, shipped
from multimodal_vit.config.fields import copied, fields, get, option_owner, option_slots, settled
from multimodal_vit.config_messages import explain_unknown_field
from multimodal_vit.errors import UserError


def from_file(path: str | Path) -> ConfigDict:
    """The configuration in a file, FILE or FILE:PRESET; the file is executed.

    So are the files of components that it names. An experiment that comes with the program is found
    by its name too, such as "mnist_conv:small".

    Raises:
      UserError: no such file.
    """
    file, preset = shipped.find(str(path)), str(path).partition(":")[2]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    with component_files.beside(file.parent):
        spec.loader.exec_module(module)
        config = module.get_config(preset) if preset else module.get_config()
        if isinstance(config, FrozenConfigDict):
            config = ConfigDict(config)
        return prepared(config) if isinstance(config, ConfigDict) else config


def prepared(config: ConfigDict) -> ConfigDict:
    """A configuration, a study's or a search's, its component files loaded, its options settled.

    Args:
      config: stays as it is.

    Raises:
      UserError: a component file cannot be used.
    """
    copy = copied(config)
    for _, experiment in experiments(copy):
        files = experiment.get("components", ())
        if isinstance(files, (tuple, list)) and files:
            experiment.components = component_files.load_all(files)
    _settle(copy)
    return copy


def experiments(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, ConfigDict]]:
    """The experiments in a configuration, by what their fields' dotted names begin with there."""
    if "model" in config and "train" in config:
        yield prefix, config
        return
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from experiments(value, f"{prefix}{name}.")


def _settle(config: ConfigDict) -> None:
    """`settled`, of all experiments in a configuration, in place."""
    for _, experiment in experiments(config):
        for name, group in settled(experiment).items():
            if isinstance(group, ConfigDict):
                experiment[name] = group


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """A copy of a configuration with some fields set.

    Where another component is chosen, its options take the place of the old one's, with their
    default values unless `changes` sets them too; in whatever order.

    Args:
      config: an experiment, a study or a search; stays as it is.
      changes: values by field, such as {"train.weight_decay": 0.0}.

    Raises:
      UserError: no such field, or a value of another type.
    """
    copy = copied(config)
    changes = dict(changes)
    for prefix, _ in experiments(copy):
        if files := changes.get(f"{prefix}components"):
            changes[f"{prefix}components"] = component_files.load_all(files)
    slots = {
        prefix + slot.field: (experiment, slot)
        for prefix, experiment in experiments(copy)
        for slot in option_slots()
    }
    for field in changes.keys() & slots.keys():
        experiment, slot = slots[field]
        group, _, options = slot.options_field.partition(".")
        before = experiment[group].get(options, ConfigDict())
        stays = get(experiment, slot.field) == changes[field]
        kept = {n: o for n, o in before.items() if slot.several and n in changes[field] or stays}
        experiment[group][options] = ConfigDict(kept, sort_keys=False)
        _set(copy, field, changes[field])
    _settle(copy)
    for field in changes.keys() - slots.keys():
        _set(copy, field, changes[field])
    return copy


def _set(config: ConfigDict, field: str, value: Any) -> None:
    if field not in fields(config):
        for prefix, experiment in experiments(config):
            if field.startswith(prefix):
                if owner := option_owner(experiment, field.removeprefix(prefix)):
                    raise UserError(owner)
                break
        raise UserError(explain_unknown_field(field, fields(config)))
    group, _, name = field.rpartition(".")
    try:
        (get(config, group) if group else config)[name] = value
    except TypeError as error:
        raise UserError(f"{field}={value!r}: {error}") from error
