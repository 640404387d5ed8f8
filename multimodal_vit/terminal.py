"""What is shown, on whatever it is shown: a result is in its files, and no output ends a run.

The reader of a pipe may be gone, the terminal closed, narrow or of another alphabet, the disk
behind a redirection full; the standard streams may not be there at all.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segment, Segments
from rich.table import Table

WIDEST = 10_000  # columns that a table may take
_PLAIN = str.maketrans(
    {"±": "+-", "×": "x", "…": "...", "–": "-", "—": "-", "→": "->", "·": "*", "≥": ">=", "≤": "<=",
     "“": '"', "”": '"', "‘": "'", "’": "'"}
)  # fmt: skip


class Unfailing:
    """A text stream that drops what cannot be written, and spells what has no sign there.

    Everything else is the stream's own.

    Args:
      stream: it; None, as where the program was started without one, takes everything.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """The stream's, so that tables draw their lines with what it has."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Writes what can be written; returns the length of the whole."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # ValueError: it is closed
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                spelt = text.translate(_PLAIN).encode(self.encoding, "backslashreplace")
                self._stream.write(spelt.decode(self.encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes what can be flushed."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal that is there."""
        try:
            return bool(self._stream.isatty())
        except (OSError, ValueError, AttributeError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def unfailing_output() -> Iterator[None]:
    """Within it, nothing that is printed raises, and what was printed is flushed at the end."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Unfailing(before[0]), Unfailing(before[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def open_standard_streams() -> None:
    """Opens the standard streams that are closed, on nothing.

    Else the next file that is opened would take the place of one, and what is printed by a library
    would be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def without_empty_columns(table: Table) -> Table:
    """The table without the columns that say nothing in any row; it is changed."""
    table.columns = [c for c in table.columns if any(str(cell).strip() for cell in c.cells)]
    return table


def show(console: Console, table: Table) -> None:
    """Prints a table with all its figures; a narrow terminal wraps its lines.

    Columns that are empty are left out.
    """
    table = without_empty_columns(table)
    wide = console.options.update(width=WIDEST, max_width=WIDEST)
    width = max(console.width, Measurement.get(console, wide, table).maximum)
    options = console.options.update(width=width, max_width=width)
    lines = console.render_lines(table, options, pad=False)
    pieces = [piece for line in lines for piece in (*line, Segment.line())]
    console.print(Segments(pieces), crop=False, end="")
