"""Kills runs, studies and searches at random moments and compares what they give in the end.

Each is a process of its own, as a user would start it, on the embedded digits. Killed, it is
started again with the same command; an undisturbed one is the reference. In the end parameters,
optimizer and metrics file must be the reference's bit for bit, and so must the results but for the
times.

    python benchmarks/crash_test.py --kills 60 --json crash_test.json

A run is killed (SIGKILL) at "start-up", a random time after the start; in "steps", after a log
line; in "validation", after the log line before one; in "checkpoint", when its temporary folder has
appeared. Studies, searches and "probed" runs, which end with all suites and checks, are killed at
any moment. After SIGTERM and SIGINT, at any moment
from the second second on, the process must end by itself within ten, with code 0 or 130.
"""

import argparse
import collections
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from multimodal_vit.config import load
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.resume import load_checkpoint
from multimodal_vit.versions import versions

ROOT = Path(__file__).resolve().parent.parent
SECONDS_TO_STOP = 10.0
SECONDS_TO_HANG = 3600.0
TIMES = re.compile(
    r".*(seconds|hours|attempts|per_second|sha256|cost)"  # of the clock, or with it in it
)
MOMENTS = {
    "run": ("start-up", "steps", "validation", "checkpoint", "SIGTERM", "SIGINT"),
    "study": ("SIGKILL", "SIGKILL", "SIGTERM", "SIGKILL", "SIGINT"),
    "probed": ("SIGKILL", "SIGKILL", "SIGTERM", "SIGKILL", "SIGINT"),
    "search": ("SIGKILL", "SIGKILL", "SIGTERM", "SIGKILL", "SIGINT"),
}

EXPERIMENT = """
from multimodal_vit.config import changed, small
from multimodal_vit.search import search
from multimodal_vit.study import cross, study

BASE = changed(small(), {{
    "data.source": "digits", "data.name": "digits", "model.embedding_dim": 16,
    "model.num_encoder_layers": 1, "model.mlp_dim": 32, "model.num_heads": 2,
    "model.patch_size": 14, "train.batch_size": 64, "train.num_samples": 1412 * {epochs},
    "train.log_every_steps": 23, "train.warmup_steps": 20, "train.patience": 0,
    "train.checkpoint_seconds": 0.5, "evaluation.num_passes": 4, "evaluation.suites": (),
}})
DECAY = {{"on": {{}}, "off": {{"train.weight_decay": 0.0}}}}

def get_config():
    {body}
"""
BODIES = {
    "run": "return BASE",
    "probed": "return changed(BASE, {'evaluation.suites': ('all',)})",
    "study": "config = study('Crash test', cross(BASE, decay=DECAY), [('on', 'off')]); "
    "config.num_seeds = 2; return config",
    "search": "space = {'train.weight_decay': (0.0, 1.0)}; "
    "config = search('Crash test', {'digits': (BASE, space)}); "
    "config.num_trials = config.num_seeds = 2; config.max_attempts = 10_000; return config",
}
EPOCHS = {"run": 20, "probed": 2, "study": 4, "search": 4}


@dataclasses.dataclass
class Life:
    """A process from its start to its end."""

    process: subprocess.Popen
    said: Path

    def wait(self, seconds: float = SECONDS_TO_HANG) -> int:
        """Its exit code."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Subject:
    """A run, study or search in a workdir, started as often as it is killed."""

    def __init__(self, kind: str, folder: Path, name: str, epochs: int) -> None:
        self.kind, self.folder, self.workdir = kind, folder, folder / name
        self.lives = 0
        config = folder / f"{kind}.py"
        config.write_text(EXPERIMENT.format(epochs=epochs, body=BODIES[kind]))
        mode = {"run": "train", "probed": "train"}.get(kind, kind)
        self.command = [
            sys.executable, "-m", "multimodal_vit.main", f"--mode={mode}", f"--config={config}",
            f"--workdir={self.workdir}",
        ]  # fmt: skip

    def start(self) -> Life:
        """Starts it, for the first time or again."""
        self.lives += 1
        said = self.folder / f"{self.workdir.name}-{self.lives}.log"
        cache = str(self.folder / "compilation_cache")  # compiled once: the same program each time
        environment = {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        } | os.environ
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with said.open("w") as file:
            process = subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return Life(process, said)

    def is_over(self) -> bool:
        """Whether its results are there."""
        name = {"study": "study.json", "search": "search_results.json"}
        path = self.workdir / name.get(self.kind, "results.json")
        if not path.exists():
            return False
        if self.kind != "search":
            return True
        (condition,) = json.loads(path.read_text())["conditions"].values()
        return condition["counts"]["done"] == 2  # a search that is stopped reports too

    def log_lines(self) -> list[dict[str, Any]]:
        """The whole rows of a run's metrics file."""
        path = self.workdir / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def checkpoint_steps(self) -> list[int]:
        """The steps of a run's finished checkpoints."""
        return Checkpoints(self.workdir / "checkpoints").steps()

    def writes_checkpoint(self) -> bool:
        """Whether a checkpoint is being written."""
        return any((self.workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def wait_until(there: Callable[[], bool], life: Life) -> bool:
    """Waits; False where the process ends before."""
    began = time.monotonic()
    while not there():
        if life.process.poll() is not None:
            return False
        if time.monotonic() - began > SECONDS_TO_HANG:
            raise TimeoutError(f"nothing happened in {SECONDS_TO_HANG} s; see {life.said}")
        time.sleep(0.001)
    return True


def reach(moment: str, subject: Subject, life: Life, usual: float, rng: random.Random) -> bool:
    """Waits for a moment of a life; False where it ends before."""
    if subject.kind == "run" and moment in ("steps", "validation"):
        before = len(subject.log_lines())

        def there() -> bool:
            lines = subject.log_lines()[before:]
            return bool(lines) and lines[-1]["split"] == "train"

        found = wait_until(there, life)
        time.sleep(rng.uniform(0, 0.05 if moment == "validation" else 0.5))
        return found
    if subject.kind == "run" and moment == "checkpoint":
        time.sleep(rng.uniform(0, usual))  # not always the first one
        found = wait_until(subject.writes_checkpoint, life)
        time.sleep(rng.uniform(0, 0.02))
        return found
    # Before its first line the interpreter dies of a signal, and nothing has begun.
    earliest = 1.0 if moment in ("SIGTERM", "SIGINT") else 0.0
    until = time.monotonic() + rng.uniform(earliest, max(usual, earliest))
    wait_until(lambda: time.monotonic() >= until, life)
    return life.process.poll() is None


def contents(subject: Subject) -> Iterator[tuple[str, Any]]:
    """What must be the same after any interruptions, by name."""
    for config_path in sorted(subject.workdir.rglob("config.json")):
        folder = config_path.parent
        name = str(folder.relative_to(subject.workdir))
        experiment = Experiment.create(load(config_path), for_training=False)
        checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
        for step in sorted({checkpoints.best_step(), checkpoints.latest_step()}):
            state, _, rows = load_checkpoint(experiment, checkpoints, step)
            leaves = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]
            yield f"{name} state at {step}", leaves
            yield f"{name} rows at {step}", rows
        checkpoints.close()
        yield f"{name} metrics", (folder / "metrics.jsonl").read_bytes()
    for path in sorted(subject.workdir.rglob("*.json")):
        if path.name in ("results.json", "study.json", "search_results.json"):
            text = json.loads(path.read_text())
            yield str(path.relative_to(subject.workdir)), _without_times(text)
    for path in sorted(subject.workdir.rglob("predictions.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name].tobytes() for name in arrays.files}
        yield str(path.relative_to(subject.workdir)), found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if not TIMES.fullmatch(k)}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def kill_all(
    kind: str, moments: list[str], epochs: int, folder: Path, rng: random.Random
) -> dict[str, Any]:
    """Kills subjects of a kind at some moments, each until it is over, and compares them.

    Args:
      kind: of `BODIES`.
      moments: of each kill.
      epochs: of each run.
      folder: for all workdirs.
      rng: for the moments.

    Returns:
      By moment: "tried", "within" (it was seen afterwards that the kill fell there), "lost" (of a
      subject that differs in the end, or that went back behind a checkpoint), "late" (it took more
      than ten seconds to stop), "seconds" (the longest stop).
    """
    reference = Subject(kind, folder, f"{kind}-reference", epochs)
    began = time.monotonic()
    life = reference.start()
    if life.wait() != 0:
        raise RuntimeError(f"the undisturbed {kind} failed; see {life.said}")
    usual = time.monotonic() - began
    expected = dict(contents(reference))
    found: dict[str, Any] = collections.defaultdict(
        lambda: {"tried": 0, "within": 0, "lost": 0, "late": 0, "seconds": 0.0, "why": []}
    )
    moments = rng.sample(moments, len(moments))
    number = 0
    while moments:
        number += 1
        subject = Subject(kind, folder, f"{kind}-{number}", epochs)
        done: list[str] = []
        lost: list[str] = []
        while not subject.is_over():
            before = subject.checkpoint_steps() if kind in ("run", "probed") else []
            life = subject.start()
            if moments:
                moment = moments[-1]
                if reach(moment, subject, life, 0.6 * usual, rng):
                    moments.pop()
                    done.append(moment)
                    found[moment]["tried"] += 1
                    found[moment]["within"] += _kill(moment, subject, life, found[moment], lost)
            code = life.wait()
            if code not in (0, -signal.SIGKILL, 130):
                lost.append(f"exit code {code}; see {life.said}")
                break
            said = life.said.read_text()
            again = re.search(r"Continuing from step (\d+)", said)
            if again and before and int(again[1]) < max(before):
                lost.append(f"went back from step {max(before)} to {again[1]}")
            print(f"{kind} {number}: {len(moments)} kills left", file=sys.stderr)
        if not lost:
            got = dict(contents(subject))
            lost = [
                f"{name} differs" for name in expected | got if expected.get(name) != got.get(name)
            ]
        for moment in set(done) if lost else ():
            found[moment]["lost"] += done.count(moment)
            found[moment]["why"] += [f"{kind}-{number}: {reason}" for reason in lost]
    return dict(found)


def _kill(moment: str, subject: Subject, life: Life, row: dict[str, Any], lost: list[str]) -> bool:
    """Sends the signal; returns whether it fell into the moment it was meant for."""
    which = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}.get(moment, signal.SIGKILL)
    life.process.send_signal(which)
    began = time.monotonic()
    code = life.wait()
    if which is not signal.SIGKILL:
        seconds = time.monotonic() - began
        row["seconds"] = max(row["seconds"], seconds)
        allowed = (0,) if which is signal.SIGTERM else (0, 130)
        if code not in allowed:
            lost.append(f"exit code {code} after {moment}; see {life.said}")
        row["late"] += seconds > SECONDS_TO_STOP
        return True
    if subject.kind == "run" and moment == "checkpoint":
        return subject.writes_checkpoint()
    if subject.kind == "run" and moment == "validation":
        return subject.log_lines()[-1]["split"] == "train"
    return True


def main() -> int:
    """Runs the test; the exit code is 0 where nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60, help="in all (default: 60)")
    parser.add_argument("--json", type=Path, help="where the counts are written")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--kinds", nargs="+", choices=list(BODIES), default=list(BODIES))
    parser.add_argument("--moments", nargs="+", help="of the kills (default: all)")
    parser.add_argument("--epochs", type=int, help="of each run (default: 20; probed 2, others 4)")
    arguments = parser.parse_args()
    # A shell starts what it runs in the background deaf to Ctrl-C, and so would these be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = random.Random(arguments.seed)
    shares = {"run": 3, "probed": 1, "study": 1, "search": 1}
    total = sum(shares[kind] for kind in arguments.kinds)
    counts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="crash-test-") as folder:
        for kind in arguments.kinds:
            kills = -(-arguments.kills * shares[kind] // total)
            known = arguments.moments or MOMENTS[kind]
            moments = [known[i % len(known)] for i in range(kills)]
            epochs = arguments.epochs or EPOCHS[kind]
            counts[kind] = kill_all(kind, moments, epochs, Path(folder), rng)
            if any(row["lost"] for row in counts[kind].values()):
                kept = Path(tempfile.mkdtemp(prefix="crash-test-kept-"))
                Path(folder).rename(kept / "lost")
                print(f"What was lost is kept in {kept}", file=sys.stderr)
                Path(folder).mkdir()
    print("| what | killed | times | within | lost | late |\n|" + " --- |" * 6)
    for kind, rows in counts.items():
        for moment in dict.fromkeys(MOMENTS[kind]):
            if row := rows.get(moment):
                numbers = [str(row[name]) for name in ("tried", "within", "lost", "late")]
                print(f"| {kind} | {moment} | {' | '.join(numbers)} |")
                for why in row["why"]:
                    print(f"  {why}", file=sys.stderr)
    if arguments.json:
        content = {"seed": arguments.seed, "versions": versions(), "counts": counts}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    return int(any(row["lost"] for rows in counts.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
