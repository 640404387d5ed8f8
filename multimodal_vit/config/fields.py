"""The fields of an experiment's configuration and their defaults; each group's options.

`settled` keeps options and choices together: what a component can be told stands beside the field
that names it, and nothing that the chosen one does not use.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import components
from multimodal_vit.components import SLOTS, Slot
from multimodal_vit.errors import hint


def thesis() -> ConfigDict:
    """The thesis's size: the default of every field. "Chosen" marks what the thesis does not print.

    A field that names a component has another beside it, with `_options` behind its name, for what
    that component alone can be told; `--mode=list` shows the components and their options.
    """
    config = ConfigDict()
    config.components = ()  # Python files of one's own components; docs/extend.md
    config.name = ""  # by default, on the command line, the file's name and the preset
    config.seed = 0  # of parameters, order, sampling and dropout; evaluation has its own

    config.data = ConfigDict()
    config.data.source = "auto"  # where images come from, such as "auto", "idx", "tfds", "digits"
    config.data.name = "mnist"  # the folder below the data directory
    config.data.directory = ""  # "": TFDS_DATA_DIR, else ~/tensorflow_datasets
    config.data.audio = ""  # recordings that speak the words; "": none
    config.data.validation_share = 0.0  # drawn of training and validation; 0: the source's own part
    config.data.test_speakers = ()  # only these are heard in the test; (): every one, everywhere

    config.task = ConfigDict()
    config.task.grid = (2, 2)  # rows, columns
    config.task.false_rate = 0.5
    config.task.corruption = "replace"  # how false texts are made
    config.task.replacement_rate = 0.25  # of each label beyond the one that is always replaced
    config.task.held_out = "nothing"  # kept out of training: multimodal_vit.sampler.HELD_OUT

    config.task.augmentation = ()  # of training images, within cells: views.AUGMENTATIONS

    config.model = ConfigDict()
    config.model.initial = ""  # a workdir to start from, or "@NAME", of a study's condition
    config.model.initial_parts = ("embeddings_", "fusion")  # what of it, by the names' beginnings
    config.model.modalities = ("words", "patches")  # in the order of the token sequence
    config.model.stem = "conv"  # before the patches
    config.model.num_conv_layers = 4  # N_c; 0 is the thesis's condition B
    config.model.patch_size = 4
    config.model.fusion = "single_encoder"  # tokens of all modalities to one summary
    config.model.embedding_dim = 256  # D_e, chosen
    config.model.num_encoder_layers = 4  # N_e, chosen
    config.model.num_heads = 4  # chosen
    config.model.mlp_dim = 1024  # chosen
    config.model.num_registers = 0  # learned tokens besides, of each stream of a fusion
    config.model.dropout_rate = 0.1  # chosen
    config.model.num_match_outputs = 1  # 1: section 3.3.3; 2: section 3.1; 0: a classifier
    config.model.modality_dropout_rate = 0.0  # of each input in training, where there is audio
    config.model.dtype = "float32"  # of the computation, or "bfloat16"; parameters are float32
    config.model.attention = "auto"  # how it is computed: multimodal_vit.models.ATTENTION
    config.model.remat = False  # compute encoder blocks again in the backward pass: less memory

    config.train = ConfigDict()
    config.train.objective = "binary_cross_entropy"  # what is trained for
    config.train.num_seeds = 1  # more: runs with seed, seed + 1, …, trained as one program
    config.train.num_samples = 6_400_000  # in whole epochs; to a step with steps_per_validation
    config.train.num_labelled = 0  # different pairs, drawn once from the seed; 0: no end of them
    config.train.batch_size = 128  # chosen
    config.train.accumulate_steps = 1  # parts in which a batch is computed: less memory
    config.train.optimizer = "adam"  # gradients to updates
    config.train.learning_rate = 3e-4  # chosen; the peak, after warm-up
    config.train.warmup_steps = 1_000  # chosen
    config.train.schedule = "cosine"  # after warm-up: "constant" or "cosine" (to 0). Chosen
    config.train.weight_decay = 0.05  # decoupled, on kernels and embeddings alone. Chosen
    config.train.gradient_clip = 1.0  # largest global norm; 0: off. Chosen
    config.train.epochs_per_validation = 1
    config.train.steps_per_validation = 0  # more: validations by steps, not by epochs
    config.train.patience = 3  # stop after as many validations without a lower loss; 0: never
    config.train.log_every_steps = 100
    config.train.checkpoint_seconds = 300.0  # a checkpoint at least as often; 0: at every chance
    config.train.frozen = ()  # parameters that stay as they are, by the names' beginnings
    config.train.layout = "replicated"  # of the parameters on the devices
    config.train.model_devices = 1  # that share one copy of the parameters

    config.evaluation = ConfigDict()
    config.evaluation.batch_size = 256
    config.evaluation.num_passes = 1  # how often each image of a split is a base image
    config.evaluation.seed = 0  # the same pairs for every model
    config.evaluation.suites = ("single_foil", "order_foil")  # asked at the end of a run: suites
    config.evaluation.suite_pairs = 2_500  # of each suite but standard, in whole batches; 0: all
    config.evaluation.suites_in_training = ()  # asked at every validation: how they come about
    config.evaluation.readouts = ()  # of a finished run: docs/objectives.md
    config.evaluation.other_data = ""  # a control: "" is fashion_mnist, and for it mnist
    return settled(config)


def get(config: ConfigDict, field: str) -> Any:
    """The value of a field by its dotted name."""
    for part in field.split("."):
        config = config[part]
    return config


def option_slots() -> list[Slot]:
    """The slots whose components can have options."""
    return [slot for slot in SLOTS.values() if slot.has_options]


def default_options(config: ConfigDict, slot: Slot) -> dict[str, Any]:
    """The options of what a configuration chooses in a slot, with their default values.

    Of several components a group for each that has options. What is no component has none.
    """
    choice = get(config, slot.field)
    if not slot.several:
        known = isinstance(choice, str) and components.exists(slot.field, choice)
        return components.get(slot.field, choice).defaults if known else {}
    found = {}
    for name in choice if isinstance(choice, (tuple, list)) else ():
        known = isinstance(name, str) and components.exists(slot.field, name)
        if known and (defaults := components.get(slot.field, name).defaults):
            found[name] = dict(defaults)
    return found


def copied(config: ConfigDict) -> ConfigDict:
    """A copy with references resolved and the fields in the order that they have."""
    resolved = config.copy_and_resolve_references()
    copy = ConfigDict(sort_keys=False)
    for name in config:
        value = resolved[name]
        copy[name] = copied(config[name]) if isinstance(value, ConfigDict) else value
    return copy


def settled(config: ConfigDict) -> ConfigDict:
    """A copy whose options are those of the chosen components.

    What was given for an option is kept, the others have their defaults. An option that another
    component of the slot has is left out where it has that one's default value; else it stays, and
    `problems` says whose it is.
    """
    copy = copied(config).unlock()
    for slot in option_slots():
        group, _, _ = slot.field.partition(".")
        if group not in copy or slot.field.partition(".")[2] not in copy[group]:
            continue
        name = slot.options_field.partition(".")[2]
        given = copy[group].get(name, ConfigDict())
        if isinstance(given, ConfigDict):
            merged = _merged(slot, default_options(copy, slot), given)
            copy[group][name] = ConfigDict(merged, sort_keys=False)
    return copy


def _merged(slot: Slot, defaults: Mapping[str, Any], given: ConfigDict) -> dict[str, Any]:
    """Default options with what was given."""
    found = {}
    for name, default in defaults.items():
        own = given.get(name, default)
        if slot.several and isinstance(own, ConfigDict):
            found[name] = dict(default) | dict(own.items())
        else:
            found[name] = own
    for name, value in given.items():
        if name not in found and not _is_left_over(slot, name, value):
            found[name] = value
    return found


def _is_left_over(slot: Slot, name: str, value: Any) -> bool:
    """Whether options are another component's defaults: they came with an earlier choice."""
    if not slot.several:
        return any(owner.defaults[name] == value for owner in owners(slot, name))
    if not components.exists(slot.field, name):
        return False
    defaults = components.get(slot.field, name).defaults
    return isinstance(value, ConfigDict) and value.to_dict() == defaults


def option_owner(config: ConfigDict, field: str) -> str:
    """What to say of an option that what is chosen does not have; "" where it is no such option.

    Args:
      config: an experiment.
      field: such as "model.fusion_options.num_latents".
    """
    for slot in option_slots():
        if not field.startswith(slot.options_field + "."):
            continue
        name = field.removeprefix(slot.options_field + ".")
        chosen = get(config, slot.field)
        if slot.several:
            component, _, name = name.partition(".")
            if not components.exists(slot.field, component):
                known = components.names(slot.field)
                return f"{field}: {slot.field} has no {component!r}{hint(component, known)}"
            options = components.get(slot.field, component).options
            if name in options:
                return f"{field} is of {component!r}, which {slot.field}={tuple(chosen)} lacks"
            return f"{field}: {_has(component, options)}{hint(name, options)}"
        if owning := owners(slot, name):
            whose = " and ".join(repr(own.name) for own in owning)
            return f"{field} is an option of {slot.field}={whose}, not of {chosen!r}"
        known = components.exists(slot.field, chosen)
        options = components.get(slot.field, chosen).options if known else {}
        return f"{field}: {_has(chosen, options)}{hint(name, options)}"
    return ""


def _has(component: str, options: Mapping[str, Any]) -> str:
    if not options:
        return f"{component!r} has no options"
    return f"{component!r} has the options {', '.join(options)}"


def owners(slot: Slot, option: str) -> list[components.Component]:
    """The components of a slot that have an option of this name."""
    return [own for own in components.all_of(slot.field) if option in own.options]


def fields(config: ConfigDict) -> dict[str, Any]:
    """The values of all fields by their dotted names."""
    return dict(_flat(config))


def _flat(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, tuple(value) if isinstance(value, list) else value
