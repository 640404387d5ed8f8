"""The types of a configuration's fields: those of their defaults."""

from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit.config.fields import (
    fields,
)
from multimodal_vit.config.versions import new_places
from multimodal_vit.errors import hint


def is_like(value: Any, default: Any) -> bool:
    """Whether a value has the type of a field's default; a whole number is a number too."""
    if isinstance(default, tuple):
        return isinstance(value, (tuple, list))
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def kind_of(default: Any) -> str:
    """A type in words."""
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    return names.get(type(default), "a tuple of values")


def type_problems(config: ConfigDict, like: ConfigDict, also: Sequence[str] = ()) -> Iterator[str]:
    """Yields a line for every field that is missing, unknown, or of another type.

    Args:
      config: what is checked.
      like: has the fields, with values of their types.
      also: fields that may be there too, and groups with anything in them.
    """
    found, known = fields(config), fields(like)
    groups = [group for group, part in like.items() if isinstance(part, ConfigDict)]
    absent = {group for group in groups if group not in config and group not in also}
    for group in sorted(absent):
        yield f"the group {group} is missing; start from multimodal_vit.config.small(), say"
    for field, default in known.items():
        if field.partition(".")[0] in absent:
            continue
        if field not in found:
            yield f"{field} is missing; its default is {default!r}"
        elif not is_like(found[field], default):
            yield f"{field}={found[field]!r} must be {kind_of(default)}, such as {default!r}"
    for field in found.keys() - known.keys():
        if not any(field == name or field.startswith(name + ".") for name in also):
            if places := list(new_places(field)):
                yield f"{field} is now {' and '.join(places)}; set that"
            else:
                yield f"{field} is no field of a configuration{hint(field, known)}"
