"""The mode of the command line that runs a study, by itself or with workers."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from multimodal_vit import workers
from multimodal_vit.analysis import report
from multimodal_vit.evaluate import has_verdict
from multimodal_vit.files import remove_left_over
from multimodal_vit.interruption import stop_on_signal
from multimodal_vit.showing import show_study
from multimodal_vit.study import definition as study
from multimodal_vit.study.definition import StudyRun
from multimodal_vit.study.display import StudyTable
from multimodal_vit.study.runner import TABLE, Plan, StudyDisplay, complete, write_table
from multimodal_vit.train.progress import Display
from multimodal_vit.workdir import Workdir


def run_study(
    config: ConfigDict,
    folder: Path,
    console: Console,
    command: str = "",
    argv: Sequence[str] = (),
    asked: str | None = "1",
) -> int:
    """Runs what is missing of a study, then writes its table and its report.

    Args:
      config: of the study.
      folder: the study's workdir.
      console: for the live table.
      command: the command line, for the report.
      argv: the same, for workers.
      asked: --workers; None: auto; by default this process alone, as in a notebook.

    Returns:
      The exit code: 0; 130 where Ctrl-C stopped it; 2 where a run failed.

    Raises:
      UserError: the configuration, the data or the workdir cannot be used.
    """
    study.check(config)
    if workers.is_worker():
        return _work(Plan(config, folder))
    number = workers.parse(asked or workers.AUTO)
    study.check_folder(config, folder)
    remove_left_over(folder)
    with stop_on_signal() as received, StudyTable(console) as display:
        plan = Plan(config, folder)
        plan.check(display)
        flop = plan.flop()
        display.begin(plan.runs, flop)
        _share(plan, flop, number, argv, display, lambda: bool(received))
        failed = complete(plan, display, lambda: bool(received))
    if failed is None:
        console.print("Stopped and saved. The same command continues.")
        return 130 if received[0] == signal.SIGINT else 0
    console.print("Drawing the report.")
    with Workdir(folder).locked(wait=True):  # others may have come to the end of the study too
        write_table(plan.runs, folder / TABLE)
        found = None
        if any(has_verdict(which.workdir.results()) for which in plan.runs):
            found = report.write_report(config, folder, command, failed)
    if found is not None:
        show_study(found, console)
        written = f"Written to {folder}: report.html, report.md, study.json, {TABLE}, figures/"
        console.print(written, soft_wrap=True)
    for name, reason in failed.items():
        console.print(f"failed: {name}: {reason}", soft_wrap=True)
    return 2 if failed else 0


def _share(
    plan: Plan,
    flop: dict[str, float],
    asked: int | None,
    argv: Sequence[str],
    table: StudyTable,
    should_stop: Callable[[], bool],
) -> None:
    """Has workers run what is missing, where several are asked for or pay."""
    left = [which for which in plan.runs if not which.workdir.is_over()]
    jobs = {which.condition for which in left} if plan.config.seeds_together else left
    first = {which.condition: which for which in left}.values()
    work = sum(flop[which.condition] for which in left)
    count = workers.number(asked, len(jobs), work, lambda: map(plan.experiment, first))
    if count == 1:
        return

    def told(worker: int, event: workers.Event) -> None:
        if event["what"] == "starts":
            table.starts(*(plan.runs[place] for place in event["runs"]), worker=worker)
        elif event["what"] == "failed":
            table.failed(plan.runs[event["run"]], event["reason"])
        elif (results := plan.runs[event["run"]].workdir.results()) is not None:
            table.ended(plan.runs[event["run"]], results)

    workers.Workers(argv, count).work(table, told, should_stop)


def _work(plan: Plan) -> int:
    """What a worker does: runs until nothing is left; the process that started it checks first."""
    workers.follow()
    with stop_on_signal() as received:
        complete(plan, _Reporter(plan), lambda: bool(received))
    return 0


class _Reporter(StudyDisplay):
    """Tells the process that started this worker what happens; runs by their place in the plan."""

    def __init__(self, plan: Plan) -> None:
        self._places = {which: place for place, which in enumerate(plan.runs)}

    def line(self, text: str) -> None:
        workers.say("line", text=text)

    def starts(self, which: StudyRun, *others: StudyRun) -> Display:
        workers.say("starts", runs=[self._places[run] for run in (which, *others)])
        return workers.ReportedRun()

    def ended(self, which: StudyRun, results: dict[str, Any]) -> None:
        workers.say("ended", run=self._places[which])

    def failed(self, which: StudyRun, reason: str) -> None:
        workers.say("failed", run=self._places[which], reason=reason)

    def waits(self) -> None:
        workers.say("waits")
