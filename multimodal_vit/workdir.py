"""The folder of a run: when a run may begin or go on there, and who holds it."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit import component_files
from multimodal_vit import config as configuration
from multimodal_vit.errors import DamagedError, UserError, way_out
from multimodal_vit.files import (
    DAMAGED,
    UNFINISHED,
    check_writable,
    remove_left_over,
    set_aside,
    write_json,
)
from multimodal_vit.locking import Lock
from multimodal_vit.run_files import LOCK, PROFILE, SAMPLES, SOUNDS, RunFiles

SECONDS_TO_WAIT = 1800.0  # for what another process writes at the end of a study or an evaluation
_HARMLESS = {SAMPLES, SOUNDS, LOCK, DAMAGED, PROFILE, f"{PROFILE}.json", "config.json"}
_SEED = re.compile(r"seed_\d+")
_SEVERAL_RUNS = {  # folders that hold runs, and where
    "runs of several seeds": "seed_*",
    "a study": "runs/*/seed_*",
    "a search": "*/trials/*/seed_*",
}
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # of the conditions of studies, searches


def _is_harmless(entry: Path) -> bool:
    """Whether a run may begin beside it: what a sheet, or a start that was killed, leaves."""
    return entry.name in _HARMLESS or entry.name.endswith(UNFINISHED)


class Workdir(RunFiles):
    """A run's folder, and when a run may use it."""

    def check(self, config: ConfigDict) -> None:
        """Checks that a run of `config` may begin or go on here; writes nothing.

        Raises:
          UserError: not a folder, a folder with other things in it, or another configuration's.
        """
        if self.config_path.is_file():
            self._refuse_differences(config)
            if not self.is_over():
                self.check_writable()
        elif self.path.exists():
            if not self.path.is_dir():
                raise UserError(f"--workdir={self.path} is a file; name a folder")
            # A sheet, or what another process's start or a killed one leaves.
            if not all(_is_harmless(entry) for entry in self.path.iterdir()):
                raise UserError(
                    f"--workdir={self.path} holds other files and no run (no config.json); name a "
                    "new or empty folder"
                )
            self.check_writable()

    def check_writable(self) -> None:
        """Checks that files can be written here.

        Raises:
          UserError: they cannot.
        """
        check_writable(self.path, f"--workdir={self.path}")

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
            harmless = _is_harmless(entry) and entry.name != "config.json"
            if not harmless and not _SEED.fullmatch(entry.name):
                what = "a single run" if self.config_path.exists() else f"other files ({entry})"
                raise UserError(
                    f"--workdir={self.path} holds {what}; name a new or empty folder for several "
                    "seeds"
                )

    def _refuse_differences(self, config: ConfigDict) -> None:
        try:
            saved = configuration.load(self.config_path)
        except DamagedError as error:
            if (self.path / "checkpoints").is_dir():
                return  # `begin` writes it anew; a checkpoint knows its configuration too
            raise UserError(
                f"{self.config_path} is not a configuration of this program, or damaged, and there "
                f"are no checkpoints beside it ({error}); name a new or empty folder"
            ) from error
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
            component_files.keep(config.components, self.path)
            write_json(self.config_path, configuration.to_json(config))
        except OSError as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def locked(self, wait: bool = False) -> Iterator[bool]:
        """Holds the folder's lock, or yields False where another process holds it.

        Then removes what writers that were killed have left unfinished.

        Args:
          wait: wait for it instead, up to `SECONDS_TO_WAIT`.

        Raises:
          UserError: the folder cannot be made or written, its file system has no locks, or another
            process has held it for so long.
        """
        new = not self.path.exists()
        self.make_folder()
        self.check_writable()
        lock = self.lock
        try:
            if wait:
                lock.wait(SECONDS_TO_WAIT)
            elif not lock.acquire():
                yield False
                return
        except UserError:
            if new:  # nothing is left of what is refused
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            remove_left_over(self.path)
            yield True
        finally:
            lock.release()

    @property
    def lock(self) -> Lock:
        """Its lock, not held; it tells who holds it."""
        return Lock(self.path / LOCK)

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
            f"--workdir={self.path} cannot be written ({error.strerror}); {way_out(error)}"
        )

    def saved_config(self, trust_components: bool = False) -> ConfigDict:
        """The configuration of the run that is here, with the components that it is made of.

        Args:
          trust_components: whether files of components that the workdir keeps may be executed.

        Raises:
          UserError: there is none, or it needs such files.
        """
        if not self.config_path.is_file():
            for what, runs in _SEVERAL_RUNS.items():
                if found := sorted(self.path.glob(f"{runs}/config.json")):
                    raise UserError(
                        f"{self.path} holds {what}; name one of its {len(found)} runs, such as "
                        f"--workdir={found[0].parent}"
                    )
            raise UserError(
                f"{self.path} holds no run: there is no {self.config_path}. Train one first, or "
                "name its folder with --workdir=…"
            )
        config = configuration.load(self.config_path)
        component_files.load_kept(config.components, self.path, trust_components)
        return configuration.settled(config)
