"""What a person sees of a study: one live table in a terminal, a line now and then in a file."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from multimodal_vit.evaluate import FAR_APART, has_verdict, main_metric
from multimodal_vit.study.definition import StudyRun
from multimodal_vit.study.runner import StudyDisplay
from multimodal_vit.train.progress import Display, LiveTable, duration, end_time


class StudyTable(LiveTable, StudyDisplay):
    """For each condition the runs done, running and left, its accuracy so far and its speed."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._runs: Sequence[StudyRun] = ()
        self._flop: Mapping[str, float] = {}
        self._done: dict[StudyRun, dict[str, Any]] = {}
        self._failed: list[StudyRun] = []
        self._elsewhere: list[StudyRun] = []
        self._most_elsewhere = 0
        self._here: dict[int, tuple[StudyRun, ...]] = {}  # by worker; trained as one program
        self._own: set[StudyRun] = set()  # begun here
        self._beside: list[float] = []  # seconds that a run took here beside its training

    def begin(self, runs: Sequence[StudyRun], flop: Mapping[str, float]) -> None:
        """Says how many runs there are."""
        self._runs, self._flop = runs, flop
        self._done = {w: r for w in runs if (r := w.workdir.results()) is not None}
        done = f", {len(self._done)} of them done already" if self._done else ""
        self.line(f"{len(runs)} runs of {len(flop)} conditions{done}.")

    def starts(self, which: StudyRun, *others: StudyRun, worker: int = 0) -> Display:
        """Notes the run; what it returns keeps the table up to date."""
        self._here[worker] = (which, *others)
        self._own.update(self._here[worker])
        seeds = ", ".join(str(run.config.seed) for run in self._here[worker])
        return self.run(f"{which.condition}, seed{'s' if others else ''} {seeds}", worker)

    def over(self, worker: int = 0) -> None:
        """Takes what a worker does from what is under way."""
        super().over(worker)
        self._here.pop(worker, None)

    def ended(self, which: StudyRun, results: dict[str, Any]) -> None:
        """Notes the result; says it unless it was known before."""
        known, here = which in self._done, which in self._own
        self._count_beside(which, results["train_seconds"])
        self._leave(which)
        self._done[which] = results
        if not known:
            by = "" if here else " (by another process)"
            self.line(
                f"{which.condition}, seed {which.config.seed}{by}: "
                f"{self._said(results)}, "
                f"{results['samples_seen']:,} training pairs in "
                f"{duration(results['train_seconds'])}. {self.outlook()}"
            )

    def _count_beside(self, which: StudyRun, train_seconds: float) -> None:
        """Notes how long a run that ends here took beside its training."""
        for worker, group in tuple(self._here.items()):
            if which in group and worker in self.under_way:
                spent = (time.monotonic() - self.under_way[worker].began) / len(group)
                self._beside += [max(0.0, spent - train_seconds)] * len(group)

    def _said(self, results: dict[str, Any]) -> str:
        if not has_verdict(results):
            return f"loss {results['test']['loss']:.4f}"
        kind = "accuracy" if "accuracy" in results["test"] else "true/false"
        return f"{kind} {main_metric(results['test']):.2%} of the test pairs"

    def failed(self, which: StudyRun, reason: str) -> None:
        """Says that the run failed, and why, once."""
        self._leave(which)
        if which in self._failed:
            return
        self._failed.append(which)
        self.line(f"{which.condition}, seed {which.config.seed} failed: {reason}")

    def elsewhere(self, which: StudyRun) -> None:
        """Notes that another process has the run."""
        if which not in self._elsewhere:
            self._elsewhere.append(which)
            self._most_elsewhere = max(self._most_elsewhere, len(self._elsewhere))
        self.doing = "waiting for runs of other processes"

    def _leave(self, which: StudyRun) -> None:
        if which in self._elsewhere:
            self._elsewhere.remove(which)
        for worker, group in tuple(self._here.items()):
            self._here[worker] = tuple(w for w in group if w is not which)
            if not self._here[worker]:
                self.over(worker)

    def outlook(self) -> str:
        """How many runs are done, and about how long the rest takes."""
        done = len(self._done) + len(self._ended_elsewhere())
        text = f"{done} of {len(self._runs)} done"
        left = self._seconds_left()
        return text + (f", about {duration(left)} left, until {end_time(left)}" if left else "")

    def _ended_elsewhere(self) -> list[StudyRun]:
        """Runs that other processes have finished since they were looked at."""
        return [w for w in tuple(self._elsewhere) if w.workdir.results_path.exists()]

    def _seconds_left(self) -> float | None:
        """By the speed so far, in floating-point operations, of this and the other processes.

        And by what a run took here beside its training: data, compilation, tests.
        """
        now, done = time.monotonic(), dict(self._done)  # a thread may ask while runs end
        seconds = sum(r["train_seconds"] for r in done.values())
        flop = sum(r["pflop"] * 1e15 for r in done.values())
        flop_here, tested = 0.0, [0.0]  # how long runs here have been tested so far
        for worker, run in tuple(self.under_way.items()):
            group = self._here.get(worker, ())
            flop_here += run.share * sum(self._flop[w.condition] for w in group)
            until = run.trained_at or now
            seconds += until - run.began
            tested.append(now - until)
        flop += flop_here
        if not flop:
            return None
        over = {*done, *self._failed, *self._ended_elsewhere()}
        waiting = [w for w in self._runs if w not in over]
        left = max(0.0, sum(self._flop[w.condition] for w in waiting) - flop_here) * seconds / flop
        # Of the first run only what it took so far is known.
        beside = statistics.fmean(self._beside) if self._beside else max(tested)
        left += max(0.0, beside * len(waiting) - sum(tested))
        processes = max(1, len(self._here)) + self._most_elsewhere
        return left / min(processes, max(1, len(waiting)))

    def table(self) -> Table | None:
        """The runs by condition."""
        if not self._runs:
            return None
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("condition", overflow="fold", min_width=12)
        for heading in ("done", "now", "left", "accuracy", "best", "examples/s", "a run"):
            table.add_column(heading, justify="right", no_wrap=True)
        for condition in self._flop:
            mine = [w for w in self._runs if w.condition == condition]
            results = [self._done[w] for w in mine if w in self._done]
            here = {w for group in tuple(self._here.values()) for w in group}
            running = sum(w in here or w in self._elsewhere for w in mine)
            left = len(mine) - len(results) - running - sum(w in self._failed for w in mine)
            row = [condition, str(len(results)), str(running or ""), str(left or "")]
            if results:
                shown, best = _accuracies(results)
                row += [
                    shown,
                    best,
                    f"{statistics.fmean(r['examples_per_second'] for r in results):,.0f}",
                    duration(statistics.fmean(r["train_seconds"] for r in results)),
                ]
            table.add_row(*row)
        return table


def _accuracies(results: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Mean and spread, or each where they lie far apart, and the best; dashes without a verdict."""
    if not all(map(has_verdict, results)):
        return "–", "–"
    found = [main_metric(r["test"]) for r in results]
    shown = f"{100 * statistics.fmean(found):.2f} %"
    if max(found) - min(found) > FAR_APART:
        shown = " ".join(f"{100 * value:.0f}" for value in found) + " %"
    elif len(found) > 1:
        shown = f"{100 * statistics.fmean(found):.2f} ± {100 * statistics.stdev(found):.2f} %"
    return shown, f"{max(found):.2%}"
