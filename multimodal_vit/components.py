"""Components: what a configuration can name. Slots, options, and where a component comes from.

A slot is a field of a configuration that names a component, such as `model.fusion`. A component is
a class, a function or an object in a file of its own, marked with `component(slot, name)`. Its
options are what it alone can be told: they stand in the field named like the slot with `_options`
behind it, and change with the choice.

Components come from three places: this package, whose slots list theirs in one table, name →
module; installed packages, by the entry point group `multimodal_vit.components`; and files that the
configuration names in `components` (`multimodal_vit.component_files`).
"""

import dataclasses
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from multimodal_vit.errors import UserError, hint

ENTRY_POINTS = "multimodal_vit.components"
BUILT_IN = "built in"
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a component.

    Attributes:
      default: its value where none is given; it also says the type.
      about: what it is, in a few words.
      least: the smallest number allowed.
      most: the largest.
      choices: the values allowed; (): any.
    """

    default: Any
    about: str
    least: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()

    def problem(self, value: Any) -> str:
        """What is wrong with a value of the right type; "" for nothing."""
        if self.choices and value not in self.choices:
            names = [str(choice) for choice in self.choices]
            return f" is not one of {', '.join(names)}{hint(value, names)}"
        if self.least is not None and not value >= self.least:
            return f" is out of range: it must be at least {self.least}"
        if self.most is not None and not value <= self.most:
            return f" is out of range: it must be at most {self.most}"
        return ""


def option(
    default: Any,
    about: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[Any, ...] = (),
) -> Any:
    """An option in a component's class `Options`; see `Option`."""
    return Option(default, about, least, most, choices)


@dataclasses.dataclass(frozen=True)
class Slot:
    """A field that names a component, or several.

    Attributes:
      field: its dotted name in a configuration.
      about: what is chosen there.
      table: "module:NAME", where this package lists its own: name → module, or → the object.
      several: whether the field names any number of components.
      may_be_empty: whether "" is a choice: none.
      has_options: whether its components can have options.
      singular: the field's name for one of several, before `_options`.
    """

    field: str
    about: str
    table: str
    several: bool = False
    may_be_empty: bool = False
    has_options: bool = True
    singular: str = ""

    @property
    def options_field(self) -> str:
        """The field of the options; of several components, a group for each by its name."""
        return f"{self.singular or self.field}_options"

    def built_in(self) -> Mapping[str, Any]:
        """What this package has: name → module, or → the object itself."""
        module, _, name = self.table.partition(":")
        return getattr(importlib.import_module(module), name)


_ALL = (
    Slot("data.source", "where images come from", "multimodal_vit.data:SOURCES"),
    Slot(
        "data.audio", "recordings of the words", "multimodal_vit.data:AUDIO_SOURCES",
        may_be_empty=True,
    ),
    Slot("task.corruption", "how false texts are made", "multimodal_vit.sampler:CORRUPTIONS"),
    Slot(
        "model.modalities", "raw inputs to tokens [B, T, D]",
        "multimodal_vit.models.embeddings:COMPONENTS", several=True, singular="model.modality",
    ),
    Slot("model.stem", "an image before its patches", "multimodal_vit.models.stems:COMPONENTS"),
    Slot(
        "model.fusion", "tokens of all modalities to one summary [B, D]",
        "multimodal_vit.models.fusions:COMPONENTS",
    ),
    Slot("train.objective", "what is trained for", "multimodal_vit.objectives:COMPONENTS"),
    Slot("train.optimizer", "gradients to updates", "multimodal_vit.train.optimizers:COMPONENTS"),
    Slot("train.layout", "how arrays lie on the devices", "multimodal_vit.layout:LAYOUTS"),
    Slot(
        "evaluation.suites", "pairs that show what a model uses", "multimodal_vit.suites:SUITES",
        several=True, has_options=False,
    ),
    Slot(
        "checks", "what must become of answers when pairs change", "multimodal_vit.suites:CHECKS",
        several=True, has_options=False,
    ),
)  # fmt: skip
SLOTS = {slot.field: slot for slot in _ALL}


@dataclasses.dataclass(frozen=True)
class Component:
    """One component.

    Attributes:
      slot: the field that can name it.
      name: its name there.
      target: the class, function or object.
      options: what it can be told, by name.
      origin: `BUILT_IN`, the package or the file that it comes from.
    """

    slot: str
    name: str
    target: Any
    options: Mapping[str, Option]
    origin: str

    @property
    def about(self) -> str:
        """One line of documentation."""
        text = getattr(self.target, "about", None)
        if not isinstance(text, str):
            text = inspect.getdoc(self.target) or ""
        return " ".join(text.partition("\n\n")[0].split())

    @property
    def defaults(self) -> dict[str, Any]:
        """The options' default values."""
        return {name: option.default for name, option in self.options.items()}


_found: dict[tuple[str, str], Component] = {}
_state: dict[str, Any] = {"origin": "", "installed": False}


def component(
    slot: str, name: str, options: Mapping[str, Option] | None = None
) -> Callable[[T], T]:
    """Makes a class, function or object known as a component.

    Args:
      slot: a key of `SLOTS`, such as "model.fusion".
      name: what a configuration calls it.
      options: of a function; a class has a class `Options` in it.

    Raises:
      UserError: no such slot, or another component has this name.
    """
    if slot not in SLOTS:
        raise UserError(f"no slot {slot!r}; there are: {', '.join(SLOTS)}{hint(slot, SLOTS)}")

    def register(target: T) -> T:
        declared = options if options is not None else vars(getattr(target, "Options", object))
        own = {key: value for key, value in declared.items() if isinstance(value, Option)}
        module = getattr(target, "__module__", None) or ""
        named = inspect.isclass(target) or inspect.isroutine(target)  # an object has its class's
        if named and module.startswith("multimodal_vit."):  # imported while another's is read
            origin = BUILT_IN
        else:
            origin = _state["origin"] or f"the module {module}"
        known = _found.get((slot, name))
        taken = known is not None and known.origin != origin
        if taken or (origin != BUILT_IN and name in SLOTS[slot].built_in()):
            other = known.origin if known is not None else BUILT_IN
            raise UserError(
                f"{slot}={name!r} of {origin} has the name of another component ({other}); "
                "rename it"
            )
        _found[slot, name] = Component(slot, name, target, own, origin)
        return target

    return register


class from_origin:  # noqa: N801 (a context manager)
    """Components that are registered within come from `origin`."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def __enter__(self) -> None:
        self.before, _state["origin"] = _state["origin"], self.origin

    def __exit__(self, *_: object) -> None:
        _state["origin"] = self.before


def forget(origin: str) -> None:
    """Takes the components of an origin out again: its file has changed."""
    for key in [key for key, known in _found.items() if known.origin == origin]:
        del _found[key]


def _load_installed() -> None:
    """Imports the components of installed packages, once."""
    if _state["installed"]:
        return
    _state["installed"] = True
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.value
        try:
            with from_origin(f"the package {package}"):
                entry.load()
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"the components of the installed package {package} ({entry.value}) cannot be "
                f"loaded: {reason}. Mend or remove the package"
            ) from error


def names(slot: str) -> list[str]:
    """The components of a slot: built in, then the others."""
    _load_installed()
    built_in = list(SLOTS[slot].built_in())
    return built_in + [name for s, name in _found if s == slot and name not in built_in]


def exists(slot: str, name: str) -> bool:
    """Whether a slot has such a component."""
    return name in SLOTS[slot].built_in() or (slot, name) in _found or name in names(slot)


def get(slot: str, name: str) -> Component:
    """A component by its slot and name.

    Raises:
      UserError: there is none.
    """
    if (slot, name) in _found:
        return _found[slot, name]
    if name not in SLOTS[slot].built_in():
        known = names(slot)
        if (slot, name) not in _found:
            raise UserError(f"{slot}={name!r} is not one of {', '.join(known)}{hint(name, known)}")
        return _found[slot, name]
    entry = SLOTS[slot].built_in()[name]
    if not isinstance(entry, str):
        return Component(slot, name, entry, getattr(entry, "options", {}), BUILT_IN)
    importlib.import_module(entry)  # registers it
    return _found[slot, name]


def all_of(slot: str) -> Iterator[Component]:
    """All components of a slot."""
    for name in names(slot):
        yield get(slot, name)
