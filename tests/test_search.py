"""Searches as they are used: shared by processes that are stopped, killed and started again."""

import contextlib
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import optuna
import pandas as pd
import pytest
from conftest import ROOT, command_environment, run_command
from pages import CHROMIUM, check_page
from PIL import Image

from multimodal_vit import main as main_module
from multimodal_vit.config import changed, small
from multimodal_vit.errors import DivergedError, UserError
from multimodal_vit.search import search, trial
from multimodal_vit.search.definition import SearchDir, check
from multimodal_vit.search.results import summary
from multimodal_vit.search.storage import JournalLock, Locks, parse_url
from multimodal_vit.search.worker import Search, SearchDisplay

TINY = {
    "data.source": "digits", "data.name": "digits", "model.embedding_dim": 16,
    "model.num_conv_layers": 0, "model.num_encoder_layers": 1, "model.mlp_dim": 16,
    "model.num_heads": 2, "model.patch_size": 28, "train.num_samples": 1412,
    "train.batch_size": 64, "train.warmup_steps": 2, "train.patience": 0,
    "evaluation.batch_size": 128,
}  # fmt: skip
SEARCH_FILE = f"""
from multimodal_vit.config import changed, small
from multimodal_vit.search import search


def get_config():
    experiment = changed(small(), {TINY!r})
    rates = {{"train.learning_rate": (1e-3, 2e-3, 3e-3, 4e-3)}}
    config = search("Tiny", {{"patch": (experiment, rates)}})
    config.num_trials, config.num_seeds = 2, 1
    return config
"""
SEARCH = ["--mode=search", "--config=tiny.py", "--workdir=found"]
EPOCHS = "--config.conditions.patch.experiment.train.num_samples={}"
LONG = EPOCHS.format(1412 * 20)  # some seconds, a validation and a checkpoint in each epoch


@pytest.fixture
def folder(tmp_path):
    """A folder with a search of one condition and four settings, each a run of one epoch."""
    (tmp_path / "tiny.py").write_text(SEARCH_FILE)
    return tmp_path


@pytest.fixture
def workers(folder):
    """Starts workers of the search in `folder`; whoever is left at the end is killed."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "multimodal_vit.main", *SEARCH, *arguments],
            cwd=folder, env=command_environment(), text=True,
            stdout=(folder / f"out{len(started)}").open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        process.said = folder / f"out{len(started)}"
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
            process.send_signal(signal.SIGCONT)
        process.wait(30)


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.said.read_text()
        assert time.monotonic() < deadline, process.said.read_text()
        time.sleep(0.02)


def ended_well(process):
    assert process.wait(240) == 0, process.said.read_text()
    assert "Traceback" not in process.said.read_text()


def trials(folder, condition="patch"):
    return json.loads((folder / "found" / "search_results.json").read_text())["conditions"][
        condition
    ]["trials"]


def validations(folder, trial, seed=0):
    """How many validations a run has behind it."""
    path = folder / "found" / "patch" / "trials" / str(trial) / f"seed_{seed}" / "metrics.jsonl"
    return path.read_text().count('"validation"') if path.exists() else 0


def test_a_search_ends_in_tables_figures_and_a_winner_that_is_a_config(folder):
    """Two workers share it, in one terminal."""
    more = ["--config.num_seeds=2", "--config.num_trials=2", "--workers=2"]
    done = run_command(*SEARCH, *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "2 workers, each on a share of the cores." in done.stdout
    for number in (0, 1):
        assert len(re.findall(rf"^patch, trial {number} begins ", done.stdout, re.MULTILINE)) == 1
        assert len(re.findall(rf"^patch, trial {number} done: ", done.stdout, re.MULTILINE)) == 1
    assert "patch: validation accuracy" in done.stdout
    assert "Every condition had the same budget: trials: 2, " in done.stdout
    assert "2 done, of 4 settings" in done.stdout
    found = folder / "found"
    table = pd.read_csv(found / "trials.csv")
    assert list(table.trial) == [0, 1]
    assert list(table.status) == ["done", "done"]
    assert table["train.learning_rate"].nunique() == 2
    for row, listed in zip(table.itertuples(), trials(folder), strict=True):
        results = [
            json.loads((found / f"patch/trials/{row.trial}/seed_{s}/results.json").read_text())
            for s in (0, 1)
        ]
        assert all("test" not in result for result in results)
        accuracies = pd.Series([result["validation"]["match_accuracy"] for result in results])
        assert listed["match_accuracy"] == list(accuracies)
        assert row.match_accuracy_mean == pytest.approx(accuracies.mean())
        assert row.match_accuracy_std == pytest.approx(accuracies.std())
        assert row.hours > 0
    drawn = found / "figures" / "patch_parallel_coordinate.png"
    with Image.open(drawn) as image:
        assert len(image.convert("L").getcolors()) > 20
    shown = pd.read_csv(drawn.with_suffix(".csv"))
    assert list(shown.match_accuracy_mean) == list(table.match_accuracy_mean)
    assert drawn.with_suffix(".svg").exists()
    assert not list(found.rglob("*importances*"))  # of two trials they would say nothing
    page = (found / "report.html").read_text()
    assert "No importances of the fields are drawn: 2 finished trials say too little" in page
    assert "95 % interval over 2 seeds" in page
    assert "accelerator hours for 2 finished trials of 2 seeds each" in page
    winner = table.loc[table.match_accuracy_mean.idxmax()]
    sheet = run_command(
        "--mode=sample", "--config=found/patch_winner.py", "--workdir=sheet", cwd=folder
    )
    assert sheet.returncode == 0, sheet.stderr
    text = (found / "patch_winner.py").read_text()
    assert f"'train.learning_rate': {winner['train.learning_rate']},\n" in text
    assert f"Trial {winner.trial}: validation true/false" in text
    assert not list(found.rglob("predictions.npz"))


@pytest.mark.long
def test_a_worker_killed_in_a_trial_is_replaced_and_finished_seeds_stay(folder, workers):
    arguments = [LONG, "--config.num_trials=1", "--config.num_seeds=2"]
    killed = workers(*arguments)
    checkpoints = folder / "found/patch/trials/0/seed_1/checkpoints"
    wait_for(lambda: any(p.name.isdigit() and p.name != "0" for p in checkpoints.glob("*")), killed)
    killed.kill()
    killed.wait()
    first = folder / "found/patch/trials/0/seed_0/results.json"
    before = first.stat().st_mtime_ns
    again = workers(*arguments)
    ended_well(again)
    said = again.said.read_text()
    assert "patch, trial 0 goes on with learning_rate" in said
    assert "seed 2 of 2 continues from step" in said
    assert "seed 1 of 2" not in said
    assert first.stat().st_mtime_ns == before
    (trial,) = trials(folder)
    assert (trial["status"], trial["seeds"], trial["attempts"]) == ("done", 2, 2)


def test_a_search_that_is_asked_to_stop_saves_and_continues(folder, workers):
    arguments = [LONG, "--config.num_trials=1"]
    for signal_, code, validated in ((signal.SIGTERM, 0, 2), (signal.SIGINT, 130, 5)):
        stopped = workers(*arguments)
        wait_for(lambda least=validated: validations(folder, 0) >= least, stopped)
        stopped.send_signal(signal_)
        assert stopped.wait(60) == code
        assert "Stopped and saved. The same command continues." in stopped.said.read_text()
        (trial,) = trials(folder)
        assert (trial["status"], trial["attempts"]) == ("running", 0)
    again = workers(*arguments)
    ended_well(again)
    assert "continues from step" in again.said.read_text()
    (trial,) = trials(folder)
    assert (trial["status"], trial["attempts"]) == ("done", 1)


def assert_shared_without_doubles(folder, processes, num_trials):
    """Every trial was begun by one process and done by one, and no more than the budget."""
    said = [process.said.read_text() for process in processes]
    for verb in ("begins", "done:"):
        lines = [line for text in said for line in text.splitlines() if f" {verb} " in line]
        numbers = sorted(int(line.split("trial ")[1].split()[0]) for line in lines)
        assert numbers == list(range(num_trials)), said
    found = trials(folder)
    assert [row["status"] for row in found] == ["done"] * num_trials
    assert len({json.dumps(row["setting"]) for row in found}) == num_trials


@pytest.mark.long
def test_a_stopped_worker_is_not_taken_for_dead(folder, workers):
    arguments = [LONG, "--config.num_trials=2"]
    stopped = workers(*arguments)
    wait_for(lambda: validations(folder, 0) >= 1, stopped)
    stopped.send_signal(signal.SIGSTOP)
    other = workers(*arguments)
    wait_for(lambda: "waiting for the trials of other workers" in other.said.read_text(), other)
    time.sleep(4)  # it looks at the trials every second
    assert other.poll() is None
    stopped.send_signal(signal.SIGCONT)
    ended_well(stopped)
    ended_well(other)
    assert_shared_without_doubles(folder, [stopped, other], 2)
    assert {row["attempts"] for row in trials(folder)} == {1}


# ---- PostgreSQL: a real server, on loopback ----


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A PostgreSQL server: its URL, and a function that starts or kills it."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb = shutil.which("initdb") or next((str(b / "initdb") for b in binaries[-1:]), None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed")
    programs = Path(initdb).parent
    user = {}
    data = tmp_path_factory.mktemp("postgresql")
    if os.geteuid() == 0:  # the server refuses to run as root
        with contextlib.suppress(KeyError):
            pwd.getpwnam("postgres")
            user = {"user": "postgres"}
        if not user:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        shutil.chown(data, "postgres")
        for parent in itertools.takewhile(lambda p: p != Path("/tmp"), data.parents):
            if parent.owner() == "root" and str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    options = {"cwd": data, "check": True, "capture_output": True, **user}
    try:
        subprocess.run(
            [initdb, "-D", data / "db", "-U", "searcher", "-A", "trust", "-N"], **options
        )
    except (subprocess.CalledProcessError, PermissionError) as error:
        pytest.skip(f"PostgreSQL cannot be set up here: {error}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = f"-h 127.0.0.1 -p {port} -k {data} -F"
    start = ["-l", data / "log", "-o", settings, "start"]
    running = data / "db" / "postmaster.pid"

    def control(what):
        if what == "start":
            subprocess.run([programs / "pg_ctl", "-D", data / "db", "-w", *start], **options)
        elif running.exists():  # at once, without a word to those that are connected
            os.kill(int(running.read_text().split()[0]), signal.SIGQUIT)
            for _ in range(600):
                if not running.exists():
                    return
                time.sleep(0.1)
            raise TimeoutError("PostgreSQL still runs")

    control("start")
    yield f"postgresql://searcher@127.0.0.1:{port}/postgres", control
    control("kill")


@pytest.fixture
def postgresql(server):
    """The URL of the server."""
    return server[0]


def test_postgresql_killed_workers_and_a_killed_server_lose_nothing(folder, workers, server):
    url, control = server
    arguments = [LONG, "--config.num_trials=2", f"--config.storage={url}"]
    killed = workers(*arguments)
    wait_for(lambda: validations(folder, 0) >= 1, killed)
    other = workers(*arguments)
    wait_for(lambda: "trial 1 begins" in other.said.read_text(), other)
    killed.kill()
    killed.wait()
    wait_for(lambda: "patch, trial 0 goes on with" in other.said.read_text(), other)
    control("kill")
    assert other.wait(240) == 2, other.said.read_text()  # once the trial has ended
    (line,) = [x for x in other.said.read_text().splitlines() if x.startswith("error: ")]
    assert "cannot be used" in line and "start the same command again" in line
    assert "Traceback" not in other.said.read_text()
    control("start")
    last = workers(*arguments)
    ended_well(last)
    assert "patch, trial 0 goes on with" in last.said.read_text()
    assert [row["status"] for row in trials(folder)] == ["done", "done"]
    assert not (folder / "found" / "journal.jsonl").exists()


def test_postgresql_a_lock_is_held_by_one_connection_and_freed_with_it(postgresql, tmp_path):
    url = parse_url(postgresql)
    one, two = Locks(url), Locks(url)
    with one.held(tmp_path / "a", "trial") as first, two.held(tmp_path / "b", "trial") as second:
        assert (first, second) == (True, False)
        one.close()
        deadline = time.monotonic() + 60  # the server notices in its own time
        while True:
            with two.held(tmp_path / "c", "trial") as third:
                if third or time.monotonic() > deadline:
                    break
            time.sleep(0.1)
        assert third
        with two.held(tmp_path / "a", "trial") as fourth:
            assert not fourth  # the file is still held
    with two.held(tmp_path / "a", "trial") as fifth:
        assert fifth
    two.close()


# ---- in one process, with runs that take no time ----


@pytest.fixture
def config():
    grid = {"train.learning_rate": (1e-3, 2e-3, 3e-3), "model.num_encoder_layers": (1, 2)}
    found = search("Tiny", {"patch": (changed(small(), TINY), grid)})
    found.name, found.num_seeds, found.num_trials = "tiny", 1, 4
    return found


@pytest.fixture
def runs(monkeypatch):
    """Replaces runs by their settings' accuracy, two validations each; lists the configurations."""
    seen = []

    def accuracy(config):
        return config.train.learning_rate * 100 + config.model.num_encoder_layers / 100

    def run(experiment, workdir, display, should_stop, on_validation, *, test):
        assert test is False
        workdir.begin(experiment.config)
        seen.append(experiment.config)
        value = run.accuracy(experiment.config)
        for step in (1, 2):
            on_validation(step, {"match_accuracy": value, "class_accuracy": 0.5})
        results = {
            "data": {"fingerprint": experiment.splits.fingerprint()},
            "validation": {
                "match_accuracy": value, "class_accuracy": 0.5, "chance": {"match_accuracy": 0.5},
                "intervals": {"match_accuracy": [value, value]},
            },
        }  # fmt: skip
        workdir.save_results(results)
        return None, results

    run.accuracy = accuracy
    monkeypatch.setattr(trial, "run", run)
    return types.SimpleNamespace(seen=seen, run=run)


def work(config, path):
    check(config)
    with Search.open(config, SearchDir(path)) as opened:
        assert opened.work(SearchDisplay(), lambda: False)
        return summary(opened)["conditions"]


def statuses(condition):
    return [row["status"] for row in condition["trials"]]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_no_setting_is_tried_twice_and_the_whole_grid_ends_a_search(
    config, runs, tmp_path, sampler
):
    config.sampler, config.num_trials = sampler, 100
    found = work(config, tmp_path)["patch"]
    assert statuses(found) == ["done"] * 6
    settings = {(c.train.learning_rate, c.model.num_encoder_layers) for c in runs.seen}
    assert len(runs.seen) == len(settings) == 6
    assert found["winner"]["setting"] == {
        "train.learning_rate": 3e-3,
        "model.num_encoder_layers": 2,
    }


def test_more_trials_may_be_added_and_none_is_run_again(config, runs, tmp_path):
    config.num_trials = 2
    first = work(config, tmp_path)["patch"]["trials"]
    config.num_trials = 3
    second = work(config, tmp_path)["patch"]["trials"]
    assert second[:2] == first
    assert len(runs.seen) == len(second) == 3


def test_impossible_combinations_are_skipped_with_a_reason_and_do_not_count(config, runs, tmp_path):
    config.conditions.patch.space.model.num_heads = (2, 3)
    config.conditions.patch.space.model.embedding_dim = (16, 18)
    config.num_trials = 18  # of 24 settings 6 are impossible
    found = work(config, tmp_path)["patch"]
    assert found["counts"] == {"done": 18, "pruned": 0, "failed": 0, "skipped": 6, "running": 0}
    for row in found["trials"]:
        impossible = row["setting"]["model.num_heads"] == 3 and (
            row["setting"]["model.embedding_dim"] == 16
        )
        assert (row["status"] == "skipped") == impossible
        assert ("does not divide" in row["reason"]) == impossible


def test_conditions_take_turns_with_the_same_budget(config, runs, tmp_path):
    config.conditions.other = config.conditions.patch.copy_and_resolve_references()
    config.num_trials = 2
    found = work(config, tmp_path)
    assert [statuses(condition) for condition in found.values()] == [["done"] * 2] * 2
    assert [c.name for c in runs.seen] == ["patch", "other"] * 2


def test_accelerator_hours_end_a_condition(config, runs, tmp_path):
    config.max_hours = 1e-9
    found = work(config, tmp_path)["patch"]
    assert statuses(found) == ["done"]
    assert found["hours"] > 1e-9


def test_diverged_training_fails_the_trial_and_the_search_goes_on(config, runs, tmp_path):
    def accuracy(config):
        if config.train.learning_rate == 2e-3:
            raise DivergedError("the training loss before step 3 is nan: training has diverged")
        return 0.5

    runs.run.accuracy = accuracy
    config.num_trials = 6
    found = work(config, tmp_path)["patch"]
    for row in found["trials"]:
        failed = row["setting"]["train.learning_rate"] == 2e-3
        assert row["status"] == ("failed" if failed else "done")
        assert ("has diverged" in row["reason"]) == failed


def test_the_median_pruner_gives_up_settings_below_the_median(config, runs, tmp_path):
    config.conditions.patch.space.train.learning_rate = tuple(i * 1e-4 for i in range(1, 9))
    config.pruner, config.num_trials, config.num_seeds = "median", 16, 2
    found = work(config, tmp_path)["patch"]
    assert found["counts"]["pruned"] > 0
    assert found["counts"]["done"] + found["counts"]["pruned"] == 16
    assert all(row["seeds"] == 0 for row in found["trials"] if row["status"] == "pruned")
    assert found["winner"]["setting"]["train.learning_rate"] == pytest.approx(8e-4)


def test_a_trial_in_which_workers_keep_dying_is_given_up(config, runs, tmp_path):
    class Death(BaseException):
        """What no worker survives."""

    def die(config):
        raise Death

    alive, runs.run.accuracy = runs.run.accuracy, die
    config.max_attempts, config.num_trials = 2, 3
    for _ in range(2):
        with pytest.raises(Death):
            work(config, tmp_path)
    runs.run.accuracy = alive
    found = work(config, tmp_path)["patch"]
    assert statuses(found) == ["failed", "done", "done"]
    assert found["trials"][0]["reason"] == "given up: 2 workers were lost in it (max_attempts)"
    assert [row["attempts"] for row in found["trials"]] == [2, 1, 1]


def test_a_journal_cut_off_in_its_last_line_goes_on(config, runs, tmp_path):
    config.num_trials = 2
    work(config, tmp_path)
    journal = tmp_path / "journal.jsonl"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    found = work(config, tmp_path)["patch"]
    assert statuses(found) == ["done"] * 2
    assert len(runs.seen) == 2  # the lost line told the end of a trial; its runs are kept
    for line in journal.read_bytes().splitlines():
        json.loads(line)


@pytest.mark.parametrize("size", [0, 10, 5000, 20000])
def test_the_journal_lock_cuts_off_an_incomplete_line_of_any_length(tmp_path, size):
    journal = tmp_path / "journal"
    journal.write_bytes(b"{}\n" * 3 + b"x" * size)
    lock = JournalLock(journal)
    lock.acquire()
    lock.release()
    assert journal.read_bytes() == b"{}\n" * 3


def test_a_trial_begun_but_without_its_setting_is_taken_up(config, runs, tmp_path):
    """As a worker leaves it that is killed while it asks."""
    config.num_trials = 2
    with Search.open(config, SearchDir(tmp_path)) as opened:
        ((_, study),) = opened.studies
        study._storage.create_new_trial(study._study_id)
    found = work(config, tmp_path)["patch"]
    assert statuses(found) == ["done"] * 2
    assert len({json.dumps(row["setting"]) for row in found["trials"]}) == 2


def test_sqlite_is_a_storage_too(config, runs, tmp_path):
    config.storage = f"sqlite:///{tmp_path}/trials.db"
    assert statuses(work(config, tmp_path / "found")["patch"]) == ["done"] * 4
    saved = (tmp_path / "found" / "search.json").read_text()
    assert "trials.db" not in saved
    config.storage = ""
    with pytest.raises(UserError, match="holds trials that the storage does not know"):
        work(config, tmp_path / "found")


def test_two_searches_of_one_name_share_a_database_without_mixing(config, runs, tmp_path):
    config.storage, config.num_trials = f"sqlite:///{tmp_path}/trials.db", 1
    for name in ("one", "two"):
        assert statuses(work(config, tmp_path / name)["patch"]) == ["done"]
    names = optuna.get_all_study_names(config.storage)
    assert len(names) == 2
    assert all(name.startswith("tiny-") and name.endswith("/patch") for name in names)


def test_a_changed_search_is_refused_and_the_fields_are_named(config, runs, tmp_path):
    config.num_trials = 1
    work(config, tmp_path)
    config.num_seeds = 3
    config.conditions.patch.space.train.learning_rate = (1e-3,)
    with pytest.raises(UserError) as refused:
        work(config, tmp_path)
    assert "num_seeds: 1 there, 3 given" in str(refused.value)
    assert "conditions.patch.space.train.learning_rate: (0.001, 0.002" in str(refused.value)


# ---- mistakes: said before anything is written ----

BAD = {
    "no trials": (["--config.num_trials=0"], "num_trials=0 is out of range"),
    "no seeds": (["--config.num_seeds=0"], "num_seeds=0 is out of range"),
    "negative hours": (["--config.max_hours=-1.0"], "max_hours=-1.0 is out of range"),
    "unknown sampler": (["--config.sampler=rnadom"], "did you mean random?"),
    "unknown pruner": (["--config.pruner=mean"], "is not one of none, median"),
    "empty values": (
        ["--config.conditions.patch.space.train.learning_rate=()"],
        "must list values, at least one",
    ),
    "value out of range": (
        ["--config.conditions.patch.space.train.learning_rate=(0.1, -0.1)"],
        "space.train.learning_rate=-0.1 is out of range",
    ),
    "the same value twice": (
        ["--config.conditions.patch.space.train.learning_rate=(0.1, 0.1)"],
        "0.1 stands more than once among the values",
    ),
    "the experiment's own": (
        ["--config.conditions.patch.experiment.train.batch_size=0"],
        "conditions.patch.experiment.train.batch_size=0 is out of range",
    ),
    "no URL": (["--config.storage=nonsense"], "is no SQLAlchemy URL"),
    "no end of hours": (["--config.max_hours=inf"], "max_hours=inf is out of range"),
    "no driver of that name, and a password": (
        ["--config.storage=postgrsql://me:secret@host/found"],
        "storage='postgrsql://me:***@host/found' is no SQLAlchemy URL",
    ),
    "no such database": (["--config.storage=oracel://host/db"], "is no SQLAlchemy URL"),
    "no driver": (["--config.storage=mysql://host/db"], "needs the package MySQLdb"),
    "no server": (
        ["--config.storage=postgresql://me:secret@127.0.0.1:1/db"],
        "postgresql+psycopg://me:***@127.0.0.1:1/db cannot be used",
    ),
    "missing data": (
        [
            "--config.conditions.patch.experiment.data.source=auto",
            "--config.conditions.patch.experiment.data.name=letters",
        ],
        "no data set 'letters'",
    ),
    "no number of workers": (["--workers=two"], "--workers=two must be a number from 1 to 1024"),
    "a file": (["--workdir=tiny.py"], "--workdir=tiny.py is a file"),
    "a folder of others": (["--workdir=."], "holds other files and no search"),
    "a mode that takes no search": (["--mode=train"], "give --mode=search"),
    "a search of no search": (
        [f"--config={ROOT / 'configs' / 'digits_conv.py'}"],
        "is the configuration of an experiment, which --mode=search does not take",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_mistake_ends_in_one_clear_line_and_writes_nothing(what, folder, monkeypatch, capsys):
    arguments, message = BAD[what]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "data"))
    sys.modules.pop("config_config", None)  # ml_collections' name for the last configuration
    named = {argument.partition("=")[0] for argument in arguments}
    defaults = [argument for argument in SEARCH if argument.partition("=")[0] not in named]
    assert main_module.main(["main", *defaults, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
    assert "secret" not in said
    after = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    assert after == [folder / "tiny.py"]


def test_every_mistake_of_a_search_is_listed():
    experiment = changed(small(), TINY)
    config = search(
        "Bad",
        {
            "empty": (experiment, {}),
            "no folder": (experiment, {"train.learning_rate": (1e-3,)}),
            "fields": (experiment, {"model.dropuot_rate": (0.1,), "seed": (1, 2)}),
            "types": (experiment, {"model.num_heads": ("two",), "task.grid": ((2, 2),)}),
            "combination": (experiment, {"model.num_heads": (2, 3)}),
        },
    )
    config.max_attempts = 0
    with pytest.raises(UserError) as raised:
        check(config)
    said = str(raised.value)
    for text in (
        "max_attempts=0 is out of range",
        "conditions.empty.space is empty",
        "conditions.no folder: the name names a folder",
        "did you mean model.dropout_rate?",
        "conditions.fields.space.seed cannot be searched",
        "conditions.types.space.model.num_heads='two'",
        "task.grid: (2, 2) cannot be searched",
    ):
        assert text in said
    assert "does not divide" not in said  # an impossible combination is skipped in its turn


@pytest.mark.parametrize("preset", ["small", "thesis", "budget"])
def test_the_searches_in_configs_are_without_mistakes(preset):
    namespace = {}
    exec((ROOT / "configs" / "search_table41.py").read_text(), namespace)
    config = namespace["get_config"](preset)
    check(config)
    assert config.max_hours == (27 * 24 if preset == "budget" else 0)
    assert list(config.conditions) == ["mnist_conv", "mnist_patch", "fashion_conv", "fashion_patch"]


def a_search(chance, above, trials=3):
    """What a finished search is known by: two fields, some trials, the first one the winner."""
    rows = [
        {
            "trial": i, "status": "done", "reason": "", "setting": {"a.x": i, "a.y": 0},
            "match_accuracy_mean": 0.52 - i / 1000, "chance": [chance], "above_chance": [above],
            "reads_order": [True, False], "order_auroc": [0.99, 0.5],
        }
        for i in range(trials)
    ]  # fmt: skip
    counts = {"done": trials, "pruned": 0, "failed": 0, "skipped": 0, "running": 0}
    condition = {
        "counts": counts,
        "num_settings": 9,
        "hours": 0.1,
        "trials": rows,
        "winner": rows[0],
    }
    budget = {"num_trials": trials, "max_hours": 0.0, "num_seeds": 2}
    return {"budget": budget, "conditions": {"patch": condition}}


def test_a_search_whose_best_is_at_chance_says_so_and_few_trials_too():
    from multimodal_vit.analysis.search_report import remarks

    said = "\n".join(remarks(a_search(0.51, above=False)))
    assert "Warning: the best trial of patch, 52.00%, cannot be told from chance, 51.00%" in said
    assert "its winner reads in order with 1 of 2 seeds" in said
    assert "no importances of the fields are drawn: 3 finished trials say too little; 20" in said
    few = remarks(a_search(0.4, above=True, trials=12))
    assert "12 finished trials for 2 fields: their importances say little" in "\n".join(few)
    said = "\n".join(remarks(a_search(0.4, above=True, trials=20)))
    assert "Warning" not in said
    assert "importances" not in said


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_of_a_search_in_a_browser(tmp_path, width, scheme):
    from multimodal_vit.analysis.search_page import write_search_report

    found = a_search(0.4, above=True, trials=12) | {"title": "A search"}
    found["budget"] |= {"sampler": "random", "pruner": "none", "seed": 0}
    for row in found["conditions"]["patch"]["trials"]:
        row |= {"match_accuracy": [row["match_accuracy_mean"]] * 2, "match_accuracy_std": 0.0}
        row |= {"class_accuracy_mean": 0.9, "class_accuracy_std": None, "seeds": 2, "hours": 0.1}
    write_search_report(found, tmp_path, "a command")
    check_page(tmp_path / "report.html", width, scheme)
    assert (tmp_path / "figures" / "patch_importances.csv").exists()
    assert "1 of 2 seeds read in order" in (tmp_path / "report.md").read_text()


def test_what_an_accuracy_must_be_read_beside():
    from multimodal_vit.search.trial import beside

    row = {"chance": {"match_accuracy": 0.51}, "intervals": {"match_accuracy": [0.5, 0.6]}}
    assert beside([row]) == {"chance": [0.51], "above_chance": [False]}
    order = row | {"suites.order_foil.auroc": 0.97, "suites.order_foil.auroc_low": 0.96}
    assert beside([order])["reads_order"] == [True]
    assert "reads_order" not in beside([order, row])
