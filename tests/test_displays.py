"""What is shown of runs and studies while they run, in a terminal and on a log."""

import io
import re
import time

import pytest
from rich.console import Console
from rich.table import Table

from multimodal_vit.analysis.probe_screens import probe_tables
from multimodal_vit.analysis.tables import seeds_table
from multimodal_vit.config import changed, small
from multimodal_vit.study.definition import runs_of, study
from multimodal_vit.study.display import StudyTable
from multimodal_vit.terminal import show
from multimodal_vit.train import progress
from multimodal_vit.train.progress import ProgressDisplay


@pytest.fixture
def log():
    """A console that is no terminal."""
    return Console(file=io.StringIO(), width=120)


def lines(console):
    return console.file.getvalue().splitlines()


def test_a_line_has_the_loss_only_where_it_is_new(log, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with ProgressDisplay(log) as display:
        display.begin(100, 8, 0)
        for step, loss in ((10, None), (20, 0.5), (30, None), (40, 0.25)):
            display.update(step, loss, 0.1)
    said = [re.findall(r"loss [\d.]+ at step \d+", line) for line in lines(log)]
    assert said == [[], ["loss 0.5000 at step 20"], [], ["loss 0.2500 at step 40"]]


@pytest.fixture
def table(log, tmp_path):
    """A study's display, told of two conditions of two runs, none begun; and the runs."""
    base = small()
    config = study("A", {"a": base, "b": changed(base, {"model.embedding_dim": 32})})
    config.num_seeds = 2
    found = StudyTable(log)
    runs = runs_of(config, tmp_path)
    found.begin(runs, {"a": 1e12, "b": 1e12})
    return found, runs


def test_a_study_on_a_log_says_where_it_is_though_no_step_ends(table, log, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_RUN_LINES", 0.02)
    display, runs = table
    with display:
        run = display.starts(runs[0])
        run.begin(100, 8, 0)
        time.sleep(0.3)  # as while it is compiled
    compiling = [line for line in lines(log) if line.startswith("a, seed 0: compiling")]
    assert len(compiling) >= 3
    assert "0 of 4 done" in compiling[0]
    said = len(lines(log))
    time.sleep(0.06)
    assert len(lines(log)) == said  # its clock has ended with it


def test_the_end_of_a_study_moves_with_what_is_done(table, monkeypatch):
    display, runs = table
    now = time.monotonic()

    def left(seconds):
        monkeypatch.setattr(time, "monotonic", lambda: now + seconds)
        return display._seconds_left()

    left(0)
    run = display.starts(runs[0])
    run.begin(100, 8, 0)
    assert left(1) is None
    run.update(50, None, 0.1)
    assert left(10) == pytest.approx(70)  # half a run in ten seconds, three and a half to come
    run.update(75, None, 0.1)
    assert left(12) == pytest.approx(52)
    monkeypatch.setattr(time, "monotonic", lambda: now + 20)
    run.update(100, None, 0.1)
    run.__exit__()
    assert left(25) == pytest.approx(3 * 20 + 3 * 5)  # it is tested; so will be the others
    results = {"train_seconds": 20.0, "pflop": 1e-3, "samples_seen": 8, "examples_per_second": 1.0}
    display.ended(runs[0], results | {"test": {"match_accuracy": 0.5}})
    assert left(30) == pytest.approx(3 * 20 + 3 * 5)  # each of the others is tested too
    assert "about 75 s left" in display.outlook()


def test_columns_that_are_empty_are_not_shown(log):
    table = Table("name", "known", "nothing")
    table.add_row("a", "1", "")
    show(log, table)
    assert "known" in log.file.getvalue()
    assert "nothing" not in log.file.getvalue()


def test_the_model_stands_among_the_references(log):
    between = {"auroc": [0.4, 0.6], "rejection_difference": [-0.1, 0.1], "match_accuracy": [0, 1]}
    foil = {"auroc": 0.517, "rejection_rate": 0.4, "rejection_difference": 0.0}
    found = {
        "suites": {
            "standard": {"match_accuracy": 0.8125, "intervals": between},
            "order_foil": foil | {"intervals": between},
        },
        "references": {"standard": {"label_set": 0.985}, "order_foil": {"label_set": 0.0}},
        "reference_auroc": {"standard": {"label_set": 0.98}, "order_foil": {"label_set": 0.5}},
    }
    for table in probe_tables("What it uses", found):
        show(log, table)
    said = log.file.getvalue()
    beside = said[said.index("Beside readers") :]
    assert re.search(r"this model +│ +81\.2% │ +0\.517", beside), beside
    assert re.search(r"label_set +│ +98\.5% │ +0\.500", beside), beside
    assert "exactly" not in beside
    (old,) = [t for t in probe_tables("", found | {"reference_auroc": {}}) if "Beside" in t.title]
    assert list(old.columns[2].cells) == ["40.0%", "0.0%"]


def test_runs_without_a_verdict_have_dashes_or_their_loss(table, log):
    display, runs = table
    for which in runs:
        test = {"loss": 0.5} if which.condition == "a" else {"match_accuracy": 0.75}
        more = {"examples_per_second": 1.0, "train_seconds": 1.0, "pflop": 1e-3, "samples_seen": 8}
        display.ended(which, {"test": test} | more)
    log.print(display.table())
    rows = {line.split()[0]: line for line in lines(log) if line.strip()}
    assert "–" in rows["a"]
    assert "75.00 ± 0.00 %" in rows["b"]
    shown = [{"test": {"loss": loss}, "seed": seed, "best_step": 1, "steps": 2, "samples_seen": 16}
             for seed, loss in enumerate((0.5, 0.25))]  # fmt: skip
    log.print(seeds_table("Seeds", shown))
    assert any("0.375 ± 0.18" in line for line in lines(log))
