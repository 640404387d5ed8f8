"""The least and the most that each number of a configuration may be, and what contradicts itself.

Checked in microseconds, before anything is imported, drawn or allocated: also of a configuration in
a folder that somebody else made. The bounds are far beyond what can be trained today and far below
what makes a program wait or fill the memory before it can say so; whether a run fits the device is
`train.memory`'s question.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

SEEDS = 2**32  # seeds are 32 bits on every backend
STEPS = 2**31 - 1  # steps are counted in 32 bits on the device
MAX_POSITIONS = 256  # of a grid: each has an evaluation suite of its own, and a token
MAX_TEXT = 4_096  # characters, as of a path
MAX_VALUES = 1_000  # in a list


class Bound(NamedTuple):
    """The least and the most of a number, both allowed, and why no more."""

    least: float
    most: float
    why: str


_COUNT = 10**9
_RARE = "rarer than any run lasts"
_BATCH = Bound(1, 2**20, "a batch is in memory at once")

EXPERIMENT: Mapping[str, Bound] = {
    "seed": Bound(0, SEEDS - 1, "seeds have 32 bits"),
    "data.validation_share": Bound(0, 0.9, "what is left is trained on"),
    "model.num_conv_layers": Bound(0, 64, "each layer is compiled"),
    "model.patch_size": Bound(1, 4_096, "the largest side of an image"),
    "model.embedding_dim": Bound(1, 2**16, "four times that of the largest Transformers"),
    "model.num_encoder_layers": Bound(1, 512, "each layer is compiled"),
    "model.num_heads": Bound(1, 1_024, "more than any Transformer has"),
    "model.mlp_dim": Bound(1, 2**18, "four times the largest model.embedding_dim"),
    "model.num_registers": Bound(0, 4_096, "each is a token"),
    "train.num_seeds": Bound(1, 1_000, "all are trained at once"),
    "train.num_samples": Bound(1, 10**12, "steps are counted in 32 bits"),
    "train.num_labelled": Bound(0, _COUNT, "more pairs than a run can see"),
    "train.batch_size": _BATCH,
    "train.accumulate_steps": _BATCH,
    "train.learning_rate": Bound(0, 1e38, "the largest number of 32 bits"),
    "train.warmup_steps": Bound(0, STEPS, "steps are counted in 32 bits"),
    "train.weight_decay": Bound(0, 1e6, "the parameters would be gone in a step"),
    "train.gradient_clip": Bound(0, 1e38, "the largest number of 32 bits"),
    "train.epochs_per_validation": Bound(1, _COUNT, _RARE),
    "train.steps_per_validation": Bound(0, _COUNT, _RARE),
    "train.patience": Bound(0, _COUNT, _RARE),
    "train.log_every_steps": Bound(1, _COUNT, _RARE),
    "train.checkpoint_seconds": Bound(0, _COUNT, _RARE),
    "train.model_devices": Bound(1, 2**20, "more than any machine has"),
    "evaluation.seed": Bound(0, SEEDS - 1, "seeds have 32 bits"),
    "evaluation.batch_size": _BATCH,
    "evaluation.num_passes": Bound(1, 10_000, "all answers are in memory at once"),
    "evaluation.suite_pairs": Bound(0, _COUNT, "all answers are in memory at once"),
}
STUDY: Mapping[str, Bound] = {
    "num_seeds": Bound(1, 10_000, "each is a run of its own"),
    "control_seeds": Bound(0, 10_000, "each is a run of its own"),
    "first_seed": Bound(0, SEEDS - 1, "seeds have 32 bits"),
}
SEARCH: Mapping[str, Bound] = {
    "seed": Bound(0, SEEDS - 1, "seeds have 32 bits"),
    "num_seeds": Bound(1, 10_000, "each is a run of its own"),
    "num_trials": Bound(1, 10**6, "each is a run of its own"),
    "max_hours": Bound(0, 10**6, "a century; 0 is no limit"),
    "max_attempts": Bound(1, 1_000, "each costs a worker"),
}


def experiment_problems(fields: Mapping[str, Any]) -> Iterator[str]:
    """A line for each field of an experiment that is out of range or contradicts another.

    Args:
      fields: values by their dotted names, of the right types; those that are missing are not
        looked at.
    """
    yield from out_of_range(fields, EXPERIMENT)
    yield from too_long(fields)
    if (grid := fields.get("task.grid")) is not None:
        yield from _grid(grid)
    other = fields.get("evaluation.other_data") or ""
    if leaves_folder(other):
        yield (
            f"evaluation.other_data={other!r} leaves the data folder; name a folder in it, such as "
            "fashion_mnist"
        )
    speakers = fields.get("data.test_speakers")
    if speakers and not fields.get("data.audio"):
        yield (
            f"data.test_speakers={tuple(speakers)} holds speakers out, but no recordings are read; "
            "name some with data.audio, or leave it empty"
        )
    yield from seeds_out_of_range(fields, "seed", "train.num_seeds")
    samples, size = fields.get("train.num_samples", 1), fields.get("train.batch_size", 1)
    if _whole(samples) and _whole(size) and size >= 1 and samples // size > STEPS:
        yield (
            f"train.num_samples={_shown(samples)} in batches of {_shown(size)} are more than "
            f"{STEPS:,} steps, which are counted in 32 bits; take fewer samples or larger batches"
        )


def study_problems(fields: Mapping[str, Any]) -> Iterator[str]:
    """A line for each field of a study, beside its conditions, that is out of range."""
    yield from out_of_range(fields, STUDY)
    yield from seeds_out_of_range(fields, "first_seed", "num_seeds")


def search_problems(fields: Mapping[str, Any]) -> Iterator[str]:
    """A line for each field of a search, beside its conditions, that is out of range."""
    yield from out_of_range(fields, SEARCH)


def out_of_range(fields: Mapping[str, Any], bounds: Mapping[str, Bound]) -> Iterator[str]:
    """A line for each number that is below its least, above its most, or no number at all."""
    for field, bound in bounds.items():
        value = fields.get(field, bound.least)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue  # its type is said to be wrong elsewhere
        said = f"{field}={_shown(value)} is out of range: it must be"
        if not value >= bound.least or value == math.inf:
            yield f"{said} at least {bound.least:g}, and finite"
        elif value > bound.most:
            most = f"{bound.most:,}" if isinstance(bound.most, int) else f"{bound.most:g}"
            yield f"{said} at most {most} ({bound.why})"


def seeds_out_of_range(fields: Mapping[str, Any], first: str, count: str) -> Iterator[str]:
    """A line if the seeds from the first on leave the range; each alone is `out_of_range`'s."""
    start, number = fields.get(first, 0), fields.get(count, 1)
    each_fits = _whole(start) and _whole(number) and start < SEEDS and 1 < number <= SEEDS
    if each_fits and start + number > SEEDS:
        yield (
            f"{count}={number} from {first}={start} leaves the seeds below 2**32; take a smaller "
            "seed"
        )


def too_long(fields: Mapping[str, Any]) -> Iterator[str]:
    """A line for each text of more than `MAX_TEXT` signs or list of more than `MAX_VALUES`."""
    for field, value in fields.items():
        if isinstance(value, str) and (len(value) > MAX_TEXT or "\0" in value):
            yield (
                f"{field}={value[:20]!r}… is no text of at most {MAX_TEXT:,} signs (without the "
                f"sign of code 0); it has {len(value):,}"
            )
        elif isinstance(value, (list, tuple)) and len(value) > MAX_VALUES:
            yield f"{field} lists {len(value):,} values; at most {MAX_VALUES:,} are read"


def leaves_folder(name: str) -> bool:
    """Whether the name of a data set is a path that leads out of the data folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":"


def _grid(grid: Sequence[Any]) -> Iterator[str]:
    """A line if a grid is not two whole numbers from 1, of which True is none."""
    if not isinstance(grid, (list, tuple)) or len(grid) > MAX_VALUES:
        return
    sides = list(grid)
    if len(sides) != 2 or not all(_whole(side) and side >= 1 for side in sides):
        shown = ", ".join(_shown(side) for side in sides)
        yield (
            f"task.grid=({shown}{',' if len(sides) == 1 else ''}) must be (rows, columns), each a "
            "whole number from 1"
        )
    elif math.prod(sides) > MAX_POSITIONS:
        yield (
            f"task.grid=({_shown(sides[0])}, {_shown(sides[1])}) is out of range: it must have at "
            f"most {MAX_POSITIONS} positions (each has an evaluation suite, and words of its own)"
        )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value as it is; of a whole number too long to be printed its size."""
    if _whole(value) and value.bit_length() > 256:
        return f"(a whole number of {value.bit_length():,} bits)"
    return repr(value)
