"""Stopping on SIGTERM, SIGHUP and Ctrl-C: what is under way is saved, the process ends in time.

Python handles a signal between two of its own instructions, so not while XLA compiles or a long
computation runs. A thread therefore watches the signals too, and ends the process when its time is
up. That loses no more than a kill does: the work since the last checkpoint.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

SECONDS_TO_STOP = 9.0  # from the first signal; cluster managers often kill after 10
EXIT_CODES = {signal.SIGTERM: 0, signal.SIGHUP: 0, signal.SIGINT: 130}


def _handled() -> list[signal.Signals]:
    """The signals to stop at; not a hang-up that the process was told to ignore (nohup)."""
    hang_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return [which for which in EXIT_CODES if hang_up or which != signal.SIGHUP]


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Within it, the signals of `EXIT_CODES` end the process: at once, or in time where collected.

    Nothing is under way then that could be saved. (An exception would not do: Python drops those
    that are raised in a callback of its garbage collector, of which JAX has one.) Does nothing but
    in the main thread, which alone can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)

    def watch() -> None:
        while (byte := receiver.recv(1)) and byte[0] not in EXIT_CODES:
            pass
        if byte and not over.wait(SECONDS_TO_STOP):
            with contextlib.suppress(OSError):  # nobody may read it any more
                if os.isatty(1):
                    os.write(1, b"\x1b[?25h")  # the cursor, which a live display hides
                os.write(2, b"Stopped without a last checkpoint. The same command continues.\n")
            os._exit(EXIT_CODES[signal.Signals(byte[0])])

    def end(number: int, frame: object) -> None:
        with contextlib.suppress(OSError):  # of a terminal that is gone
            os.write(2, b"Stopped. The same command continues.\n")
        os._exit(EXIT_CODES[signal.Signals(number)])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    previous_descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    previous = {which: signal.signal(which, end) for which in _handled()}
    try:
        yield
    finally:
        for which, handler in previous.items():
            signal.signal(which, handler)
        signal.set_wakeup_fd(previous_descriptor)
        over.set()
        sender.close()
        watcher.join()
        receiver.close()


@contextlib.contextmanager
def stop_on_signal() -> Iterator[list[signal.Signals]]:
    """Collects these signals instead of dying of them; a second SIGINT interrupts at once."""
    received: list[signal.Signals] = []

    def note(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {which: signal.signal(which, note) for which in _handled()}
    try:
        yield received
    finally:
        for which, handler in previous.items():
            signal.signal(which, handler)
