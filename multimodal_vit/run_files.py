"""The files of a run: what lies where in its folder, and what its outcome says.

config.json      the configuration, as data; nothing in it is executed
data.json        what the model must know of its data: `about_data`
components/      the sources of components from one's own files
metrics.jsonl    one row for each log line and each validation
tensorboard/     the same as events
checkpoints/     the latest and the best state, by orbax
samples.png      examples of the task
sounds/          what is heard of them, as WAV
curves.png       loss and accuracy over the run
results.json     the outcome; present once the run is finished
results_<n>.json the outcome that was, of n training pairs, where the run was made longer
repeat.py        the configuration as a file for --config, beside the report
predictions.npz  its answers to the test pairs
evidence.npz     failed checks and an example of attention, for pictures
failed.json      why a run of a study has no outcome, where it diverged
profile.json     what `--mode=profile` measured
profile/         its traces, for TensorBoard and Perfetto
prediction.png   what `--mode=predict` drew last
export/          what `--mode=export` wrote
bad_batch.npz    where it diverged: the batch of which the loss or the gradient was not finite
damaged/         what was found damaged, set aside
.lock            held by the process that trains here; it falls free when that process ends
"""

from pathlib import Path
from typing import Any

import numpy as np

from multimodal_vit import config as configuration
from multimodal_vit.arrays import read_npz
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import read_json, replacing, set_aside, write_json

SAMPLES = "samples.png"
SOUNDS = "sounds"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.npz"
REPEAT = "repeat.py"
EVIDENCE = "evidence.npz"
FAILURE = "failed.json"
LOCK = ".lock"
PROFILE = "profile"


class RunFiles:
    """What a run keeps in its folder.

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
            content = read_json(path)
            self.check_own(content, path)
            return content
        except DamagedError as error:
            raise DamagedError(
                f"{error}. Start the training in this workdir again: what is damaged is set aside "
                "and computed anew from the checkpoints"
            ) from error

    def save_failure(self, reason: str) -> None:
        """Notes that the run cannot be finished."""
        self.save_json(FAILURE, {"reason": reason} | self._names())

    def check_own(self, content: dict[str, Any], path: Path) -> None:
        """Checks that an outcome is of the run that is here.

        Raises:
          DamagedError: it names another configuration or seed.
        """
        own = self._names()
        other = [f"{k} {content[k]!r}" for k, v in own.items() if content.get(k, v) != v]
        if other:
            raise DamagedError(f"{path} is of another run ({', '.join(other)})")

    def _names(self) -> dict[str, Any]:
        if not self.config_path.is_file():
            return {}
        try:
            config = configuration.load(self.config_path)
        except UserError:
            return {}
        return {"config_name": config.name, "seed": config.seed}

    def save_results(self, results: dict[str, Any]) -> None:
        """Writes the outcome; from then on the run is finished."""
        self.save_json(self.results_path.name, results)

    def evidence(self) -> dict[str, np.ndarray]:
        """What `save_evidence` kept, or nothing.

        Raises:
          DamagedError: it is not as it was written.
        """
        path = self.path / EVIDENCE
        if not path.exists():
            return {}
        try:
            return read_npz(path)
        except DamagedError as error:
            raise DamagedError(
                f"{error}; evaluate the run anew with --mode=evaluate --suites=all "
                f"--workdir={self.path}"
            ) from error

    def save_evidence(self, arrays: dict[str, np.ndarray]) -> None:
        """Keeps arrays for pictures, whole or not at all; none leave what is there."""
        if arrays:
            with replacing(self.path / EVIDENCE, "wb") as file:
                np.savez_compressed(file, **arrays)

    def save_json(self, name: str, content: dict[str, Any]) -> Path:
        """Writes a JSON file into the folder, whole or not at all, and returns its path.

        A damaged one that is there is set aside.
        """
        path = self.path / name
        if path.exists():
            try:
                read_json(path)
            except DamagedError:
                set_aside(path, self.path)
        write_json(path, content)
        return path
