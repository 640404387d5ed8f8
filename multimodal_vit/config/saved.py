"""Configurations as data: saved, read, compared; nothing in a saved one is executed."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit.config.fields import fields, option_slots, settled, thesis
from multimodal_vit.config.versions import brought_up_to_date
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import read_json

FORMAT_VERSION = 1


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The configuration as JSON can hold it, for `load` to read."""
    return {"format_version": FORMAT_VERSION, "config": config.to_dict()}


def load(path: Path) -> ConfigDict:
    """Reads a file that holds what `to_json` returned; nothing in it is executed.

    Raises:
      UserError: not such a file, or of another version.
    """
    try:
        content = read_json(path)
        version, fields = content["format_version"], content["config"]
    except (OSError, DamagedError, KeyError) as error:
        _refuse_newer(_claimed_version(path), path)
        raise DamagedError(
            f"{path} cannot be read as a saved configuration ({error}); a workdir holds the "
            "config.json that training wrote"
        ) from error
    _refuse_newer(version, path)
    return from_json(fields, path)


def _claimed_version(path: Path) -> Any:
    """The version that a file names which is not as this program writes it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["format_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return FORMAT_VERSION


def _refuse_newer(version: Any, path: Path) -> None:
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}; this program reads {FORMAT_VERSION}. Use the "
            "version of the program that wrote it, or another --workdir"
        )


def from_json(fields: dict[str, Any], path: Path) -> ConfigDict:
    """The configuration whose fields were saved; those that came later have their defaults.

    Args:
      fields: the part "config" of what `to_json` returns.
      path: where they were read, to be named.

    Raises:
      UserError: not fields of a configuration.
    """
    config = thesis()
    try:
        new = brought_up_to_date(fields)
        options = {slot.options_field: {} for slot in option_slots()}
        for field in options:
            group, _, name = field.partition(".")
            if name in new.get(group, {}):
                new[group] = dict(new[group])
                options[field] = new[group].pop(name)
        config.lock().update(_with_tuples(new))
        config.unlock()
        for field, given in options.items():
            group, _, name = field.partition(".")
            config[group][name] = ConfigDict(_with_tuples(given), sort_keys=False)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        reason = " ".join(str(error).split())  # ml_collections says some in several lines
        raise UserError(f"{path} is not a configuration of this program: {reason}") from error
    return settled(config)


def _with_tuples(value: Any) -> Any:
    """JSON has lists where configurations have tuples."""
    if isinstance(value, dict):
        return {name: _with_tuples(part) for name, part in value.items()}
    return tuple(_with_tuples(part) for part in value) if isinstance(value, list) else value


# Where the data lies, what is asked afterwards and what is saved do not change what is trained.
FREE_FIELDS = (
    "data.directory",
    "evaluation.suites",
    "evaluation.suite_pairs",
    "evaluation.other_data",
    "evaluation.readouts",
    "train.checkpoint_seconds",
    "train.layout",
    "train.model_devices",
)


def differences(saved: ConfigDict, given: ConfigDict) -> list[str]:
    """A line for each field in which two configurations differ, but for `FREE_FIELDS`."""
    old, new = fields(saved), fields(given)
    return [
        f"{field}: {old.get(field, 'absent')!r} there, {new.get(field, 'absent')!r} given"
        for field in sorted(old.keys() | new.keys())
        if field not in FREE_FIELDS and old.get(field) != new.get(field)
    ]


def lengthens(saved: ConfigDict, given: ConfigDict) -> bool:
    """Whether a configuration is a saved one with more training pairs, and no other difference."""
    longer = given.train.num_samples > saved.train.num_samples
    return longer and len(differences(saved, given)) == 1
