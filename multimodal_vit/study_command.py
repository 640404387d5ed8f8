"""The mode of the command line that runs a study."""

import signal
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from multimodal_vit.analysis import report
from multimodal_vit.evaluate import has_verdict
from multimodal_vit.files import remove_left_over
from multimodal_vit.interruption import stop_on_signal
from multimodal_vit.showing import show_study
from multimodal_vit.study import definition as study
from multimodal_vit.study.display import StudyTable
from multimodal_vit.study.runner import TABLE, run_all, write_table
from multimodal_vit.workdir import Workdir


def run_study(config: ConfigDict, folder: Path, console: Console, command: str) -> int:
    """Runs what is missing of a study, then writes its table and its report.

    Args:
      config: of the study.
      folder: the study's workdir.
      console: for the live table.
      command: the command line, for the report.

    Returns:
      The exit code: 0; 130 where Ctrl-C stopped it; 2 where a run failed.

    Raises:
      UserError: the configuration, the data or the workdir cannot be used.
    """
    study.check(config)
    study.check_folder(config, folder)
    remove_left_over(folder)
    with stop_on_signal() as received, StudyTable(console) as display:
        failed = run_all(config, folder, display, lambda: bool(received))
    if failed is None:
        console.print("Stopped and saved. The same command continues.")
        return 130 if received[0] == signal.SIGINT else 0
    runs = study.runs_of(config, folder)
    console.print("Drawing the report.")
    with Workdir(folder).locked(wait=True):  # others may have come to the end of the study too
        write_table(runs, folder / TABLE)
        found = None
        if any(has_verdict(which.workdir.results()) for which in runs):
            found = report.write_report(config, folder, command, failed)
    if found is not None:
        show_study(found, console)
        written = f"Written to {folder}: report.html, report.md, study.json, {TABLE}, figures/"
        console.print(written, soft_wrap=True)
    for name, reason in failed.items():
        console.print(f"failed: {name}: {reason}", soft_wrap=True)
    return 2 if failed else 0
