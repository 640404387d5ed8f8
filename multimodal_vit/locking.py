"""Locks between processes: a file that the kernel locks for whoever holds it (`flock`).

The kernel frees the lock when its process ends, however it ends, and only then: a process that is
stopped or slow keeps it. What stands in the file is for people, and for the file systems that know
a lock on one host alone: who holds it, and, by the file's time, that the holder still runs.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path

from multimodal_vit.errors import UserError

SWITCH = "MULTIMODAL_VIT_LOCKS"  # "off": no locks, for file systems that have none
SECONDS_BETWEEN_RENEWALS = 5.0
SECONDS_OF_SILENCE = 60.0  # of a holder; then it is said that it may be gone
SECONDS_BETWEEN_TRIES = 0.05
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}  # what flock says of a lock that is held


class Lock:
    """The lock on a file, which is made where there is none.

    Attributes:
      path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Takes the lock, or returns False where another process holds it; does not wait for that.

        On a file system that shows a lock to its own host alone, the file tells of the holder: it
        is watched for up to three renewals, so that one who was killed is told from one who works.

        Raises:
          UserError: the file system has no locks, or pretends to.
          OSError: the file cannot be made or opened.
        """
        if os.environ.get(SWITCH) == "off":
            return True
        while True:
            new = not self.path.exists()
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if not try_flock(file, self.path):
                    return False
                if not _is_at(file, self.path):  # removed since it was opened
                    continue
                if _flocks_twice(self.path):
                    raise _no_locks(self.path, "a second lock was granted on a locked file")
                if self._is_renewed_elsewhere(file):
                    return False
                self._file, file = file, -1
            except UserError:
                if new:
                    self.path.unlink(missing_ok=True)
                raise
            finally:
                if file >= 0:
                    os.close(file)
            content = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
            with contextlib.suppress(OSError):  # of a full disk; the lock is held all the same
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, content.encode(), 0)
            _Renewal.begin(self._file)
            return True

    def wait(self, seconds: float) -> None:
        """Takes the lock, waiting for its holder.

        Raises:
          UserError: it is not free after so many seconds; and as `acquire`.
          OSError: as `acquire`.
        """
        until = time.monotonic() + seconds
        while not self.acquire():
            if time.monotonic() > until:
                raise UserError(
                    f"{self.path} was locked for {seconds:.0f} s by {self.holder()}; end that "
                    "process, then start the same command again"
                )
            time.sleep(SECONDS_BETWEEN_TRIES)

    def release(self) -> None:
        """Frees the lock; what the file says of its holder is removed."""
        if self._file is None:
            return
        file, self._file = self._file, None
        _Renewal.end(file)
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
        os.close(file)

    def silence(self) -> float:
        """For how many seconds the holder has not renewed the lock; 0 where there is no file."""
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except OSError:
            return 0.0

    def holder(self) -> str:
        """Who holds the lock, in words, as far as the file tells."""
        known = self._known()
        if known is None:
            return "another process"
        host, pid = known
        if host == socket.gethostname():
            return f"process {pid}"
        text = f"process {pid} on host {host}"
        if (seconds := self.silence()) > SECONDS_OF_SILENCE:
            text += (
                f", which has not renewed its lock for {seconds:.0f} s; if it is gone, remove "
                f"{self.path}"
            )
        return text

    def _known(self) -> tuple[str, int] | None:
        try:
            content = json.loads(self.path.read_bytes())
            return str(content["host"]), int(content["pid"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _is_renewed_elsewhere(self, file: int) -> bool:
        """Whether the file, which this host may lock, is kept by a process of another host."""
        known = self._known()
        if known is None or known[0] == socket.gethostname():
            return False
        watched = 3 * SECONDS_BETWEEN_RENEWALS
        before = os.fstat(file).st_mtime_ns
        if abs(time.time() - before / 1e9) > max(watched, SECONDS_OF_SILENCE):
            return False
        until = time.monotonic() + watched
        while time.monotonic() < until:
            time.sleep(SECONDS_BETWEEN_TRIES)
            if os.fstat(file).st_mtime_ns != before:
                return True
        return False


def try_flock(file: int, path: Path) -> bool:
    """Locks an open file, or returns False where it is locked already.

    Args:
      file: its descriptor.
      path: to be named.

    Raises:
      UserError: the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise _no_locks(path, error.strerror or str(error)) from error
    return True


def _no_locks(path: Path, reason: str) -> UserError:
    return UserError(
        f"the file system of {path.parent} has no working locks (flock: {reason}), so two "
        "processes could write there at once. Name a folder on another file system; or, where "
        f"you make sure that one process alone uses it, set {SWITCH}=off in the environment"
    )


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _flocks_twice(path: Path) -> bool:
    """Whether a file that is locked can be locked once more: its file system pretends."""
    second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return try_flock(second, path)
    finally:
        os.close(second)


class _Renewal:
    """Touches the files of the locks that this process holds, so that others see that it runs."""

    _files: set[int] = set()
    _guard = threading.Lock()
    _thread: threading.Thread | None = None

    @classmethod
    def begin(cls, file: int) -> None:
        with cls._guard:
            cls._files.add(file)
            if cls._thread is None or not cls._thread.is_alive():
                cls._thread = threading.Thread(target=cls._run, daemon=True)
                cls._thread.start()

    @classmethod
    def end(cls, file: int) -> None:
        with cls._guard:
            cls._files.discard(file)

    @classmethod
    def _run(cls) -> None:
        while True:
            time.sleep(SECONDS_BETWEEN_RENEWALS)
            with cls._guard:
                if not cls._files:
                    cls._thread = None
                    return
                for file in cls._files:
                    with contextlib.suppress(OSError):
                        os.utime(file)
