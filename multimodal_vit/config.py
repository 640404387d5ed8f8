"""The fields of an experiment's configuration, its presets, and what makes one invalid.

An experiment is a file in `configs/` with `get_config(preset)`; it starts from `thesis()` or
`small()` and names what it changes. `problems` checks a configuration as a whole.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import data, models, objective, sampler, suites
from multimodal_vit.errors import DamagedError, UserError, hint
from multimodal_vit.files import read_json
from multimodal_vit.layout import LAYOUTS

FORMAT_VERSION = 1


def thesis() -> ConfigDict:
    """The thesis's size. Every field stands here; "chosen" marks what the thesis does not print."""
    config = ConfigDict()
    config.name = ""  # by default, on the command line, the file's name and the preset
    config.seed = 0  # of parameters, order, sampling and dropout; evaluation has its own

    config.data = ConfigDict()
    config.data.source = "auto"  # "auto", "idx", "tfds" or "digits": multimodal_vit.data.SOURCES
    config.data.name = "mnist"  # the folder below the data directory
    config.data.directory = ""  # "": TFDS_DATA_DIR, else ~/tensorflow_datasets
    config.data.audio = ""  # recordings that speak the words: multimodal_vit.data.AUDIO_SOURCES
    config.data.test_speakers = ()  # only these are heard in the test; (): every one, everywhere

    config.task = ConfigDict()
    config.task.grid = (2, 2)  # rows, columns
    config.task.false_rate = 0.5
    config.task.corruption = "replace"  # multimodal_vit.sampler.CORRUPTIONS
    config.task.replacement_rate = 0.25  # of each label beyond the one that is always replaced
    config.task.held_out = "nothing"  # kept out of training: multimodal_vit.sampler.HELD_OUT

    config.model = ConfigDict()
    config.model.modalities = ("words", "patches")  # in the order of the token sequence
    config.model.stem = "conv"  # "conv" (thesis) or "strided": multimodal_vit.models.STEMS
    config.model.num_conv_layers = 4  # N_c; 0 is the thesis's condition B
    config.model.patch_size = 4
    config.model.fusion = "single_encoder"  # multimodal_vit.models.FUSIONS
    config.model.embedding_dim = 256  # D_e, chosen
    config.model.num_encoder_layers = 4  # N_e, chosen
    config.model.num_heads = 4  # chosen
    config.model.mlp_dim = 1024  # chosen
    config.model.dropout_rate = 0.1  # chosen
    config.model.num_match_outputs = 1  # 1: section 3.3.3; 2: section 3.1; 0: a classifier
    config.model.audio_patch_frames = 3  # frames of a recording in one token
    config.model.modality_embeddings = False  # besides the positions
    config.model.modality_dropout_rate = 0.0  # of each input in training, where there is audio
    config.model.audio_image_sizes = "c"  # of the audio-image paper: multimodal_vit.models.SIZES
    config.model.audio_layout = "paper"  # how its LSTM reads a recording: models.LAYOUTS
    config.model.flip_rate = 0.0  # its 0.5 is off: a mirrored digit is another shape
    config.model.dtype = "float32"  # of the computation, or "bfloat16"; parameters are float32
    config.model.attention = "auto"  # how it is computed: multimodal_vit.models.ATTENTION
    config.model.remat = False  # compute encoder blocks again in the backward pass: less memory

    config.train = ConfigDict()
    config.train.objective = "binary_cross_entropy"  # multimodal_vit.objective.OBJECTIVES
    config.train.num_seeds = 1  # more: runs with seed, seed + 1, …, trained as one program
    config.train.num_samples = 6_400_000  # rounded to whole epochs
    config.train.batch_size = 128  # chosen
    config.train.accumulate_steps = 1  # parts in which a batch is computed: less memory
    config.train.optimizer = "adam"  # or "muon": multimodal_vit.train.step.OPTIMIZERS
    config.train.learning_rate = 3e-4  # chosen; the peak, after warm-up
    config.train.warmup_steps = 1_000  # chosen
    config.train.schedule = "cosine"  # after warm-up: "constant" or "cosine" (to 0). Chosen
    config.train.weight_decay = 0.05  # decoupled, on kernels and embeddings alone. Chosen
    config.train.gradient_clip = 1.0  # largest global norm; 0: off. Chosen
    config.train.epochs_per_validation = 1
    config.train.patience = 3  # stop after as many validations without a lower loss; 0: never
    config.train.log_every_steps = 100
    config.train.checkpoint_seconds = 300.0  # a checkpoint at least as often; 0: at every chance
    config.train.layout = "replicated"  # of the parameters: multimodal_vit.layout.LAYOUTS
    config.train.model_devices = 1  # that share one copy of the parameters

    config.evaluation = ConfigDict()
    config.evaluation.batch_size = 256
    config.evaluation.num_passes = 1  # how often each image of a split is a base image
    config.evaluation.seed = 0  # the same pairs for every model
    config.evaluation.suites = ("single_foil", "order_foil")  # asked at the end of a run: suites
    config.evaluation.suite_pairs = 2_500  # of each suite but standard, in whole batches; 0: all
    config.evaluation.suites_in_training = ()  # asked at every validation: how they come about
    config.evaluation.other_data = ""  # a control: "" is fashion_mnist, and for it mnist
    return config


def small() -> ConfigDict:
    """A size for two cores: minutes instead of days. Not the thesis's model."""
    config = thesis()
    config.model.stem = "strided"
    config.model.num_conv_layers = 2
    config.model.patch_size = 7
    config.model.embedding_dim = 128
    config.model.num_encoder_layers = 3
    config.model.mlp_dim = 512
    config.train.num_samples = 330_000
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 200
    return config


def speedrun() -> ConfigDict:
    """`small` with what reaches the thesis's accuracies soonest on two cores: docs/speed.md."""
    config = small()
    config.model.dropout_rate = 0.0
    config.train.num_samples = 110_000
    config.train.optimizer = "muon"
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 50
    config.train.epochs_per_validation = 10  # only at the end
    return config


def faithful() -> ConfigDict:
    """The thesis's size with the optimizer it names: plain Adam at a constant rate."""
    config = thesis()
    config.train.schedule = "constant"
    config.train.warmup_steps = 0
    config.train.weight_decay = 0.0
    config.train.gradient_clip = 0.0
    return config


def classifier(name: str) -> ConfigDict:
    """A digit from its image and a recording of it, trained as the audio-image paper does.

    Adam at a constant rate of 0.001, batches of 32, softmax cross entropy (section 2.3).

    Args:
      name: a preset: "small", 2 epochs; with any other 10, as the paper (it has 10 to 20).

    Raises:
      UserError: no such preset.
    """
    preset(name)
    config = faithful()
    config.data.name = "mnist"
    config.data.audio = "spoken_digit"
    config.task.grid = (1, 1)
    config.task.false_rate = 0.0
    config.model.num_match_outputs = 0
    config.train.objective = "class_cross_entropy"
    config.train.num_samples = 110_000 if name == "small" else 550_000
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
    config.train.patience = 0
    config.evaluation.suites = ("without_image", "without_audio")
    return config


def audio_image(name: str, sizes: str, fusion: str) -> ConfigDict:
    """Models A, B and C of the audio-image paper; see `classifier`.

    Args:
      name: a preset, as `classifier` takes it.
      sizes: "a", "b" or "c".
      fusion: "concatenation" or "addition".
    """
    config = classifier(name)
    config.model.modalities = ("image_features", "audio_features")
    config.model.audio_image_sizes = sizes
    config.model.fusion = fusion
    return config


PRESETS: dict[str, Callable[[], ConfigDict]] = {
    "thesis": thesis,
    "small": small,
    "speedrun": speedrun,
    "faithful": faithful,
}


def preset(name: str) -> ConfigDict:
    """The configuration that a preset starts from.

    Raises:
      UserError: no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"no preset {name!r}; there are: {', '.join(PRESETS)}{hint(name, PRESETS)}")
    return PRESETS[name]()


def from_file(path: str | Path) -> ConfigDict:
    """The configuration in a file, FILE or FILE:PRESET; the file is executed.

    Raises:
      UserError: no such file.
    """
    file, _, preset = str(path).partition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise UserError(f"there is no configuration file {file}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(preset) if preset else module.get_config()


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """A copy of a configuration with some fields set.

    Args:
      config: stays as it is.
      changes: values by field, such as {"train.weight_decay": 0.0}.

    Raises:
      UserError: no such field, or a value of another type.
    """
    copy = config.copy_and_resolve_references()
    known = fields(config)
    for field, value in changes.items():
        if field not in known:
            raise UserError(f"{field!r} is no field of a configuration{hint(field, known)}")
        group, _, name = field.rpartition(".")
        try:
            (_get(copy, group) if group else copy)[name] = value
        except TypeError as error:
            raise UserError(f"{field}={value!r}: {error}") from error
    return copy


def data_arguments(config: ConfigDict) -> tuple[Any, ...]:
    """What `data.load_splits` is called with; equal for equal data."""
    settings = config.data
    return (
        settings.source,
        settings.name,
        settings.directory,
        settings.audio,
        tuple(settings.test_speakers),
    )


def make_task(config: ConfigDict, image_set: data.ImageSet) -> sampler.Task:
    """The task that `config.task` describes, on a data set's images and classes."""
    return sampler.Task(
        grid=tuple(config.task.grid),
        image_shape=image_set.images.shape[1:],
        num_classes=image_set.num_classes,
        false_rate=config.task.false_rate,
        corruption=config.task.corruption,
        replacement_rate=config.task.replacement_rate,
        held_out=config.task.held_out,
        audio_shape=image_set.recordings.features.shape[1:] if image_set.recordings else None,
    )


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
    found = [
        *_shape_problems(config, task),
        *_audio_problems(config, task),
        *_suite_problems(config, task),
    ]
    copies, rest = divmod(num_devices, config.train.model_devices)
    if rest:
        found.append(
            f"train.model_devices={config.train.model_devices} does not divide the {num_devices} "
            "devices into equal groups; take a divisor of their number"
        )
    elif "model" not in LAYOUTS[config.train.layout].batch_axes:
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
    if config.model.attention == "cudnn" and not models.has_cudnn():
        found.append(
            "model.attention='cudnn' needs an NVIDIA GPU and jax[cuda]; take 'auto', which uses it "
            "where it serves"
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


def type_problems(config: ConfigDict, like: ConfigDict, also: Sequence[str] = ()) -> Iterator[str]:
    """Yields a line for every field that is missing, unknown, or of another type.

    Args:
      config: what is checked.
      like: has the fields, with values of their types.
      also: fields that may be there too, and groups with anything in them.
    """
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
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
            kind = names.get(type(default), "a tuple of values")
            yield f"{field}={found[field]!r} must be {kind}, such as {default!r}"
    for field in found.keys() - known.keys():
        if not any(field == name or field.startswith(name + ".") for name in also):
            yield f"{field} is no field of a configuration{hint(field, known)}"


def problems(config: ConfigDict) -> Iterator[str]:
    """Yields a line for every mistake: the field, its value, the rule, the way out."""
    default = thesis()
    yield from type_problems(config, default)
    given = fields(config)
    for field, value in fields(default).items():  # the rest is said of the fields that have values
        if field in given and _is_like(given[field], value):
            group, _, name = field.rpartition(".")
            (default[group] if group else default)[name] = given[field]
    config = default
    choices = {
        "data.source": data.SOURCES,
        "data.audio": ("", *data.AUDIO_SOURCES),
        "task.corruption": sampler.CORRUPTIONS,
        "task.held_out": sampler.HELD_OUT,
        "model.stem": models.STEMS,
        "model.fusion": models.FUSIONS,
        "model.dtype": ("float32", "bfloat16"),
        "model.attention": models.ATTENTION,
        "model.audio_image_sizes": models.SIZES,
        "model.audio_layout": models.LAYOUTS,
        "train.objective": objective.OBJECTIVES,
        "train.optimizer": ("adam", "muon"),
        "train.schedule": ("constant", "cosine"),
        "train.layout": LAYOUTS,
    }
    at_least = {
        "seed": 0, "evaluation.seed": 0, "model.num_conv_layers": 0, "model.patch_size": 1,
        "model.embedding_dim": 1, "model.num_encoder_layers": 1, "model.num_heads": 1,
        "model.mlp_dim": 1, "model.audio_patch_frames": 1,
        "train.num_seeds": 1, "train.num_samples": 1, "train.batch_size": 1,
        "train.accumulate_steps": 1,
        "train.warmup_steps": 0, "train.weight_decay": 0, "train.gradient_clip": 0,
        "train.epochs_per_validation": 1, "train.patience": 0, "train.log_every_steps": 1,
        "train.checkpoint_seconds": 0, "train.model_devices": 1,
        "evaluation.batch_size": 1, "evaluation.num_passes": 1, "evaluation.suite_pairs": 0,
    }  # fmt: skip
    name = config.data.name
    if not name:
        yield "data.name is empty; name the folder of the data set, such as mnist"
    elif Path(name).is_absolute() or ".." in Path(name).parts:
        yield f"data.name={name!r} leaves the data folder; name a folder in it, such as mnist"
    for field, allowed in choices.items():
        value = _get(config, field)
        if value not in allowed:
            yield f"{field}={value!r} is not one of {', '.join(allowed)}{hint(value, allowed)}"
    for field, least in at_least.items():
        value = _get(config, field)
        if not least <= value < math.inf:
            yield f"{field}={value} is out of range: it must be at least {least}, and finite"
    for field in ("seed", "evaluation.seed"):
        if _get(config, field) >= 2**32:
            yield f"{field}={_get(config, field)} is out of range: it must be below 2**32"
    if config.train.num_seeds > 1 and config.seed + config.train.num_seeds > 2**32:
        yield (
            f"train.num_seeds={config.train.num_seeds} from seed={config.seed} leaves the seeds "
            "below 2**32; take a smaller seed"
        )
    batch_size, parts = config.train.batch_size, config.train.accumulate_steps
    if parts > 1 and batch_size >= 1 and batch_size % parts:
        yield f"train.accumulate_steps={parts} does not divide train.batch_size={batch_size}"
    if config.model.attention == "cudnn" and config.model.dtype in ("float32", "bfloat16"):
        head_dim = config.model.embedding_dim // max(1, config.model.num_heads)
        if not models.fits_cudnn(config.model.dtype, head_dim):
            yield (
                "model.attention='cudnn' needs model.dtype='bfloat16' and heads of a multiple of 8 "
                f"dimensions, at most 128; here they are {config.model.dtype!r} and {head_dim}"
            )
    for field in ("task.false_rate", "task.replacement_rate"):
        if not 0 <= _get(config, field) <= 1:
            yield f"{field}={_get(config, field)} is no probability: it must be 0 to 1"
    if not 0 <= config.model.flip_rate <= 1:
        yield f"model.flip_rate={config.model.flip_rate} is no probability: it must be 0 to 1"
    for field in ("model.dropout_rate", "model.modality_dropout_rate"):
        if not 0 <= _get(config, field) < 1:
            yield f"{field}={_get(config, field)} must be at least 0 and below 1"
    if not 0 < config.train.learning_rate < float("inf"):
        yield f"train.learning_rate={config.train.learning_rate} must be a positive number"
    if config.model.num_match_outputs not in (0, 1, 2):
        yield f"model.num_match_outputs={config.model.num_match_outputs} must be 0, 1 or 2"
    grid = config.task.grid
    if len(grid) != 2 or not all(isinstance(i, int) and i >= 1 for i in grid):
        yield f"task.grid={tuple(grid)} must be (rows, columns), each a whole number from 1"
    modalities = config.model.modalities
    if not modalities or len(set(modalities)) != len(modalities):
        yield f"model.modalities={tuple(modalities)} must name each modality once, at least one"
    for name in modalities:
        if name not in models.EMBEDDINGS:
            known = models.EMBEDDINGS
            yield f"model.modalities: {name!r} is not one of {', '.join(known)}{hint(name, known)}"
    yield from _layout_problems(config)
    yield from _fusion_problems(config)
    yield from _classifier_problems(config)
    dim, heads = config.model.embedding_dim, config.model.num_heads
    if heads >= 1 and dim >= 1 and dim % heads:
        fitting = [str(h) for h in range(1, min(dim, 32) + 1) if dim % h == 0]
        yield (
            f"model.num_heads={heads} does not divide model.embedding_dim={dim}; "
            f"these do: {', '.join(fitting)}"
        )


def _layout_problems(config: ConfigDict) -> Iterator[str]:
    """Parameters that the devices cannot share."""
    layout, parts = config.train.layout, config.train.model_devices
    if layout == "replicated" and parts > 1:
        yield (
            f"train.model_devices={parts} does nothing where every device holds all parameters; "
            "take train.layout='fsdp' or 'tensor', or train.model_devices=1"
        )
    if layout != "replicated" and config.train.num_seeds > 1:
        yield (
            f"train.num_seeds={config.train.num_seeds} is for train.layout='replicated', not "
            f"{layout!r}; train one seed, or let every device hold all parameters"
        )
    for field in ("num_heads", "mlp_dim"):
        if layout == "tensor" and parts >= 1 and config.model[field] % parts:
            yield (
                f"train.layout='tensor' cuts model.{field}={config.model[field]} into "
                f"train.model_devices={parts} parts, which does not come out even; take a divisor"
            )


def _fusion_problems(config: ConfigDict) -> Iterator[str]:
    """Modalities that the fusion cannot read, and what the oracle cannot do."""
    fusion, modalities = config.model.fusion, tuple(config.model.modalities)
    reads = models.FUSION_READS.get(fusion)
    fits = modalities == reads if fusion == "bayes_rule" else set(modalities) <= set(reads or ())
    if reads and not fits:
        yield f"model.fusion={fusion!r} reads model.modalities={reads}, not {modalities}"
    elif not reads:
        for name in modalities:
            owners = [repr(f) for f, names in models.FUSION_READS.items() if name in names]
            if owners:
                yield (
                    f"model.modalities: {name!r} can be read by "
                    f"model.fusion={' or '.join(owners)} alone"
                )
    if config.train.objective == "quadrant_cross_entropy" and "quadrants" not in modalities:
        yield (
            "train.objective='quadrant_cross_entropy' trains the modality 'quadrants', which "
            f"model.modalities={modalities} does not name"
        )
    if fusion == "bayes_rule":
        if config.model.num_match_outputs != 1:
            yield "model.fusion='bayes_rule' has one true/false output: model.num_match_outputs=1"
        rows, columns = config.task.grid if len(config.task.grid) == 2 else (1, 1)
        if config.task.corruption != "replace" and rows * columns > models.MAX_POSITIONS_PERMUTED:
            yield (
                f"model.fusion='bayes_rule' sums over all orders of a text, up to "
                f"{models.MAX_POSITIONS_PERMUTED} words; task.grid={(rows, columns)} has more: "
                "take task.corruption='replace' or a smaller grid"
            )


def _audio_problems(config: ConfigDict, task: sampler.Task) -> Iterator[str]:
    """Modalities that need recordings, and recordings that do not fit them."""
    hears = [m for m in config.model.modalities if m in ("audio", "audio_features")]
    if hears and task.audio_shape is None:
        yield (
            f"model.modalities: {hears[0]!r} needs recordings; name some with data.audio: "
            f"{', '.join(data.AUDIO_SOURCES)}"
        )
    elif config.model.modality_dropout_rate and task.audio_shape is None:
        yield "model.modality_dropout_rate acts only where data.audio names recordings"
    elif "audio" in hears and task.audio_shape[0] % config.model.audio_patch_frames:
        frames = task.audio_shape[0]
        fitting = [str(n) for n in range(1, frames + 1) if frames % n == 0]
        yield (
            f"model.audio_patch_frames={config.model.audio_patch_frames} does not divide the "
            f"{frames} frames of a recording; these do: {', '.join(fitting)}"
        )


def _classifier_problems(config: ConfigDict) -> Iterator[str]:
    """Settings of classifiers of single images, which belong together."""
    fusion, modalities = config.model.fusion, tuple(config.model.modalities)
    sizes = models.SIZES.get(config.model.audio_image_sizes)
    sums = fusion == "addition" and len(modalities) > 1 and sizes is not None
    if sums and sizes.image_features != sizes.audio_features:
        yield (
            f"model.fusion='addition' cannot add the {sizes.image_features} features of the image "
            f"to the {sizes.audio_features} of the sound of model.audio_image_sizes="
            f"{config.model.audio_image_sizes!r}; take model.fusion='concatenation'"
        )
    one_true = tuple(config.task.grid) == (1, 1) and config.task.false_rate == 0
    classifies = (
        config.train.objective == "class_cross_entropy",
        config.model.num_match_outputs == 0,
        one_true,
    )
    if any(classifies[:2]) and not all(classifies):
        yield (
            "a classifier of single images has train.objective='class_cross_entropy', "
            "model.num_match_outputs=0, task.grid=(1, 1) and task.false_rate=0.0; here they are "
            f"{config.train.objective!r}, {config.model.num_match_outputs}, "
            f"{tuple(config.task.grid)} and {config.task.false_rate}"
        )
    if set(modalities) & {"image_features", "audio_features"} and not one_true:
        yield (
            "model.modalities 'image_features' and 'audio_features' are of one image and one "
            "recording of it: task.grid=(1, 1), task.false_rate=0.0"
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


def _shape_problems(config: ConfigDict, task: sampler.Task) -> Iterator[str]:
    """The mistakes of a stem and a patch size that do not fit the pasted image."""
    model = config.model
    if "patches" not in model.modalities:
        return
    height, width, _ = task.canvas_shape
    stem = models.STEMS[model.stem]

    def fits(num_layers: int, patch_size: int) -> bool:
        sides = [stem.output_side(side, num_layers) for side in (height, width)]
        return all(side >= patch_size and side % patch_size == 0 for side in sides)

    if not fits(model.num_conv_layers, model.patch_size):
        sides = [stem.output_side(side, model.num_conv_layers) for side in (height, width)]
        layers = [str(n) for n in range(9) if fits(n, model.patch_size)]
        patches = [
            str(p) for p in range(1, max(height, width) + 1) if fits(model.num_conv_layers, p)
        ]
        yield (
            f"model.num_conv_layers={model.num_conv_layers} leaves {sides[0]}×{sides[1]} of the "
            f"{height}×{width} image, which model.patch_size={model.patch_size} does not tile; "
            f"with this patch size these N_c fit: {', '.join(layers) or 'none'}; with this N_c "
            f"these patch sizes: {', '.join(patches) or 'none'}"
        )


def _get(config: ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


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
        raise DamagedError(
            f"{path} cannot be read as a saved configuration ({error}); a workdir holds the "
            "config.json that training wrote"
        ) from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}; this program reads {FORMAT_VERSION}. Use the "
            "version of the program that wrote it, or another --workdir"
        )
    return from_json(fields, path)


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
        config.lock().update(fields)
        config.task.grid = tuple(config.task.grid)
        config.model.modalities = tuple(config.model.modalities)
        config.data.test_speakers = tuple(config.data.test_speakers)
        for field in ("suites", "suites_in_training"):
            config.evaluation[field] = tuple(config.evaluation[field])
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"{path} is not a configuration of this program: {error}") from error
    return config.unlock()


# Where the data lies, what is asked afterwards and what is saved do not change what is trained.
FREE_FIELDS = (
    "data.directory",
    "evaluation.suites",
    "evaluation.suite_pairs",
    "evaluation.other_data",
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


def fields(config: ConfigDict) -> dict[str, Any]:
    """The values of all fields by their dotted names."""
    return dict(_flat(config))


def _flat(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, tuple(value) if isinstance(value, list) else value
