"""Workers: processes that one command starts and that share its study or its search.

A worker is the same command once more, on a core of its own. What is shared lies in the folder, and
the locks there say who works on what; so a worker that is killed loses its run to another, and the
process that started them does at the end whatever none of them did. Each computes with as many
threads as that process would, hence to the same bits (docs/reliability.md).

A worker writes what it would show as JSON text sequences (RFC 7464) to its output, a pipe; what is
written there without the mark is text of a library. Its input is a pipe too, which ends when the
process that started it ends, however that ends: then the worker saves and stops.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from multimodal_vit import locking
from multimodal_vit.errors import UserError
from multimodal_vit.train import memory
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.progress import Display, LiveTable
from multimodal_vit.versions import THREADS_VARIABLE, cpu_threads

AUTO = "auto"
MOST = 1024
WORTH = 1e12  # FLOP for each worker: half a minute of a core; to start one takes ten seconds
OWN_MEMORY = 2**30  # bytes of a process without its experiment: Python, JAX, compilation
SECONDS_BETWEEN_LOOKS = 0.2  # at the signals
_VARIABLE = "MULTIMODAL_VIT_WORKER"
_MARK = "\x1e"

Event = dict[str, Any]


def parse(text: str) -> int | None:
    """The number that --workers gives; None for auto.

    Raises:
      UserError: it is neither.
    """
    if text == AUTO:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise UserError(f"--workers={text} must be a number from 1 to {MOST}, or auto")
    return int(text)


def number(
    asked: int | None, jobs: int, flop: float, experiments: Callable[[], Iterable[Experiment]]
) -> int:
    """How many workers share some jobs; 1: nobody is started.

    Args:
      asked: as `parse` gives it; None: one for each core, where that pays and fits the memory.
      jobs: that can be done side by side.
      flop: floating-point operations of all.
      experiments: gives those that they run; asked where their memory counts.

    Raises:
      UserError: a number was asked where several workers cannot share.
    """
    on_cpu = jax.default_backend() == "cpu"
    if asked is not None:
        if asked > 1 and not on_cpu:
            raise UserError(
                f"--workers={asked} is for CPUs: several processes cannot share an accelerator's "
                "memory; --config.seeds_together trains a study's seeds as one program"
            )
        if asked > 1 and os.environ.get(locking.SWITCH) == "off":
            raise UserError(
                f"--workers={asked} needs locks, and {locking.SWITCH}=off; give --workers=1"
            )
        return max(1, min(asked, jobs))
    if not on_cpu or not hasattr(os, "sched_setaffinity") or (
        os.environ.get(locking.SWITCH) == "off"
    ):  # fmt: skip
        return 1
    most = int(min(len(os.sched_getaffinity(0)), jobs, flop / WORTH))
    room = memory.available(jax.local_devices()[0])
    if most > 1 and room:
        # `need` is the least that a training holds, without most activations: twice that.
        largest = max((memory.need(one, room).total for one in experiments()), default=0)
        most = min(most, room // (OWN_MEMORY + 2 * largest))
    return max(1, most)


# ---- in a worker ----


def is_worker() -> bool:
    """Whether this process was started by another as its worker."""
    return _VARIABLE in os.environ


def follow() -> None:
    """Lets this worker save and stop when the process that started it is gone."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def say(what: str, **details: Any) -> None:
    """Tells the process that started this worker what happened here."""
    with contextlib.suppress(OSError):  # it is gone, and this one is about to stop
        os.write(1, f"{_MARK}{json.dumps({'what': what, **details})}\n".encode())


class ReportedRun(Display):
    """The progress of a worker's run, told to the process that started it."""

    def begin(self, total_steps: int, batch_size: int, step: int) -> None:
        """Tells the size of the run."""
        say("begin", total_steps=total_steps, batch_size=batch_size, step=step)

    def update(self, step: int, loss: float | None, seconds_per_step: float) -> None:
        """Tells where the run is."""
        say("update", step=step, loss=loss, seconds_per_step=seconds_per_step, best=self.best)

    def line(self, text: str) -> None:
        """Tells what deserves a line."""
        say("says", text=text)

    def __exit__(self, *error: object) -> None:
        say("trained")


# ---- in the process that starts them ----


class Workers:
    """Some workers, until they end.

    Args:
      argv: the program's name and the arguments, of this process and thus of each worker.
      count: how many.
    """

    def __init__(self, argv: Sequence[str], count: int) -> None:
        package = Path(__file__).parent.parent
        path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
        self._command = [sys.executable, "-m", "multimodal_vit.main", *argv[1:]]
        self._environment = os.environ | {
            _VARIABLE: "1", THREADS_VARIABLE: str(cpu_threads()), "PYTHONPATH": path,
        }  # fmt: skip
        self._count = count
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._idle: set[int] = set()

    def work(
        self,
        table: LiveTable,
        told: Callable[[int, Event], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Starts them and shows what they do until all have ended.

        Args:
          table: where it is shown.
          told: takes the number of a worker and an event that is none of `ReportedRun`'s.
          should_stop: asked often; once it is True the workers are told to save and stop.
        """
        table.line(f"{self._count} workers, each on a share of the cores.")
        stopped = False
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            stack.callback(self._end)
            for worker in range(1, self._count + 1):
                process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    process_group=0,  # Ctrl-C is this process's; it tells them
                )
                self._processes[worker] = process
                selector.register(process.stdout, selectors.EVENT_READ, (worker, bytearray()))
            self._share_cores()
            while selector.get_map():
                if should_stop() and not stopped:
                    stopped = True
                    for process in self._processes.values():
                        process.terminate()
                for key, _ in selector.select(SECONDS_BETWEEN_LOOKS):
                    worker, text = key.data
                    if read := os.read(key.fd, 65536):
                        *lines, rest = (bytes(text) + read).split(b"\n")
                        text[:] = rest
                        for line in lines:
                            self._take(worker, line.decode(errors="replace"), table, told)
                    else:
                        selector.unregister(key.fileobj)
                        self._over(worker, table, stopped)

    def _take(
        self, worker: int, line: str, table: LiveTable, told: Callable[[int, Event], None]
    ) -> None:
        if not line.startswith(_MARK):
            table.line(f"worker {worker}: {line}")
            return
        event = json.loads(line.removeprefix(_MARK))
        what = event.pop("what")
        run = table.under_way.get(worker)
        if what == "line":
            table.line(event["text"])
        elif what == "says" and run is not None:
            table.line(f"{run.name}: {event['text'].strip()}")
        elif what == "waits":
            table.over(worker)
            self._is_idle(worker, True)
        elif what == "begin" and run is not None:
            run.begin(**event)
        elif what == "trained":
            if run is not None:
                run.__exit__()
        elif what == "update" and run is not None:
            run.best = event.pop("best")
            run.update(**event)
        else:
            if what == "starts":
                self._is_idle(worker, False)
            told(worker, {"what": what, **event})

    def _over(self, worker: int, table: LiveTable, stopped: bool) -> None:
        code = self._processes.pop(worker).wait()
        table.over(worker)
        if code and not stopped:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "ended by a fault"
            table.line(f"Worker {worker} {how}; others go on with its run.")
        self._idle.discard(worker)
        self._share_cores()

    def _is_idle(self, worker: int, idle: bool) -> None:
        if idle != (worker in self._idle):
            self._idle ^= {worker}
            self._share_cores()

    def _share_cores(self) -> None:
        """Gives each worker that has something to do as many cores of its own as the others."""
        if not hasattr(os, "sched_setaffinity"):
            return
        busy = sorted(self._processes.keys() - self._idle)
        for worker, cores in shares(sorted(os.sched_getaffinity(0)), busy).items():
            tasks = Path(f"/proc/{self._processes[worker].pid}/task")
            with contextlib.suppress(OSError):  # a thread, or the worker, has just ended
                for task in sorted(tasks.iterdir()):
                    os.sched_setaffinity(int(task.name), cores)

    def _end(self) -> None:
        """Ends those that are left, where this process was interrupted at once."""
        for process in self._processes.values():
            process.kill()
            process.wait()


def shares(cores: Sequence[int], workers: Sequence[int]) -> Mapping[int, set[int]]:
    """Cuts cores into equal parts, one for each worker; where there are fewer, some share one.

    With two cores and one worker left, that one has both.
    """
    found = {}
    for place, worker in enumerate(workers):
        first = place * len(cores) // len(workers)
        last = max(first + 1, (place + 1) * len(cores) // len(workers))
        found[worker] = set(cores[first:last])
    return found
