"""Checkpoints by orbax: the latest and the best one, written while training goes on."""

import logging
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from multimodal_vit.errors import UserError


class Checkpoints:
    """The checkpoints of one run: the latest, and the one with the lowest validation loss.

    A checkpoint holds the training state and a dict of what the loop keeps beside it.
    """

    def __init__(self, directory: Path, read_only: bool = False) -> None:
        # Orbax warns at length of what does not concern a single run; errors are still raised.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self.directory = directory.absolute()
        best = policies.BestN(
            get_metric_fn=_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                best_fn=_loss,
                best_mode="min",
                preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(1), best]),
                read_only=read_only,
                create=not read_only,
            ),
        )

    def latest_step(self) -> int | None:
        """The step of the latest checkpoint; None where there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the checkpoint with the lowest validation loss; None where there is none."""
        return self._manager.best_step()

    def save(self, step: int, state: Any, progress: dict[str, Any], loss: float | None) -> None:
        """Begins to write a checkpoint and returns; `close` waits for the end.

        Args:
          step: the updates made; a step that was saved before is not written again.
          state: a tree of arrays.
          progress: what JSON can hold.
          loss: the validation loss at this step, where it was measured.
        """
        if step == self._manager.latest_step():
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)
        )
        self._manager.save(step, args=items, metrics=None if loss is None else {"loss": loss})

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """Reads a checkpoint.

        Args:
          step: one that exists.
          like: a state of the same structure; its shapes, dtypes and shardings are taken.

        Returns:
          The state and the dict that were saved.

        Raises:
          UserError: the checkpoint cannot be read, or is of another model.
        """
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore()
        )
        try:
            found = self._manager.restore(step, args=items)
        except Exception as error:  # of many kinds: whatever a damaged file raises
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"the checkpoint {self.directory / str(step)} cannot be read: {reason}"
            ) from error
        return found.state, found.progress

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _loss(metrics: dict[str, float]) -> float:
    return metrics["loss"]
