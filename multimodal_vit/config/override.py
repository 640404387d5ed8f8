"""Fields of a configuration set on a command line: --config.FIELD=VALUE."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit.config.edit import changed
from multimodal_vit.config.fields import fields
from multimodal_vit.config.rules import unused
from multimodal_vit.config_messages import parse_value
from multimodal_vit.errors import UserError

_PREFIXES = ("--config.", "-config.")
_OFF = ("--noconfig.", "-noconfig.")


def split(argv: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Parts the fields that are set from the other arguments.

    Returns:
      Field and text of each that is set, in order; and what is left of `argv`.

    Raises:
      UserError: a field without a value.
    """
    found, rest, left = [], [], list(argv)
    while left:
        argument = left.pop(0)
        name, equals, text = argument.partition("=")
        if prefix := next((p for p in _OFF if name.startswith(p)), None):
            found.append((name.removeprefix(prefix), "False"))
        elif prefix := next((p for p in _PREFIXES if name.startswith(p)), None):
            field = name.removeprefix(prefix)
            if not equals:
                named = left and not left[0].startswith("-")
                text = left.pop(0) if named else "True"  # of a field that is True or False
            found.append((field, text))
        else:
            rest.append(argument)
    return found, rest


def overridden(config: ConfigDict, given: Sequence[tuple[str, str]]) -> ConfigDict:
    """A configuration with fields set from texts; a new choice brings its options, in any order.

    Raises:
      UserError: no such field, or a text that is no value of its type.
    """
    if not given:
        return config
    texts = dict(given)
    values: dict[str, Any] = {}
    known = fields(config)
    later = [field for field in texts if field not in known]  # options of what is chosen only now
    for field in texts.keys() - later:
        values[field] = parse_value(texts[field], known[field], field)
    config = changed(config, values)
    known = fields(config)
    values = {field: parse_value(texts[field], known.get(field), field) for field in later}
    config = changed(config, values) if later else config
    if "model" in config:
        for field, names in unused(config).items():
            if field in texts:
                raise UserError(
                    f"--config.{field}={texts[field]} does nothing: none of {names} uses it; leave "
                    "it out"
                )
    return config
