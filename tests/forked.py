"""Commands without the interpreter's start: copies of a process that has imported the program.

A copy (`os.fork`) has its own memory, folder, environment, streams and exit code, as a process that
was started has; only the seconds that the imports take are saved. Nothing of JAX has run before.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SERVER = """
import json, os, sys
import multimodal_vit.analysis.run_report
import multimodal_vit.commands
import multimodal_vit.search_command
import multimodal_vit.study_command
from multimodal_vit import main

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        streams = [(os.devnull, os.O_RDONLY), *((file, os.O_WRONLY) for file in asked["files"])]
        for number, (path, mode) in enumerate(streams):
            os.dup2(os.open(path, mode), number)
        sys.argv = asked["command"]
        main.command()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forked:
    """A server of copies; it is started with the first command."""

    def __init__(self) -> None:
        self._server: subprocess.Popen | None = None
        self._environment: dict[str, str] = {}

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether an environment differs from the server's in what is read later than imports."""
        if self._server is None or self._server.poll() is not None:
            self._environment = dict(environment)
        differing = dict(environment.items() ^ self._environment.items())
        return differing.keys() <= {"XLA_FLAGS", "PYTEST_CURRENT_TEST"}

    def run(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess:
        """What `subprocess.run` gives for `python -m multimodal_vit.main` with some arguments."""
        if self._server is None or self._server.poll() is not None:
            self._start()
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / "out", Path(folder) / "err"]
            for file in files:
                file.touch()
            asked = {"cwd": str(cwd), "environment": dict(environment), "command": list(command)}
            asked["files"] = [str(file) for file in files]
            self._server.stdin.write(json.dumps(asked) + "\n")
            self._server.stdin.flush()
            if not select.select([self._server.stdout], [], [], timeout)[0]:
                self.stop()
                raise subprocess.TimeoutExpired(command, timeout)
            code = int(self._server.stdout.readline())
            out, err = (file.read_text(encoding="utf-8") for file in files)
        return subprocess.CompletedProcess(command, code, out, err)

    def _start(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ends the server and whatever it runs."""
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
            self._server = None


FORKED = Forked()
