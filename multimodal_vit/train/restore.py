"""The parameters of a checkpoint alone, without the optimizer's state and without the data."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.train.checkpoint import Checkpoints


def best_variables(directory: Path, like: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
    """The variables of a run's best checkpoint, in host memory.

    Args:
      directory: the run's `checkpoints/`.
      like: the variables' shapes, "params" and what is kept beside them.

    Returns:
      Its step, the variables, and the fingerprint of the data that they were trained on.

    Raises:
      UserError: there is no checkpoint with a validation yet.
      DamagedError: it cannot be read, or is of another model.
    """
    checkpoints = Checkpoints(directory, read_only=True)
    try:
        step = checkpoints.best_step() if directory.is_dir() else None
        if step is None:
            raise UserError(
                f"{directory} holds no checkpoint with a validation yet; train on until the first "
                "one"
            )
        checkpoints.verify(step)
        fingerprint = checkpoints.progress(step)["data_fingerprint"]
    finally:
        checkpoints.close()
    wanted: dict[str, Any] = {"params": like["params"]}
    if beside := {name: tree for name, tree in like.items() if name != "params"}:
        wanted["statistics"] = beside
    numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    folder = directory.absolute() / str(step)
    handler = ocp.PyTreeCheckpointHandler()
    try:
        found = handler.restore(
            folder / "state",
            args=ocp.args.PyTreeRestore(item=wanted, restore_args=numpy, partial_restore=True),
        )
        for own, expected in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            if own.shape != expected.shape:
                raise ValueError(f"an array {own.shape} stands where {expected.shape} belongs")
    except Exception as error:  # of many kinds: whatever a damaged file raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DamagedError(f"the checkpoint {folder} cannot be read: {reason}") from error
    return step, {"params": found["params"]} | found.get("statistics", {}), fingerprint
