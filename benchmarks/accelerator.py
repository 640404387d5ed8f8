r"""Everything that is to be measured on a GPU, in order of worth, within a given time.

The comparison with PyTorch in bfloat16 (batches of 512 and up, one seed and five), profiles of both
of the thesis's models (share of the measured ceiling, sampler's share), whether the same command
gives the same bits and a killed run goes on to them, the time to the thesis's accuracies at the
thesis's size, then as many runs of Table 4.1 as fit, convolutions and raw patches in turn.

    python benchmarks/accelerator.py --minutes 25
    python benchmarks/accelerator.py --dry-run   # the steps, and what is missing on this machine
    python benchmarks/accelerator.py --minutes 25 --only profile table

The same command goes on: steps that are done stay, and Table 4.1 continues its runs. Each step is a
program of its own, which may be started by hand; what it said is in its `log.txt`. Results:
`accelerator.json` and `accelerator.md` in the folder. Nothing is fetched; it runs from a source
tree. `--tiny` does all of it with small models on the digits, to try the way there.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerator_steps import ROOT, Step, steps

from multimodal_vit.data import load_local
from multimodal_vit.errors import UserError
from multimodal_vit.files import replacing

SECONDS_TO_STOP = 20.0  # that a step is given after SIGTERM

# ---- the machine ----

_DEVICES = """
import json, jax
print(json.dumps({"jax": jax.__version__, "platform": jax.default_backend(),
                  "devices": [d.device_kind for d in jax.devices()]}))
"""
_TORCH = """
import json, torch
print(json.dumps({"torch": torch.__version__, "cuda": torch.cuda.is_available()}))
"""


def machine() -> dict[str, Any]:
    """Versions and devices, asked of processes of their own: this one takes no GPU's memory."""
    found = {"python": sys.version.partition(" ")[0], "cores": os.cpu_count()}
    for program in (_DEVICES, _TORCH):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        if done.returncode == 0:
            found |= json.loads(done.stdout.splitlines()[-1])
    return found


def missing(known: Mapping[str, Any]) -> dict[str, str]:
    """What a step could need and this machine lacks, in words; nothing is fetched."""
    lacks = {}
    if "platform" not in known:
        lacks["jax"] = "JAX cannot be started"
    elif known["platform"] == "cpu":
        lacks["gpu"] = "JAX sees no accelerator: what is measured is the CPU"
    if "torch" not in known:
        lacks["torch"] = "PyTorch is not installed (pip install '.[benchmark]')"
    elif known.get("platform") == "gpu" and not known["cuda"]:
        lacks["torch"] = "PyTorch sees no GPU"
    for name in ("mnist", "fashion_mnist"):
        try:
            load_local("auto", name)
        except UserError:
            where = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
            lacks[name] = f"{name} is not found in {where}; name its folder with --data"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in project["dependencies"]:
        name = re.match(r"[A-Za-z0-9_.-]+", wanted)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lacks[name] = f"the package {name} is not installed"
    return lacks


# ---- running ----


class Measurement:
    """The folder of all steps, and what is known of each.

    Args:
      folder: made where there is none.
      asked: the steps.
      known: of the machine.
    """

    def __init__(self, folder: Path, asked: Sequence[Step], known: Mapping[str, Any]) -> None:
        self.folder, self.steps = folder, asked
        self.path = folder / "accelerator.json"
        self.content: dict[str, Any] = {"steps": {}}
        if self.path.exists():
            self.content = json.loads(self.path.read_text())
        self.content["machine"] = dict(known)
        self.stopped = False

    def status(self, step: Step) -> str:
        """One of "", "done", "part" (it goes on next time), "failed" and "stopped"."""
        return self.content["steps"].get(step.name, {}).get("status", "")

    def work(self, until: float, lacks: Mapping[str, str]) -> None:
        """Does what is left until a time of the monotonic clock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for step in self.steps:
            left = until - time.monotonic() - SECONDS_TO_STOP
            if reason := self.reason(step, left, lacks):
                print(f"{step.name}: {reason}", flush=True)
                continue
            print(f"{step.name}: {step.about} …", flush=True)
            limit = left if step.open_end else min(left, 60 * 3 * step.minutes)
            self.content["steps"][step.name] = self._run(step, limit)
            self.save()
            print(f"{step.name}: {self.status(step)}", flush=True)
            if self.stopped:
                return

    def reason(self, step: Step, left: float, lacks: Mapping[str, str]) -> str:
        """Why a step is not begun; "" where it is."""
        if self.status(step) == "done":
            return "done already"
        if lacking := [lacks[name] for name in step.needs if name in lacks]:
            return "; ".join(lacking)
        if left < 60 * step.minutes:
            return f"takes about {step.minutes:g} minutes, and {max(left, 0) / 60:.1f} are left"
        return ""

    def _run(self, step: Step, limit: float) -> dict[str, Any]:
        out = self.folder / step.name
        out.mkdir(exist_ok=True)
        began, status = time.monotonic(), "done"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | step.environment
        commands = [[part.replace("{out}", str(out)) for part in c] for c in step.commands]
        with (out / "log.txt").open("w") as log:
            for command in commands:
                process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
                code, told = self._wait(process, began + limit)
                if told:
                    status = "part" if step.open_end and code == 0 else "stopped"
                    break
                if code != 0:
                    status = "failed"
                    break
        found = None
        try:
            found = step.found(out)
        except (OSError, ValueError, LookupError):
            status = "failed" if status == "done" else status
        seconds = time.monotonic() - began
        return {"status": status, "seconds": seconds, "commands": commands, "found": found}

    def _wait(self, process: subprocess.Popen, until: float) -> tuple[int, bool]:
        """The exit code, and whether it was told to stop: its time was up, or by Ctrl-C."""
        try:
            return process.wait(max(0.0, until - time.monotonic())), False
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:
            self.stopped = True
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_group(process)
        return process.returncode, True

    def save(self) -> None:
        """Writes `accelerator.json` and `accelerator.md`."""
        with replacing(self.path) as file:
            file.write(json.dumps(self.content, indent=2) + "\n")
        with replacing(self.folder / "accelerator.md") as file:
            file.write("\n".join(self.markdown()) + "\n")

    def markdown(self) -> Iterable[str]:
        """The report, line by line."""
        known = self.content["machine"]
        yield "# Measured on an accelerator\n"
        yield ", ".join(f"{name} {value}" for name, value in known.items())
        for step in self.steps:
            kept = self.content["steps"].get(step.name)
            if kept is None:
                continue
            yield f"\n## {step.name}: {step.about}\n"
            yield f"{kept['status']}, {kept['seconds']:.0f} s\n"
            for command in kept["commands"]:
                yield f"    {shlex.join(command)}"
            if kept["found"] is not None:
                heading, *rows = step.rows(kept["found"])
                yield f"\n| {' | '.join(heading)} |\n|{' --- |' * len(heading)}"
                yield from (f"| {' | '.join(row)} |" for row in rows)


def _kill_group(process: subprocess.Popen) -> None:
    """Ends what a program has started and left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Measures what the time allows; the exit code is 0 where no step failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25.0, help="in all (default: 25)")
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"), help="the folder")
    parser.add_argument("--only", nargs="+", default=[], help="steps whose names begin so")
    parser.add_argument("--data", type=Path, help="the folder of MNIST (default: TFDS_DATA_DIR)")
    parser.add_argument("--tiny", action="store_true", help="small models, to try the way there")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    signal.signal(signal.SIGTERM, _interrupt)
    if arguments.data:
        os.environ["TFDS_DATA_DIR"] = str(arguments.data.resolve())
    known = machine()
    lacks = missing(known)
    asked = [
        step
        for step in steps(arguments.tiny)
        if not arguments.only or step.name.startswith(tuple(arguments.only))
    ]
    print(", ".join(f"{name} {value}" for name, value in known.items()))
    for text in lacks.values():
        print(f"missing: {text}")
    measurement = Measurement(arguments.out.resolve(), asked, known)
    if arguments.dry_run:
        left = until - time.monotonic() - SECONDS_TO_STOP
        for number, step in enumerate(asked, 1):
            reason = measurement.reason(step, left, lacks)
            print(f"{number:2d}. {step.name}, about {step.minutes:g} min: {step.about}")
            print(f"    {f'not begun: {reason}' if reason else 'would run'}")
            for command in step.commands:
                print(f"    {shlex.join(command)}")
            left -= 0 if reason else 60 * step.minutes
        return 0
    measurement.work(until, lacks)
    measurement.save()
    print(f"In {arguments.out}: accelerator.json, accelerator.md; the same command goes on.")
    return int(any(measurement.status(step) == "failed" for step in asked))


if __name__ == "__main__":
    sys.exit(main())
