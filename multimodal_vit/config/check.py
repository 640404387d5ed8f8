"""What makes a configuration invalid: types, ranges, devices, then each chosen component's rules.

All mistakes are said at once: the field, its value, the rule, the way out.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import bounds, components, sampler, suites
from multimodal_vit.components import Component
from multimodal_vit.config.fields import (
    fields,
    get,
    option_owner,
    option_slots,
    settled,
    thesis,
)
from multimodal_vit.config.versions import new_places
from multimodal_vit.errors import UserError, hint
from multimodal_vit.models import ATTENTION


def check(config: ConfigDict) -> None:
    """Raises one `UserError` that lists every mistake that `problems` finds."""
    raise_all(list(problems(config)))


def check_with_data(config: ConfigDict, task: sampler.Task, num_devices: int) -> None:
    """Raises one `UserError` for what only shows with the data and the devices at hand.

    Args:
      config: the configuration.
      task: the task on the data.
      num_devices: that share each batch.
    """
    found = [line for part in chosen(config) for line in _own_problems(part, settled(config), task)]
    if config.model.modality_dropout_rate and task.audio_shape is None:
        found.append("model.modality_dropout_rate acts only where data.audio names recordings")
    found += _suite_problems(config, task)
    copies, rest = divmod(num_devices, config.train.model_devices)
    layout = components.get("train.layout", config.train.layout).target
    if rest:
        found.append(
            f"train.model_devices={config.train.model_devices} does not divide the {num_devices} "
            "devices into equal groups; take a divisor of their number"
        )
    elif "model" not in layout.batch_axes:
        num_devices = copies
    for field in ("train", "evaluation"):
        size = config[field].batch_size
        if size % num_devices:
            found.append(
                f"{field}.batch_size={size} cannot be shared equally by {num_devices} devices; "
                f"take a multiple of {num_devices}, such as {-(-size // num_devices) * num_devices}"
            )
    size, parts = config.train.batch_size, config.train.accumulate_steps
    if size % num_devices == 0 and size // parts % num_devices:
        found.append(
            f"train.accumulate_steps={parts} leaves {size // parts} examples in each part of a "
            f"batch, which {num_devices} devices cannot share equally; take fewer parts"
        )
    raise_all(found)


def raise_all(found: list[str]) -> None:
    """Raises one `UserError` with all of the mistakes found, if any."""
    if len(found) == 1:
        raise UserError(found[0])
    if found:
        raise UserError("\n".join([f"{len(found)} mistakes in the configuration:", *found]))


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value has the type of a field's default; a whole number is a number too."""
    if isinstance(default, tuple):
        return isinstance(value, (tuple, list))
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def _kind(default: Any) -> str:
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
        elif not _is_like(found[field], default):
            yield f"{field}={found[field]!r} must be {_kind(default)}, such as {default!r}"
    for field in found.keys() - known.keys():
        if not any(field == name or field.startswith(name + ".") for name in also):
            if places := list(new_places(field)):
                yield f"{field} is now {' and '.join(places)}; set that"
            else:
                yield f"{field} is no field of a configuration{hint(field, known)}"


CHOICES = {
    "task.held_out": tuple(sampler.HELD_OUT),
    "model.dtype": ("float32", "bfloat16"),
    "model.attention": ATTENTION,
    "train.schedule": ("constant", "cosine"),
}
# Shared fields that components may have no use for; see `unused`.
_IGNORABLE = (
    "model.num_conv_layers", "model.patch_size", "model.num_encoder_layers", "model.num_heads",
    "model.mlp_dim", "model.dropout_rate", "model.attention", "model.remat",
)  # fmt: skip


def problems(config: ConfigDict) -> Iterator[str]:
    """Yields a line for every mistake: the field, its value, the rule, the way out."""
    config = settled(config)
    default = thesis()
    options = [slot.options_field for slot in option_slots()]
    shared = default.copy_and_resolve_references()
    for field in options:
        group, _, name = field.partition(".")
        del shared[group][name]
    yield from type_problems(config, shared, options)
    given = fields(config)
    for field, value in fields(shared).items():  # the rest is said of the fields that have values
        if field in given and _is_like(given[field], value):
            group, _, name = field.rpartition(".")
            (default[group] if group else default)[name] = given[field]
    for field in options:
        group, _, name = field.partition(".")
        if isinstance(config.get(group, {}).get(name), ConfigDict):
            default[group][name] = config[group][name]
    config = default
    wrong: set[str] = set()  # fields whose values no further rule looks at
    for field, line in _field_problems(config):
        wrong.add(field)
        yield line
    yield from _option_problems(config)
    for line in [*_cross_problems(config), *_component_problems(config)]:
        if not any(field in line for field in wrong):
            yield line


def _field_problems(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """Fields whose own value is wrong, and what is to be said of each; wrong ones get a right one.

    So that the rules on several fields can be asked of the others.
    """
    default = thesis()

    def mend(field: str) -> None:
        group, _, name = field.rpartition(".")
        (config[group] if group else config)[name] = get(default, field)

    def found(field: str, line: str) -> tuple[str, str]:
        mend(field)
        return field, line

    name = config.data.name
    if not name:
        yield "data.name", "data.name is empty; name the folder of the data set, such as mnist"
    elif Path(name).is_absolute() or ".." in Path(name).parts:
        yield (
            "data.name",
            f"data.name={name!r} leaves the data folder; name a folder in it, such as mnist",
        )
    for field, allowed in CHOICES.items():
        value = get(config, field)
        if value not in allowed:
            line = f"{field}={value!r} is not one of {', '.join(allowed)}{hint(value, allowed)}"
            yield found(field, line)
    for slot in option_slots():
        value = get(config, slot.field)
        if slot.several or (slot.may_be_empty and value == ""):
            continue
        if not components.exists(slot.field, value):
            allowed = components.names(slot.field)
            allowed = ["", *allowed] if slot.may_be_empty else allowed
            line = f"{slot.field}={value!r} is not one of {', '.join(allowed)}"
            yield slot.field, line + hint(value, allowed)
    for line in list(bounds.experiment_problems(fields(config))):
        field = line.partition("=")[0].partition(" ")[0]
        yield found(field, line) if field in fields(default) else (field, line)
    for field in ("task.false_rate", "task.replacement_rate"):
        if not 0 <= get(config, field) <= 1:
            yield found(field, f"{field}={get(config, field)} is no probability: it must be 0 to 1")
    for field in ("model.dropout_rate", "model.modality_dropout_rate"):
        if not 0 <= get(config, field) < 1:
            yield found(field, f"{field}={get(config, field)} must be at least 0 and below 1")
    if not 0 < config.train.learning_rate < math.inf:
        line = f"train.learning_rate={config.train.learning_rate} must be a positive number"
        yield found("train.learning_rate", line)
    if config.model.num_match_outputs not in (0, 1, 2):
        line = f"model.num_match_outputs={config.model.num_match_outputs} must be 0, 1 or 2"
        yield found("model.num_match_outputs", line)
    modalities = config.model.modalities
    known = components.names("model.modalities")
    if not modalities or len(set(modalities)) != len(modalities):
        line = f"model.modalities={tuple(modalities)} must name each modality once, at least one"
        yield "model.modalities", line
    for name in modalities:
        if name not in known:
            line = f"model.modalities: {name!r} is not one of {', '.join(known)}{hint(name, known)}"
            yield "model.modalities", line


def _option_problems(config: ConfigDict) -> Iterator[str]:
    """Options of the wrong type, out of range, or of another component."""
    for slot in option_slots():
        groups = {slot.options_field: get(config, slot.options_field)}
        if slot.several:
            groups = {f"{slot.options_field}.{n}": o for n, o in groups[slot.options_field].items()}
        for prefix, given in groups.items():
            name = prefix.rpartition(".")[2] if slot.several else get(config, slot.field)
            if not isinstance(given, ConfigDict):
                yield f"{prefix}={given!r} must be a group of options"
                continue
            known: dict[str, components.Option] = {}
            if components.exists(slot.field, name):
                known = dict(components.get(slot.field, name).options)
                if slot.several and name not in get(config, slot.field):
                    known = {}
            elif not slot.several:
                continue  # the choice itself is wrong
            for option, value in given.items():
                field = f"{prefix}.{option}"
                if option not in known:
                    yield option_owner(config, field) or f"{field} is no option"
                    continue
                default = known[option].default
                if not _is_like(value, default):
                    yield f"{field}={value!r} must be {_kind(default)}, such as {default!r}"
                elif reason := known[option].problem(value):
                    yield f"{field}={value!r}{reason}"


def _cross_problems(config: ConfigDict) -> Iterator[str]:
    """What is wrong with shared fields taken together."""
    train = config.train
    parts = train.accumulate_steps
    if parts > 1 and train.batch_size % parts:
        yield f"train.accumulate_steps={parts} does not divide train.batch_size={train.batch_size}"
    if train.layout == "replicated" and train.model_devices > 1:
        yield (
            f"train.model_devices={train.model_devices} does nothing where every device holds all "
            "parameters; take train.layout='fsdp' or 'tensor', or train.model_devices=1"
        )
    if train.layout != "replicated" and train.num_seeds > 1:
        yield (
            f"train.num_seeds={train.num_seeds} is for train.layout='replicated', not "
            f"{train.layout!r}; train one seed, or let every device hold all parameters"
        )


def chosen(config: ConfigDict) -> list[Component]:
    """The components that a configuration chooses; what is no component is left out."""
    found = []
    for slot in option_slots():
        value = get(config, slot.field)
        for name in value if slot.several else (value,):
            if isinstance(name, str) and components.exists(slot.field, name):
                found.append(components.get(slot.field, name))
    return found


def _own_problems(
    part: Component, config: ConfigDict, task: sampler.Task | None = None
) -> Iterator[str]:
    """The mistakes that a component's own rules find."""
    rules = getattr(part.target, "problems", None)
    if rules is None:
        return
    if part.slot == "train.layout":
        yield from rules(config) if task is None else ()
    else:
        yield from rules(config, task) or ()


def _component_problems(config: ConfigDict) -> Iterator[str]:
    """What does not fit together among the chosen components, and each one's own rules."""
    parts = chosen(config)
    yield from _reading_problems(config)
    yield from _classifier_problems(config)
    for part in parts:
        yield from _own_problems(part, config)
    objective = next((p.target for p in parts if p.slot == "train.objective"), None)
    if getattr(objective, "in_batch", False) and config.train.accumulate_steps > 1:
        yield (
            f"train.objective={config.train.objective!r} compares the pairs of a batch, which "
            f"train.accumulate_steps={config.train.accumulate_steps} would cut apart; take 1"
        )
    if getattr(objective, "best", "loss") is None and config.train.patience:
        yield (
            f"train.objective={config.train.objective!r} has no validation metric to stop by; "
            "take train.patience=0"
        )


def unused(config: ConfigDict) -> dict[str, str]:
    """The shared fields that nothing acts by, with the components that do not use them.

    Conditions of a study often share such fields with others that use them, so that this is no
    mistake of a configuration; set on a command line it is one.
    """
    models = [p for p in chosen(config) if p.slot in ("model.modalities", "model.fusion")]
    used = [getattr(p.target, "uses", None) for p in models]
    if any(fields_used is None for fields_used in used):
        return {}
    names = ", ".join(p.name for p in models)
    return {field: names for field in _IGNORABLE if field not in set().union(*used)}


def _reading_problems(config: ConfigDict) -> Iterator[str]:
    """Modalities that the fusion cannot read."""
    fusion, modalities = config.model.fusion, tuple(config.model.modalities)
    if not components.exists("model.fusion", fusion):
        return
    target = components.get("model.fusion", fusion).target
    reads = getattr(target, "reads", None)
    fits = modalities == reads if target.needs_all else set(modalities) <= set(reads or ())
    if reads and not fits:
        yield f"model.fusion={fusion!r} reads model.modalities={reads}, not {modalities}"
        return
    for name in modalities:
        if components.exists("model.modalities", name):
            owners = components.get("model.modalities", name).target.for_fusions
            if owners and fusion not in owners:
                yield (
                    f"model.modalities: {name!r} can be read by "
                    f"model.fusion={' or '.join(map(repr, owners))} alone"
                )


def _classifier_problems(config: ConfigDict) -> Iterator[str]:
    """Settings of classifiers of single images, which belong together."""
    one_true = tuple(config.task.grid) == (1, 1) and config.task.false_rate == 0
    name = config.train.objective
    known = components.exists("train.objective", name)
    classifies = (
        known and components.get("train.objective", name).target.classifies,
        config.model.num_match_outputs == 0,
        one_true,
    )
    if any(classifies[:2]) and not all(classifies):
        yield (
            "a classifier of single images has train.objective='class_cross_entropy', "
            "model.num_match_outputs=0, task.grid=(1, 1) and task.false_rate=0.0; here they are "
            f"{name!r}, {config.model.num_match_outputs}, "
            f"{tuple(config.task.grid)} and {config.task.false_rate}"
        )


def _suite_problems(config: ConfigDict, task: sampler.Task) -> Iterator[str]:
    """The names of suites that are none."""
    known = suites.suites_for(task)
    for field in ("suites", "suites_in_training"):
        names = tuple(config.evaluation[field])
        if names != suites.ALL:
            for name in names:
                if name not in known:
                    yield (
                        f"evaluation.{field}: {name!r} is not one of {', '.join(known)}"
                        f"{hint(name, known)}"
                    )
    for name in {"near_foil", "other_data_set"} & set(config.evaluation.suites_in_training):
        yield f"evaluation.suites_in_training: {name!r} is asked of finished models alone"
