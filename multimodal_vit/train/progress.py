"""What a person sees of a run: a bar in a terminal, a line now and then in a file."""

import datetime
import threading
import time
from typing import Self

import rich.console
import rich.live
import rich.progress
import rich.table
import rich.text

from multimodal_vit.terminal import show, without_empty_columns

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_RUN_LINES = 60.0  # where there are many runs


def duration(seconds: float) -> str:
    """Seconds as a person says them: "42 s", "3 min", "5.2 h", "2.4 days"."""
    for unit, size, until in (("s", 1, 100), ("min", 60, 6000), ("h", 3600, 48 * 3600)):
        if seconds < until:
            number = seconds / size
            return f"{number:.0f} {unit}" if unit == "s" or number >= 10 else f"{number:.1f} {unit}"
    return f"{seconds / 86400:.1f} days"


class Display:
    """What the training loop tells of a run; this one shows nothing.

    Attributes:
      best: the best validation so far, in words.
    """

    best = "no validation yet"

    def begin(self, total_steps: int, batch_size: int, step: int) -> None:
        """Is told the size of the run, and the steps that it has behind it, before it goes on."""

    def update(self, step: int, loss: float | None, seconds_per_step: float) -> None:
        """Is told where the run is after every dispatch."""

    def line(self, text: str) -> None:
        """Is told what deserves a line that stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class ProgressDisplay(Display):
    """Steps done, examples per second, time left, and the best validation so far."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._batch_size = self._total = 0
        self._next_line = time.monotonic()
        self._loss = ""  # the last that is known, and whether no line has said it yet
        self._loss_is_new = False
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("step {task.completed}/{task.total}"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def begin(self, total_steps: int, batch_size: int, step: int) -> None:
        """Starts the bar."""
        if step:
            self.line(f"Continuing from step {step} of {total_steps}.")
        self._total, self._batch_size = total_steps, batch_size
        self._task = self._bar.add_task("compiling …", total=total_steps)

    def update(self, step: int, loss: float | None, seconds_per_step: float) -> None:
        """Shows where the run is; in a file at most one line in ten seconds.

        The bar says of which step the loss is; a line in a file has it only where it is new.
        """
        left = duration((self._total - step) * seconds_per_step)
        rate = self._batch_size / seconds_per_step
        if loss is not None:
            self._loss, self._loss_is_new = f"loss {loss:.4f} at step {step}, ", True
        text = f"{rate:,.0f} examples/s, {left} left, {self.best}"
        self._bar.update(self._task, completed=step, description=self._loss + text)
        if not self._console.is_terminal and time.monotonic() >= self._next_line:
            said = self._loss if self._loss_is_new else ""
            self.line(f"step {step}/{self._total}: {said}{text}")
            self._loss_is_new = False
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def line(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


class LiveTable:
    """A table of many runs that is kept up to date in a terminal; in a file, a line each minute.

    Subclasses give `table` and `outlook`.

    Attributes:
      doing: what is under way besides runs, in a line.
      under_way: the run of each worker; 0 is this process.
    """

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self.doing = "reading the data"
        self.under_way: dict[int, RunOfTable] = {}
        self._live: rich.live.Live | None = None
        self._over = threading.Event()
        self._clock: threading.Thread | None = None

    def table(self) -> rich.table.Table | None:
        """What is done so far; None before that is known."""
        raise NotImplementedError

    def outlook(self) -> str:
        """How much is done, and about how long the rest takes."""
        raise NotImplementedError

    def _render(self) -> rich.console.Group:
        doing = "\n".join(self._doing())
        table = self.table()
        if table is None:
            return rich.console.Group(rich.text.Text(doing))
        below = rich.text.Text(f"{self.outlook()}\n{doing}".rstrip())
        return rich.console.Group(without_empty_columns(table), below)

    def _doing(self) -> list[str]:
        """What is under way: a line for each run, or one where there is none."""
        return [run.doing for _, run in sorted(self.under_way.items())] or [self.doing]

    def line(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text, soft_wrap=True)

    def tick(self) -> None:
        """Says what is under way, and when all of it will be over."""
        outlook = self.outlook() if self.table() is not None else ""
        self.line(". ".join(filter(None, ("; ".join(self._doing()), outlook))))

    def _tick_each_minute(self) -> None:
        """In a thread of its own: compilation, tests and the reading of data take minutes too."""
        while not self._over.wait(SECONDS_BETWEEN_RUN_LINES):
            self.tick()

    def run(self, name: str, worker: int = 0) -> "RunOfTable":
        """A display for a worker's run that begins; it keeps the table up to date."""
        self.doing = ""
        self.under_way[worker] = RunOfTable(self, name)
        return self.under_way[worker]

    def over(self, worker: int = 0) -> None:
        """Takes a worker's run, if it has one, from what is under way."""
        self.under_way.pop(worker, None)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = rich.live.Live(
                console=self._console,
                get_renderable=self._render,
                refresh_per_second=2,
                transient=True,
            )
            self._live.start()
        else:
            self._clock = threading.Thread(target=self._tick_each_minute, daemon=True)
            self._clock.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._clock is not None:
            self._clock.join()
        if self._live is not None:
            self._live.stop()
        if (table := self.table()) is not None:
            show(self._console, table)
            self.line(self.outlook())


class RunOfTable(Display):
    """Hands the progress of one run to a table.

    Attributes:
      name: of the run.
      doing: where it is, in a line.
      share: how much of its training is done, from 0 to 1.
      began: when it began here, by the monotonic clock.
      trained_at: when its training ended; None before. Then it is tested.
    """

    def __init__(self, table: LiveTable, name: str) -> None:
        self._table, self.name = table, name
        self._total = self._batch_size = 1
        self.doing, self.share, self.began = f"{name}: begins", 0.0, time.monotonic()
        self.trained_at: float | None = None

    def begin(self, total_steps: int, batch_size: int, step: int) -> None:
        """Notes the size of the run."""
        if step:
            self._table.line(f"{self.name} continues from step {step} of {total_steps}.")
        self._total, self._batch_size = total_steps, batch_size
        self.doing = f"{self.name}: compiling"

    def update(self, step: int, loss: float | None, seconds_per_step: float) -> None:
        """Updates the table's line."""
        self.share = step / self._total
        rate = self._batch_size / seconds_per_step
        self.doing = f"{self.name}: step {step}/{self._total}, {rate:,.0f} examples/s, {self.best}"

    def __exit__(self, *error: object) -> None:
        self.trained_at = time.monotonic()
        self.doing = f"{self.name}: trained, being tested"


def end_time(seconds: float) -> str:
    """The clock time in so many seconds, as "Mon 2026-11-23 14:05"."""
    return f"{datetime.datetime.now() + datetime.timedelta(seconds=seconds):%a %Y-%m-%d %H:%M}"
