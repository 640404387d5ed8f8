"""What a person sees of a search: one live table in a terminal, a line now and then in a file."""

import statistics
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from multimodal_vit.search.results import summary
from multimodal_vit.search.worker import Search, SearchDisplay
from multimodal_vit.train.progress import Display, LiveTable, duration, end_time


class SearchTable(LiveTable, SearchDisplay):
    """For each condition the trials done, running and left, the best one and the hours used."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._found: dict[str, Any] | None = None

    def look(self, search: Search) -> None:
        """Reads how far the search is."""
        self._found = summary(search)

    def waits(self) -> None:
        """Says why nothing happens here."""
        self.line(
            "Nothing is left to begin; waiting for the trials of other workers, to take over what "
            "they may leave. Ctrl-C ends the waiting."
        )

    def begin_run(self, name: str) -> Display:
        """What shows the run that begins."""
        return self.run(name)

    def outlook(self) -> str:
        """How many trials are over, the best, and about how long the rest takes."""
        conditions = self._conditions().values()
        over = sum(_over(c) for c in conditions)
        total = sum(self._wanted(c) for c in conditions)
        text = f"{over} of {total} trials over"
        best = [c["winner"]["match_accuracy_mean"] for c in conditions if c["winner"]]
        text += f", best {max(best):.2%}" if best else ""
        hours = [t["hours"] for c in conditions for t in c["trials"] if t["status"] == "done"]
        running = sum(c["counts"]["running"] for c in conditions)
        if hours and over < total:
            seconds = 3600 * statistics.fmean(hours) * (total - over) / max(1, running)
            text += f", at most about {duration(seconds)} left, until {end_time(seconds)}"
        return text

    def _conditions(self) -> dict[str, Any]:
        return self._found["conditions"] if self._found else {}

    def _wanted(self, condition: dict[str, Any]) -> int:
        """The trials that the budget and the grid allow."""
        possible = condition["num_settings"] - condition["counts"]["skipped"]
        return min(self._found["budget"]["num_trials"] if self._found else 0, possible)

    def table(self) -> Table | None:
        """The trials by condition."""
        if self._found is None:
            return None
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("condition", overflow="fold", min_width=12)
        headings = ("done", "pruned", "failed", "skipped", "running", "left", "best", "hours")
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for name, condition in self._conditions().items():
            counts, winner = condition["counts"], condition["winner"]
            left = self._wanted(condition) - _over(condition) - counts["running"]
            shown = [str(counts[heading] or "") for heading in headings[1:5]]
            best = f"{winner['match_accuracy_mean']:.2%}" if winner else ""
            table.add_row(
                name, str(counts["done"]), *shown, str(max(0, left) or ""), best,
                f"{condition['hours']:.2f}",
            )  # fmt: skip
        return table


def _over(condition: dict[str, Any]) -> int:
    return sum(condition["counts"][name] for name in ("done", "pruned", "failed"))
