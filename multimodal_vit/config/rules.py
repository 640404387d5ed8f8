"""What each field may be, what fits together, and what the chosen components say."""

import math
from collections.abc import Iterator

from ml_collections import ConfigDict

from multimodal_vit import bounds, components, sampler, suites, views
from multimodal_vit.components import Component
from multimodal_vit.config.fields import (
    fields,
    get,
    option_owner,
    option_slots,
    thesis,
)
from multimodal_vit.config.types import is_like, kind_of
from multimodal_vit.errors import hint
from multimodal_vit.models import ATTENTION

CHOICES = {
    "task.held_out": tuple(sampler.HELD_OUT),
    "model.dtype": ("float32", "bfloat16"),
    "model.attention": ATTENTION,
    "train.schedule": ("constant", "cosine"),
}

READOUTS = ("linear", "zero_shot", "retrieval", "wrong_word")  # the keys of `readouts.READOUTS`

# Shared fields that components may have no use for; see `unused`.
_IGNORABLE = (
    "model.num_conv_layers", "model.patch_size", "model.num_encoder_layers", "model.num_heads",
    "model.mlp_dim", "model.num_registers", "model.dropout_rate", "model.attention", "model.remat",
)  # fmt: skip


def field_problems(config: ConfigDict) -> Iterator[tuple[str, str]]:
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
    elif bounds.leaves_folder(name):
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
    for name in config.task.augmentation:
        if name not in views.AUGMENTATIONS:
            allowed = list(views.AUGMENTATIONS)
            line = f"task.augmentation: {name!r} is not one of {', '.join(allowed)}"
            yield found("task.augmentation", line + hint(name, allowed))
    for name in config.evaluation.readouts:
        if name not in READOUTS:
            yield (
                "evaluation.readouts",
                f"evaluation.readouts: {name!r} is not one of {', '.join(READOUTS)}"
                f"{hint(name, READOUTS)}",
            )
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


def option_problems(config: ConfigDict) -> Iterator[str]:
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
                if not is_like(value, default):
                    yield f"{field}={value!r} must be {kind_of(default)}, such as {default!r}"
                elif reason := known[option].problem(value):
                    yield f"{field}={value!r}{reason}"


def cross_problems(config: ConfigDict) -> Iterator[str]:
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


def has_verdict(config: ConfigDict) -> bool:
    """Whether what is trained for answers true or false; what is no objective is left out."""
    parts = [part.target for part in chosen(config) if part.slot == "train.objective"]
    return all(getattr(target, "answers", True) for target in parts)


def own_problems(
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


def component_problems(config: ConfigDict) -> Iterator[str]:
    """What does not fit together among the chosen components, and each one's own rules."""
    parts = chosen(config)
    yield from _reading_problems(config)
    yield from _classifier_problems(config)
    for part in parts:
        yield from own_problems(part, config)
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


def suite_problems(config: ConfigDict, task: sampler.Task) -> Iterator[str]:
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
