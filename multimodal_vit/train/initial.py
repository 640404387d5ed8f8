"""Where parameters begin: those of another run's best checkpoint, and which of them stay.

`model.initial` names the workdir of a run; of its parameters those whose names begin with one of
`model.initial_parts` are taken over, so that a pre-training can be fine-tuned with another head.
In a study "@NAME" is the run of another condition with the same seed.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit import distributed
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import file_checksum, read_json
from multimodal_vit.parameters import beginnings, begins, leaves_by_name, name_of
from multimodal_vit.train.checkpoint import CHECKSUMS, Checkpoints
from multimodal_vit.train.experiment import Experiment

OF_CONDITION = "@"  # begins the name of a study's condition


def place(initial: str, workdir: Path) -> Path:
    """The folder that `model.initial` names.

    Args:
      initial: not empty.
      workdir: of the run that starts there: "<study>/runs/<condition>/seed_<seed>" in a study.

    Raises:
      UserError: the run of a condition, and the workdir is in no study.
    """
    if not initial.startswith(OF_CONDITION):
        return Path(initial).expanduser()
    if workdir.parent.parent.name != "runs":
        raise UserError(
            f"model.initial={initial!r} names a study's condition, but {workdir} is no run of a "
            "study; name a workdir"
        )
    return workdir.parent.parent / initial.removeprefix(OF_CONDITION) / workdir.name


def initial_variables(
    experiment: Experiment, folder: Path
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The parameters of a run's best checkpoint, or of its latest where it has no best one.

    Args:
      experiment: that starts from them, on the same data.
      folder: of the run.

    Returns:
      Arrays by path, and what is known of them: "workdir", "step", "config_name", "sha256", of the
      checkpoint's own checksums, and, of a finished run, "pflop", what its training cost.

    Raises:
      UserError: no run there, it is damaged, or it was trained on other data.
    """
    what = f"model.initial={experiment.config.model.initial!r}"
    path = folder / "config.json"
    if not distributed.from_main(path.is_file):
        raise UserError(f"{what}: {folder} holds no run; train it first, or name its workdir")
    saved: ConfigDict = configuration.load(path)
    free = {name: configuration.get(experiment.config, name) for name in configuration.FREE_FIELDS}
    try:
        other = Experiment.create(
            configuration.changed(saved, free),
            experiment.splits,
            list(experiment.mesh.devices.flat),
        )
        checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
        steps = checkpoints.steps()
        step = checkpoints.best_step() if steps else None
        step = step if step is not None else max(steps, default=None)
        if step is None:
            raise UserError("there is no checkpoint yet")
        checkpoints.verify(step)
        state, saved_beside = checkpoints.restore(step, other.abstract_state())
        checkpoints.close()
        if saved_beside["data_fingerprint"] != experiment.splits.fingerprint():
            raise UserError("it was trained on other data")
    except UserError as error:
        raise UserError(f"{what}: the run in {folder} cannot be used: {error}") from error
    checksum = file_checksum(checkpoints.directory / str(step) / CHECKSUMS)
    known = {"workdir": experiment.config.model.initial, "step": step, "sha256": checksum}
    with contextlib.suppress(OSError, DamagedError, KeyError):  # what it cost, where it is known
        known["pflop"] = read_json(folder / "results.json")["pflop"]
    return leaves_by_name(state.params), known | {"config_name": saved.name}


def taken_over(params: Any, found: Mapping[str, Any], parts: Sequence[str], what: str) -> Any:
    """Parameters of which some are another run's.

    Args:
      params: those of a run that begins.
      found: of the other run, by path.
      parts: the beginnings of the names that are taken over.
      what: to be named where they do not fit.

    Raises:
      UserError: one is missing there, or of another shape; or none is named.
    """
    wanted = {path: leaf for path, leaf in leaves_by_name(params).items() if begins(path, parts)}
    if not wanted:
        raise UserError(
            f"model.initial_parts={tuple(parts)} names no parameter of this model; they begin with "
            f"{beginnings(leaves_by_name(params))}"
        )
    for path, leaf in wanted.items():
        if path not in found:
            raise UserError(
                f"{what} has no parameter {path}; take the same model there, or leave it out of "
                "model.initial_parts"
            )
        if found[path].shape != leaf.shape:
            raise UserError(
                f"{what}: the parameter {path} is {list(found[path].shape)} there and "
                f"{list(leaf.shape)} here; take the same model, or leave it out of "
                "model.initial_parts"
            )

    def at(path: tuple[Any, ...], leaf: Any) -> Any:
        name = name_of(path)
        return jax.device_put(found[name], leaf.sharding) if name in wanted else leaf

    return jax.tree_util.tree_map_with_path(at, params)


def start(experiment: Experiment, workdir: Path) -> tuple[Any, dict[str, Any] | None]:
    """The state before the first step, and what is known of the run that it starts from.

    Args:
      experiment: that starts.
      workdir: of it.

    Raises:
      UserError: `model.initial` cannot be used.
    """
    state = experiment.init_state()
    initial = experiment.config.model.initial
    if not initial:
        return state, None
    folder = place(initial, workdir)
    found, known = initial_variables(experiment, folder)
    what = f"model.initial={initial!r}: the run in {folder}"
    parts = experiment.config.model.initial_parts
    params = taken_over(state.params, found, parts, what)
    return state.replace(params=params), known


def check(experiment: Experiment, workdir: Path) -> None:
    """Raises the `UserError` of `start` before anything is written; nothing where a run goes on."""
    going_on = distributed.from_main((workdir / "checkpoints").is_dir)
    if experiment.config.model.initial and not going_on:
        start(experiment, workdir)
