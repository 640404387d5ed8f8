"""The folder of a run: what lies where, and when a run may use it.

config.json      the configuration, as data; nothing in it is executed
metrics.jsonl    one row for each log line and each validation
tensorboard/     the same as events
checkpoints/     the latest and the best state, by orbax
samples.png      examples of the task
sounds/          what is heard of them, as WAV
curves.png       loss and accuracy over the run
results.json     the outcome; present once the run is finished
predictions.npz  its answers to the test pairs
evidence.npz     failed checks and an example of attention, for pictures
failed.json      why a run of a study has no outcome, where it diverged
profile.json     what `--mode=profile` measured
profile/         its traces, for TensorBoard and Perfetto
bad_batch.npz    where it diverged: the batch of which the loss or the gradient was not finite
damaged/         what was found damaged, set aside
.lock            held by the process that trains here; it falls free when that process ends
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit.arrays import read_npz
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import DAMAGED, read_json, replacing, set_aside, write_json

SAMPLES = "samples.png"
SOUNDS = "sounds"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.npz"
EVIDENCE = "evidence.npz"
FAILURE = "failed.json"
LOCK = ".lock"
PROFILE = "profile"
_HARMLESS = {SAMPLES, SOUNDS, LOCK, DAMAGED, PROFILE, f"{PROFILE}.json"} | {
    "config.json",
    "config.json.tmp",
}
_SEED = re.compile(r"seed_\d+")
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # of the conditions of studies, searches


class Workdir:
    """A run's folder.

    Attributes:
      path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config_path(self) -> Path:
        """Where the configuration is saved."""
        return self.path / "config.json"

    @property
    def results_path(self) -> Path:
        """Where the outcome is saved."""
        return self.path / "results.json"

    def check(self, config: ConfigDict) -> None:
        """Checks that a run of `config` may begin or go on here; writes nothing.

        Raises:
          UserError: not a folder, a folder with other things in it, or another configuration's.
        """
        if self.config_path.is_file():
            self._refuse_differences(config)
        elif self.path.exists():
            if not self.path.is_dir():
                raise UserError(f"--workdir={self.path} is a file; name a folder")
            # A sheet, or what another process's start or a killed one leaves.
            if any(entry.name not in _HARMLESS for entry in self.path.iterdir()):
                raise UserError(
                    f"--workdir={self.path} holds other files and no run (no config.json); name a "
                    "new or empty folder"
                )

    def of_seed(self, seed: int) -> "Workdir":
        """The folder of one of several seeds, in this one; a whole run's."""
        return Workdir(self.path / f"seed_{seed}")

    def check_seeds(self) -> None:
        """Checks that the folders of several seeds may lie in this one.

        Raises:
          UserError: not a folder, or a folder with a single run or other things in it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--workdir={self.path} is a file; name a folder")
        for entry in self.path.iterdir() if self.path.exists() else ():
            if entry.name not in _HARMLESS - {"config.json"} and not _SEED.fullmatch(entry.name):
                what = "a single run" if self.config_path.exists() else f"other files ({entry})"
                raise UserError(
                    f"--workdir={self.path} holds {what}; name a new or empty folder for several "
                    "seeds"
                )

    def _refuse_differences(self, config: ConfigDict) -> None:
        try:
            saved = configuration.load(self.config_path)
        except DamagedError:
            return  # `begin` writes it anew; a checkpoint knows its configuration too
        found = configuration.differences(saved, config)
        if found:
            raise UserError(
                "\n  ".join([f"{self.path} holds a run with a different configuration:", *found])
                + "\nContinue it with its own configuration, or choose another --workdir"
            )

    def begin(self, config: ConfigDict) -> None:
        """Makes the folder and saves the configuration, unless a run is there already.

        A damaged saved configuration is set aside.

        Raises:
          UserError: as `check`, and where the folder cannot be written.
        """
        self.check(config)
        self.make_folder()
        try:
            if self.config_path.exists():
                try:
                    configuration.load(self.config_path)
                    return
                except DamagedError:
                    set_aside(self.config_path, self.path, copy=True)
            write_json(self.config_path, configuration.to_json(config))
        except OSError as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def locked(self, wait: bool = False) -> Iterator[bool]:
        """Holds the folder's lock, or yields False where another process holds it.

        Args:
          wait: wait for it instead.

        The kernel frees the lock when its process ends, however it ends, and only then: a process
        that is stopped or slow keeps it. Works between the hosts of a shared file system that
        supports `flock`.

        Raises:
          UserError: the folder cannot be made or written.
        """
        self.make_folder()
        lock = filelock.FileLock(self.path / LOCK, blocking=wait)
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield True
        finally:
            lock.release()

    def make_folder(self) -> None:
        """Makes the folder.

        Raises:
          UserError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"--workdir={self.path} cannot be written ({error.strerror}); name another folder"
        )

    def saved_config(self) -> ConfigDict:
        """The configuration of the run that is here.

        Raises:
          UserError: there is none.
        """
        if not self.config_path.is_file():
            if seeds := sorted(self.path.glob("seed_*/config.json")):
                raise UserError(
                    f"{self.path} holds runs of several seeds; name one, such as "
                    f"--workdir={seeds[0].parent}"
                )
            raise UserError(
                f"{self.path} holds no run: there is no {self.config_path}. Train one first, or "
                "name its folder with --workdir=…"
            )
        return configuration.load(self.config_path)

    def is_over(self) -> bool:
        """Whether a run here has an outcome or cannot have one."""
        return self.results_path.exists() or (self.path / FAILURE).exists()

    def results(self) -> dict[str, Any] | None:
        """The outcome of a finished run, else None.

        Raises:
          DamagedError: it is not as it was written.
        """
        return self._saved(self.results_path)

    def failure(self) -> str | None:
        """Why the run cannot be finished, where that is known.

        Raises:
          DamagedError: it is not as it was written.
        """
        saved = self._saved(self.path / FAILURE)
        return None if saved is None else saved.get("reason", "")

    def _saved(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            return read_json(path)
        except DamagedError as error:
            raise DamagedError(
                f"{error}. Start the training in this workdir again: what is damaged is set aside "
                "and computed anew from the checkpoints"
            ) from error

    def save_failure(self, reason: str) -> None:
        """Notes that the run cannot be finished."""
        self.save_json(FAILURE, {"reason": reason})

    def save_results(self, results: dict[str, Any]) -> None:
        """Writes the outcome; from then on the run is finished."""
        self.save_json(self.results_path.name, results)

    def evidence(self) -> dict[str, np.ndarray]:
        """What `save_evidence` kept, or nothing."""
        path = self.path / EVIDENCE
        if not path.exists():
            return {}
        return read_npz(path)

    def save_evidence(self, arrays: dict[str, np.ndarray]) -> None:
        """Keeps arrays for pictures, whole or not at all; none leave what is there."""
        if arrays:
            with replacing(self.path / EVIDENCE, "wb") as file:
                np.savez_compressed(file, **arrays)

    def save_json(self, name: str, content: dict[str, Any]) -> Path:
        """Writes a JSON file into the folder, whole or not at all, and returns its path."""
        path = self.path / name
        write_json(path, content)
        return path
