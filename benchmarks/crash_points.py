"""Kills a small run before and after every one of its file operations, and goes on from each.

    python benchmarks/crash_points.py
    python benchmarks/crash_points.py --every 10 --json found.json

A process that is killed leaves what the kernel has of its files at that moment. So one run is made
once, and before and after each of its file operations (opening to write, fsync, rename, deletion,
making and removing folders; orbax's threads included) its folder is copied: the copy is what a
SIGKILL there would have left. A file that is written at that moment is also taken cut off in the
middle of what was written last. From each state that differs from the others the run then goes on,
in one process, and must end like the undisturbed one: checkpoints, metrics file and answers bit for
bit, results but for the times; with nothing set aside as damaged and no temporary file left. The
checkpoints' arrays are written by tensorstore's own threads, whose operations are not seen one by
one; `crash_test.py` kills real processes, also there, at random moments. Pictures are not drawn.
"""

import argparse
import builtins
import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from crash_test import Subject, contents
from ml_collections import ConfigDict

from multimodal_vit import run as run_module
from multimodal_vit.config import changed, small
from multimodal_vit.files import DAMAGED, UNFINISHED
from multimodal_vit.mending import mend
from multimodal_vit.probes import answers
from multimodal_vit.run import finished, run
from multimodal_vit.train import loop
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.versions import versions
from multimodal_vit.workdir import Workdir

LEAST_POINTS = 400
OPERATIONS = ("replace", "rename", "link", "symlink", "unlink", "remove", "mkdir", "rmdir", "fsync",
              "truncate", "ftruncate")  # fmt: skip
CHANGES = {
    "name": "crash_points", "data.source": "digits", "data.name": "digits",
    "model.modalities": ("words",), "model.embedding_dim": 8, "model.num_encoder_layers": 1,
    "model.mlp_dim": 8, "model.num_heads": 1, "train.batch_size": 353, "train.warmup_steps": 2,
    "train.num_samples": 1412 * 4, "train.log_every_steps": 2, "train.patience": 0,
    "train.checkpoint_seconds": 1e9, "evaluation.num_passes": 1, "evaluation.suites": (),
}  # fmt: skip


class Recorder:
    """Copies a folder before and after each operation on a file in it.

    Attributes:
      points: the operation and the moment of each, such as "replace …/results.json, after".
      states: the number of the copy by what the folder held.

    Args:
      folder: is watched.
      copies: receives the copies.
    """

    def __init__(self, folder: Path, copies: Path) -> None:
        self.folder, self.copies = folder, copies
        self.points: list[str] = []
        self.states: dict[str, Path] = {}
        self._guard = threading.RLock()
        self._inside = threading.local()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, the operations are seen."""
        before = {name: getattr(os, name) for name in (*OPERATIONS, "open")}
        opens = io.open, builtins.open
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(name, before[name]))
        os.open = self._wrapped("open", before["open"], _opens_to_write)
        io.open = builtins.open = self._wrapped("open", opens[0], _opens_in_write_mode)
        try:
            yield
        finally:
            for name, function in before.items():
                setattr(os, name, function)
            io.open, builtins.open = opens

    def _wrapped(
        self, name: str, function: Callable, counts: Callable[..., bool] = lambda *a, **k: True
    ) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            inside = getattr(self._inside, "yes", False)
            path = None if inside else self._path(*arguments, **options)
            if path is None or not counts(*arguments, **options):
                return function(*arguments, **options)
            with self._guard:  # no other thread begins an operation meanwhile
                self._inside.yes = True
                try:
                    self._copy(f"{name} {path}, before")
                    result = function(*arguments, **options)
                    self._copy(f"{name} {path}, after")
                    if name == "fsync":
                        self._copy(f"write {path}, half", half=self.folder / path)
                finally:
                    self._inside.yes = False
            return result

        return call

    def _path(
        self, path: Any, *others: Any, dir_fd: int | None = None, **options: Any
    ) -> str | None:
        """What an operation is on, relative to the folder; None where it is elsewhere."""
        try:
            if isinstance(path, int):
                path = Path(f"/proc/self/fd/{path}").readlink()
            elif dir_fd is not None:
                path = Path(f"/proc/self/fd/{dir_fd}").readlink() / os.fsdecode(path)
            path = Path(os.fsdecode(path)).absolute()
        except (OSError, TypeError):
            return None
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else None

    def _copy(self, point: str, half: Path | None = None) -> None:
        self.points.append(point)
        target = self.copies / f"{len(self.points):04d}"
        target.mkdir()
        digest = hashlib.sha256()
        for root, folders, files in os.walk(self.folder):
            folders.sort()
            place = target / Path(root).relative_to(self.folder)
            for name in folders:
                (place / name).mkdir()
                digest.update(f"{place.relative_to(target) / name}/".encode())
            for name in sorted(files):
                with contextlib.suppress(FileNotFoundError):  # tensorstore renames its own
                    data = Path(root, name).read_bytes()
                    if Path(root, name) == half:
                        data = data[: len(data) - _last_written(half, data) // 2]
                    (place / name).write_bytes(data)
                    digest.update(
                        f"{place.relative_to(target) / name} {len(data)} ".encode() + data
                    )
        if (state := digest.hexdigest()) in self.states:
            shutil.rmtree(target)
        else:
            self.states[state] = target


def _last_written(path: Path, data: bytes) -> int:
    """The bytes of a file that were written last: all, or the last line that was appended."""
    if path.name.endswith(UNFINISHED):
        return len(data)
    return len(data) - (data.rstrip(b"\n").rfind(b"\n") + 1)


def _opens_to_write(path: Any, flags: int, *others: Any, **options: Any) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def _opens_in_write_mode(path: Any, mode: str = "r", *others: Any, **options: Any) -> bool:
    return not isinstance(path, int) and any(sign in mode for sign in "wax+")


def compiled_once(config: ConfigDict) -> Experiment:
    """An experiment whose programs are compiled once for all runs of it in this process."""
    experiment = Experiment.create(config, devices=jax.devices()[:1])
    for module in (loop, answers):
        module.Predictor = _once(module.Predictor)
    first = experiment.init_state()
    host, places = jax.device_get(first), jax.tree.map(lambda x: x.sharding, first)
    again = functools.partial(jax.device_put, host, places)
    object.__setattr__(experiment, "init_state", again)  # it is frozen
    loop.program = _once(loop.program)
    run_module.flop_per_example = _once(run_module.flop_per_example)
    return experiment


def _once(make: Callable) -> Callable:
    """A function that makes one thing, whatever it is asked for: here it is always the same."""
    made: list[Any] = []

    def call(*arguments: Any) -> Any:
        if not made:
            made.append(make(*arguments))
        return made[0]

    return call


def to_the_end(experiment: Experiment, workdir: Workdir) -> None:
    """What the command does, but for pictures and what it says."""
    workdir.check(experiment.config)
    mend(workdir, print)
    if finished(experiment, workdir) is None:
        with workdir.locked() as free:
            if not free:
                raise RuntimeError(f"{workdir.path} is locked by {workdir.lock.holder()}")
            run(experiment, workdir)


def contents_of(workdir: Path) -> dict[str, Any]:
    """What must be the same, by name; see `crash_test.contents`."""
    subject = object.__new__(Subject)
    subject.workdir = workdir
    return dict(contents(subject))


def what_differs(workdir: Path, expected: dict[str, Any]) -> list[str]:
    """Why a run is not like the undisturbed one; what it has left."""
    found = contents_of(workdir)
    lost = [f"{n} differs" for n in expected | found if expected.get(n) != found.get(n)]
    left = [p for p in workdir.rglob("*") if p.name.endswith(UNFINISHED) or "-tmp" in p.name]
    lost += [f"{path.relative_to(workdir)} is left over" for path in left]
    if (workdir / DAMAGED).exists():
        names = ", ".join(path.name for path in (workdir / DAMAGED).iterdir())
        lost.append(f"taken for damaged: {names}")
    return lost


def main() -> int:
    """Runs the sweep; the exit code is 0 where nothing was lost and the points were enough."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="go on from each so-many-th state")
    parser.add_argument("--json", type=Path, help="where the counts are written")
    arguments = parser.parse_args()
    experiment = compiled_once(changed(small(), CHANGES))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-points-") as folder:
        (copies := Path(folder) / "copies").mkdir()
        reference = Workdir(Path(folder) / "run")
        recorder = Recorder(reference.path, copies)
        with recorder.watching():
            to_the_end(experiment, reference)
        expected = contents_of(reference.path)
        tried = list(recorder.states.values())[:: arguments.every]
        lost: dict[str, list[str]] = {}
        for number, copy in enumerate(tried, 1):
            point = recorder.points[int(copy.name) - 1]
            try:
                to_the_end(experiment, Workdir(copy))
                reasons = what_differs(copy, expected)
            except Exception as error:  # whatever it is, the run did not go on
                reasons = [f"{type(error).__name__}: {error}"]
            if reasons:
                lost[point] = reasons
                print(f"{point}: {'; '.join(reasons)}", file=sys.stderr)
            shutil.rmtree(copy)
            if number % 20 == 0:
                print(f"{number} of {len(tried)} states", file=sys.stderr)
    counts = {
        "points": len(recorder.points),
        "operations": sum(point.endswith("before") for point in recorder.points),
        "states": len(recorder.states),
        "tried": len(tried),
        "lost": len(lost),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(f"| {' | '.join(counts)} |\n|{' --- |' * len(counts)}")
    print(f"| {' | '.join(map(str, counts.values()))} |")
    if arguments.json:
        content = {"versions": versions(), "counts": counts, "lost": lost}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    return int(bool(lost) or counts["points"] < LEAST_POINTS)


if __name__ == "__main__":
    sys.exit(main())
