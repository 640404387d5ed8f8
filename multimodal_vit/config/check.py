"""What makes a configuration invalid: types, ranges, devices, then each chosen component's rules.

All mistakes are said at once: the field, its value, the rule, the way out.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from multimodal_vit import components, sampler
from multimodal_vit.config.fields import (
    fields,
    option_slots,
    settled,
    thesis,
)
from multimodal_vit.config.rules import (
    chosen,
    component_problems,
    cross_problems,
    field_problems,
    option_problems,
    own_problems,
    suite_problems,
)
from multimodal_vit.config.types import is_like, type_problems
from multimodal_vit.errors import UserError


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
    complete = settled(config)
    found = [line for part in chosen(complete) for line in own_problems(part, complete, task)]
    if config.model.modality_dropout_rate and task.audio_shape is None:
        found.append("model.modality_dropout_rate acts only where data.audio names recordings")
    found += suite_problems(config, task)
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
        if field in given and is_like(given[field], value):
            group, _, name = field.rpartition(".")
            (default[group] if group else default)[name] = given[field]
    for field in options:
        group, _, name = field.partition(".")
        if isinstance(config.get(group, {}).get(name), ConfigDict):
            default[group][name] = config[group][name]
    config = default
    wrong: set[str] = set()  # fields whose values no further rule looks at
    for field, line in field_problems(config):
        wrong.add(field)
        yield line
    yield from option_problems(config)
    for line in [*cross_problems(config), *component_problems(config)]:
        if not any(field in line for field in wrong):
            yield line
