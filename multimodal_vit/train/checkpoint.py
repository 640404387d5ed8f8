"""Checkpoints by orbax: the latest ones and the best, written while training goes on.

Each carries the checksums of its files. It comes into being by a rename once they are written, and
goes by a rename before it is deleted, so that a process killed in between leaves none in part.
"""

import functools
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from multimodal_vit import distributed
from multimodal_vit.errors import DamagedError, UserError, way_out
from multimodal_vit.files import check_writable, file_checksum, read_json, set_aside, write_json

CHECKSUMS = "checksums.json"
FORMAT_VERSION = 2  # of 1, that of the checkpoints without checksums
NUM_LATEST = 2  # kept: should one be damaged, there is another
BYTES_BESIDE = 1 << 18  # that a checkpoint takes beside its arrays
PROGRESS = "progress/metadata"  # the file, in a checkpoint, of what the loop keeps beside the state
_STEP = re.compile("0|[1-9][0-9]*")
DELETED = "deleted"  # where checkpoints wait for their deletion


class Checkpoints:
    """The checkpoints of one run: the latest, and the one with the lowest validation loss.

    A checkpoint holds the training state and a dict of what the loop keeps beside it.

    Attributes:
      directory: where they lie, each in a folder named by its step.
    """

    def __init__(self, directory: Path, read_only: bool = False) -> None:
        # Orbax logs at length what does not concern a single run, and errors that it raises too.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.directory = directory.absolute()
        self._read_only = read_only
        self._saving: int | None = None

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:  # it reads all metrics: none may be damaged
        best = policies.BestN(
            get_metric_fn=_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        latest = policies.LatestN(NUM_LATEST)
        try:
            return ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=_loss,
                    best_mode="min",
                    preservation_policy=policies.AnyPreservationPolicy([latest, best]),
                    read_only=self._read_only,
                    create=not self._read_only,
                    cleanup_tmp_directories=not self._read_only,
                    todelete_subdir=None if self._read_only else DELETED,
                    async_options=ocp.AsyncOptions(
                        post_finalization_callback=self._write_checksums
                    ),
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(
                f"{self.directory} holds a damaged checkpoint ({type(error).__name__}: {error}); "
                "start the training there again: it sets the damaged one aside"
            ) from error

    def steps(self) -> list[int]:
        """The steps of the checkpoints that are there, damaged or not, in order."""

        def there() -> list[int]:
            if not self.directory.is_dir():
                return []
            names = (path.name for path in self.directory.iterdir())
            return sorted(int(name) for name in names if _STEP.fullmatch(name))

        return distributed.from_main(there)

    def latest_step(self) -> int | None:
        """The step of the latest checkpoint; None where there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the checkpoint with the lowest validation loss; None where there is none."""
        return self._manager.best_step()

    def loss(self, step: int) -> float:
        """The validation loss that was saved with a checkpoint."""
        return _loss(self._manager.metrics(step))

    def save(self, step: int, state: Any, progress: dict[str, Any], loss: float | None) -> None:
        """Begins to write a checkpoint and returns; `wait` waits for the end.

        Args:
          step: the updates made; a step that was saved before is not written again.
          state: a tree of arrays.
          progress: what JSON can hold.
          loss: the validation loss at this step, where it was measured.

        Raises:
          UserError: this one or the one before could not be written.
        """
        self.wait()
        if step == self._manager.latest_step():
            return
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        distributed.from_main(lambda: self._check_room(size))
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)
        )
        self._saving = step
        metrics = None if loss is None else {"loss": loss}
        try:
            self._manager.save(step, args=items, metrics=metrics)
        except Exception as error:  # of many kinds: whatever a full disk makes it raise
            raise self._unwritable(error) from error

    def _check_room(self, size: int) -> None:
        """Looks before orbax begins to write: where the disk fills meanwhile it says much."""
        check_writable(self.directory, f"{self.directory}, where the next checkpoint goes,")
        free = shutil.disk_usage(self.directory).free
        if free < size + BYTES_BESIDE:
            raise UserError(
                f"{free / 1e6:.1f} MB are free for the next checkpoint in {self.directory}, which "
                f"takes {(size + BYTES_BESIDE) / 1e6:.1f} MB. What was saved before stays; make "
                "room and start the same command again"
            )

    def _write_checksums(self) -> None:
        """Is called by orbax when all files of a checkpoint lie in its temporary folder."""
        for folder in self.directory.glob(f"{self._saving}.orbax-checkpoint-tmp*"):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            files.remove(folder / "_CHECKPOINT_METADATA")  # changes once more
            sums = {path.relative_to(folder).as_posix(): file_checksum(path) for path in files}
            content = {"format_version": FORMAT_VERSION, "step": self._saving, "files": sums}
            write_json(folder / CHECKSUMS, content)

    def wait(self) -> None:
        """Waits until what `save` began is written.

        Raises:
          UserError: it could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # of many kinds, as in `save`
            raise self._unwritable(error) from error
        if not self._read_only and distributed.is_main():
            shutil.rmtree(self.directory / DELETED, ignore_errors=True)

    def _unwritable(self, error: Exception) -> UserError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = getattr(error, "strerror", None) or reason.rpartition(": ")[2]
        return UserError(
            f"the checkpoint of step {self._saving} could not be written to {self.directory}: "
            f"{reason}. What was saved before stays; {way_out(error)}, and "
            "start the same command again"
        )

    def version(self, step: int) -> int:
        """The version of the format that a checkpoint is in.

        Raises:
          DamagedError: its list of checksums is damaged.
          UserError: a version that this program cannot read.
        """
        return distributed.from_main(lambda: self._version(step))

    def _version(self, step: int) -> int:
        folder = self.directory / str(step)
        if not (folder / CHECKSUMS).exists():
            if "config" in _read(folder / PROGRESS):
                raise DamagedError(f"the checkpoint {folder} is damaged: {CHECKSUMS} is missing")
            return 1
        version = read_json(folder / CHECKSUMS).get("format_version")
        if version != FORMAT_VERSION:
            raise UserError(
                f"the checkpoint {folder} has format version {version}; this program reads 1 "
                f"to {FORMAT_VERSION}. Use the version of the program that wrote it"
            )
        return version

    def verify(self, step: int) -> None:
        """Compares a checkpoint's files with its checksums; one of version 1 has none.

        Raises:
          DamagedError: a file is missing or changed, which the message names; or it is of another
            step.
          UserError: a version that this program cannot read.
        """
        distributed.from_main(lambda: self._verify(step))

    def _verify(self, step: int, only: str = "") -> None:
        folder = self.directory / str(step)
        if self._version(step) == 1:
            return
        content = read_json(folder / CHECKSUMS)
        if content.get("step", step) != step:
            raise DamagedError(f"the checkpoint {folder} is of step {content['step']}")
        for name in [only] if only else content["files"]:
            if not (folder / name).is_file():
                raise DamagedError(f"the checkpoint {folder} is damaged: {name} is missing")
            if file_checksum(folder / name) != content["files"].get(name):
                raise DamagedError(f"the checkpoint {folder} is damaged: {name} has changed")

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """Reads a checkpoint.

        Args:
          step: one that exists.
          like: a state of the same structure; its shapes, dtypes and shardings are taken.

        Returns:
          The state and the dict that were saved.

        Raises:
          DamagedError: the checkpoint cannot be read, or is of another model.
        """
        self.verify(step)
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
            raise DamagedError(
                f"the checkpoint {self.directory / str(step)} cannot be read: {reason}"
            ) from error
        return found.state, found.progress

    def progress(self, step: int) -> dict[str, Any]:
        """The dict that was saved with a checkpoint, whose other files are not looked at.

        Raises:
          DamagedError: it is damaged.
          UserError: a version that this program cannot read.
        """

        def read() -> dict[str, Any]:
            self._verify(step, only=PROGRESS)
            return _read(self.directory / str(step) / PROGRESS)

        return distributed.from_main(read)

    def set_aside(self, step: int, folder: Path) -> Path:
        """Moves a damaged checkpoint away; returns where it lies now.

        Args:
          step: whose checkpoint it is.
          folder: of the run.
        """
        if "_manager" in self.__dict__:
            self._manager.close()
            del self._manager  # the next one knows only what is there

        def move() -> str:
            return str(set_aside(self.directory / str(step), folder, f"checkpoint_{step}"))

        return Path(distributed.from_main(move))

    def close(self) -> None:
        """Waits until everything is written.

        Raises:
          UserError: it could not be written.
        """
        if "_manager" in self.__dict__:
            try:
                self.wait()
            finally:
                self._manager.close()


def _loss(metrics: dict[str, float]) -> float:
    return metrics["loss"]


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's dict, as orbax wrote it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} cannot be read: it holds no JSON object")
    return content
