"""What --mode=search does: works on a search until its budget is spent, then reports."""

import math
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from multimodal_vit import workers
from multimodal_vit.analysis import search_report
from multimodal_vit.analysis.search_page import write_search_report
from multimodal_vit.files import remove_left_over, replacing
from multimodal_vit.interruption import stop_on_signal
from multimodal_vit.search import definition
from multimodal_vit.search.definition import SearchDir
from multimodal_vit.search.display import SearchTable
from multimodal_vit.search.results import summary, winner_source
from multimodal_vit.search.worker import Search, SearchDisplay
from multimodal_vit.terminal import show
from multimodal_vit.train.progress import Display
from multimodal_vit.workdir import Workdir

RESULTS = "search_results.json"
TABLE = "trials.csv"


def run_search(
    config: ConfigDict,
    folder: Path,
    console: Console,
    command: str,
    argv: Sequence[str],
    asked: str | None,
) -> int:
    """Works on a search, alone or with others, and reports what is found when it ends.

    Args:
      config: of the search.
      folder: the search's workdir, shared by all who work on it.
      console: for progress and tables.
      command: the command line, for the report.
      argv: the same, for workers.
      asked: --workers; None: 1. More than one see fewer finished trials when they choose the next.

    Returns:
      The exit code: 0; 130 where Ctrl-C stopped it; 2 where a condition has no finished trial.

    Raises:
      UserError: the configuration, the data, the workdir or the storage cannot be used.
    """
    definition.check(config)
    if workers.is_worker():
        return _work(config, folder)
    number = workers.parse(asked or "1")
    remove_left_over(folder)
    with Search.open(config, SearchDir(folder)) as search:
        with stop_on_signal() as received, SearchTable(console) as display:
            display.look(search)
            _share(search, number, argv, display, lambda: bool(received))
            ended = search.work(display, lambda: bool(received))
        with search.alone():  # others may be writing the same files
            found = summary(search)
            _report(search, found, folder, console, command)
    if not ended:
        console.print("Stopped and saved. The same command continues.")
        return 130 if received[0] == signal.SIGINT else 0
    return 0 if all(c["winner"] for c in found["conditions"].values()) else 2


def _share(
    search: Search,
    asked: int | None,
    argv: Sequence[str],
    table: SearchTable,
    should_stop: Callable[[], bool],
) -> None:
    """Has workers try what is left, where several are asked for."""
    # Each trial is several runs, so that workers pay. How large they will be nobody knows yet.
    count = workers.number(asked, search.left(), math.inf, list)
    if count == 1:
        return

    def told(worker: int, event: workers.Event) -> None:
        if event["what"] == "starts":
            table.run(event["name"], worker)
        else:
            table.look(search)

    workers.Workers(argv, count).work(table, told, should_stop)


def _work(config: ConfigDict, folder: Path) -> int:
    """What a worker does: trials until none is left."""
    workers.follow()
    with Search.open(config, SearchDir(folder)) as search, stop_on_signal() as received:
        search.work(_Reporter(), lambda: bool(received))
    return 0


class _Reporter(SearchDisplay):
    """Tells the process that started this worker what happens."""

    def line(self, text: str) -> None:
        workers.say("line", text=text)

    def begin_run(self, name: str) -> Display:
        workers.say("starts", name=name)
        return workers.ReportedRun()

    def look(self, search: Search) -> None:
        workers.say("looks")

    def waits(self) -> None:
        workers.say("waits")


def _report(
    search: Search, found: dict[str, Any], folder: Path, console: Console, command: str
) -> None:
    search_report.write_csv(found, folder / TABLE)
    Workdir(folder).save_json(RESULTS, found)
    for condition, _ in search.studies:
        if (source := winner_source(found, condition)) is not None:
            with replacing(folder / f"{condition.name}_winner.py") as file:
                file.write(source)
    write_search_report(found, folder, command)
    for condition, _ in search.studies:
        if found["conditions"][condition.name]["winner"] is not None:
            show(console, search_report.table(found, condition.name))
    for line in search_report.remarks(found):
        console.print(line, soft_wrap=True)
    console.print(
        f"The test split was not looked at. In {folder}: report.html, report.md, {TABLE}, "
        f"{RESULTS}, figures/, and for each condition its winner as a configuration file, "
        "<condition>_winner.py",
        soft_wrap=True,
    )
