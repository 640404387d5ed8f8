"""Studies as they are used: run, killed, continued, shared, extended; and their report."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, command_environment, run_command
from ml_collections import ConfigDict
from pages import CHROMIUM, check_page, check_print

from multimodal_vit import config as configuration
from multimodal_vit.config import changed, small
from multimodal_vit.errors import UserError
from multimodal_vit.files import read_json, write_json
from multimodal_vit.study import cross, from_file, study
from multimodal_vit.study.definition import problems, runs_of

STUDY = '''
from multimodal_vit.config import changed, small
from multimodal_vit.study import cross, study

def get_config():
    base = changed(small(), {
        "data.source": "digits", "data.name": "digits", "model.embedding_dim": 16,
        "model.stem": "conv", "model.num_conv_layers": 0, "model.patch_size": 28,  # no convolution
        "model.num_encoder_layers": 1, "model.mlp_dim": 32, "model.num_heads": 2,
        "model.dropout_rate": 0.0, "train.num_samples": 2824, "train.patience": 0,
        "evaluation.suites": ("order_foil", "single_foil"),  # all take longer
    })
    config = study(
        "Does <script>alert(1)</script> decay matter?",
        cross(base, decay={"on": {}, "off": {"train.weight_decay": 0.0}}),
        comparisons=[("on", "off")],
        published={"on": (0.9773, 0.005, 5), "off": (0.9214, 0.005, 5)},
    )
    config.published_source = "the thesis, Table 4.1"
    config.num_seeds = 2
    return config
'''  # fmt: skip
RUN = ["--mode=study", "--config=decay.py", "--workdir=decay"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a study of two conditions and two seeds, and what the command said."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "decay.py").write_text(STUDY)
    done = run_command(*RUN, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def results(folder) -> dict[str, dict]:
    return {
        str(path.parent.relative_to(folder)): json.loads(path.read_text())["test"]
        for path in sorted(folder.glob("runs/*/*/results.json"))
    }


def test_every_condition_has_every_seed(finished):
    folder, said = finished
    names = {f"runs/{c}/seed_{s}" for c in ("on", "off") for s in (0, 1)}
    assert set(results(folder / "decay")) == names
    assert "4 runs of 2 conditions." in said
    assert "4 of 4 done" in said
    assert re.search(r"^ on +2 .*%", said, re.MULTILINE), said


def test_the_table_has_one_row_for_each_run_and_metric(finished):
    folder, _ = finished
    table = pd.read_csv(folder / "decay" / "results.csv")
    assert list(table.columns) == ["condition", "seed", "metric", "value"]
    assert not table.duplicated(["condition", "seed", "metric"]).any()
    wide = table.pivot(index=["condition", "seed"], columns="metric", values="value")
    assert len(wide) == 4
    saved = results(folder / "decay")["runs/off/seed_1"]["match_accuracy"]
    assert wide.loc[("off", 1), "test.match_accuracy"] == saved
    assert wide["pflop"].gt(0).all()


def test_a_finished_study_computes_nothing_and_more_seeds_only_what_is_missing(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "decay"
    before = {p: p.stat().st_mtime_ns for p in path.glob("runs/*/*/results.json")}
    done = run_command(*RUN, "--config.num_seeds=3", cwd=tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    assert "6 runs of 2 conditions, 4 of them done already." in done.stdout
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(results(path)) == 6
    assert json.loads((path / "study.json").read_text())["conditions"]["on"]["n"] == 3


def test_a_study_refuses_a_condition_that_has_changed(finished):
    folder, _ = finished
    done = run_command(*RUN, "--config.conditions.on.train.batch_size=64", cwd=folder)
    assert done.returncode == 2
    assert "train.batch_size: 128 there, 64 given" in done.stderr


def start(folder, *more: str):
    return subprocess.Popen(
        [sys.executable, "-m", "multimodal_vit.main", *RUN, *more],
        cwd=folder, env=command_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def wait_until(there, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.long
def test_a_killed_study_goes_on_where_it_was(finished, tmp_path):
    folder, _ = finished
    (tmp_path / "decay.py").write_text(STUDY)
    process = start(tmp_path)
    second = tmp_path / "decay" / "runs" / "off" / "seed_0" / "metrics.jsonl"
    wait_until(second.exists, process)  # the first run is finished, the second has begun
    process.kill()
    process.wait()
    assert len(results(tmp_path / "decay")) == 1
    done = run_command(*RUN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of them done already" in done.stdout
    assert results(tmp_path / "decay") == results(folder / "decay")


@pytest.mark.long
def test_seeds_trained_as_one_program_give_the_same_study_also_after_a_kill(finished, tmp_path):
    folder, _ = finished
    (tmp_path / "decay.py").write_text(STUDY)
    process = start(tmp_path, "--config.seeds_together")
    second = tmp_path / "decay" / "runs" / "on" / "seed_1" / "metrics.jsonl"
    wait_until(lambda: second.exists() and second.stat().st_size, process)
    process.kill()
    process.wait()
    assert results(tmp_path / "decay") == {}, "both seeds were under way"
    done = run_command(*RUN, "--config.seeds_together", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "decay") == results(folder / "decay")
    assert "another process" not in done.stdout
    assert "4 of 4 done" in done.stdout


def test_ctrl_c_saves_and_stops(tmp_path):
    (tmp_path / "decay.py").write_text(STUDY)
    process = start(tmp_path)
    wait_until((tmp_path / "decay" / "runs" / "on" / "seed_0" / "config.json").exists, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "The same command continues." in out + err  # err: too busy to save in nine seconds
    assert "Traceback" not in err


def children(process) -> list[int]:
    """The processes that a process has started."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def test_workers_share_a_study_and_one_that_is_killed_loses_nothing(finished, tmp_path):
    """Each has fewer cores than the one process had, and gives its bits all the same."""
    folder, _ = finished
    (tmp_path / "decay.py").write_text(STUDY)
    process = start(tmp_path, "--workers=2", "--config.num_seeds=1")
    first = tmp_path / "decay" / "runs" / "on" / "seed_0"
    wait_until((first / "metrics.jsonl").exists, process, seconds=300)  # three start-ups
    begun = [tmp_path / "decay" / "runs" / name / "seed_0" for name in ("on", "off")]
    wait_until(lambda: all((path / "config.json").exists() for path in begun), process)
    victim = json.loads((first / ".lock").read_text())["pid"]
    assert victim in children(process)
    assert len(children(process)) == 2
    os.kill(victim, signal.SIGKILL)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert re.search(r"Worker \d was ended by SIGKILL; others go on with its run.", out)
    assert "by another process" not in out
    for run in ("on, seed 0", "off, seed 0"):
        assert len(re.findall(rf"^{run}: true/false", out, re.MULTILINE)) == 1, out
        assert re.search(rf"^{run}: [12],\d{{3}} samples: validation", out, re.MULTILINE), out
    expected = results(folder / "decay")
    assert results(tmp_path / "decay") == {
        name: expected[name] for name in ("runs/off/seed_0", "runs/on/seed_0")
    }
    assert (tmp_path / "decay" / "report.html").exists()


def test_workers_end_with_the_process_that_started_them(tmp_path):
    (tmp_path / "decay.py").write_text(STUDY)
    process = start(tmp_path, "--workers=2")
    begun = tmp_path / "decay" / "runs" / "on" / "seed_0" / "config.json"
    wait_until(begun.exists, process, seconds=300)
    workers = children(process)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_two_processes_share_a_study_and_do_no_run_twice(finished, tmp_path):
    folder, _ = finished
    (tmp_path / "decay.py").write_text(STUDY)
    processes = [start(tmp_path), start(tmp_path)]
    ran = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        ran.append(re.findall(r"^(\w+, seed \d): true/false", out, re.MULTILINE))
    assert sorted([*ran[0], *ran[1]]) == sorted(
        f"{c}, seed {s}" for c in ("on", "off") for s in (0, 1)
    )
    assert ran[0], "one process did everything"
    assert ran[1], "one process did everything"
    assert results(tmp_path / "decay") == results(folder / "decay")


def test_a_run_that_fails_is_named_and_the_others_are_finished(tmp_path):
    (tmp_path / "decay.py").write_text(STUDY)
    done = run_command(
        *RUN, "--config.num_seeds=1", "--config.conditions.off.train.learning_rate=1e38",
        "--config.conditions.off.train.gradient_clip=0.0", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "failed: runs/off/seed_0: the " in done.stdout
    again = run_command(
        *RUN, "--config.num_seeds=1", "--config.conditions.off.train.learning_rate=1e38",
        "--config.conditions.off.train.gradient_clip=0.0", cwd=tmp_path,
    )  # fmt: skip
    assert again.returncode == 2, "it is not tried again, and still named"
    assert "failed: runs/off/seed_0: the " in again.stdout
    assert "diverged" in (tmp_path / "decay" / "report.html").read_text()
    assert list(results(tmp_path / "decay")) == ["runs/on/seed_0"]


# ---- the report ----


def test_the_published_tests_stand_beside_the_studys(finished):
    folder, _ = finished
    content = json.loads((folder / "decay" / "study.json").read_text())
    published = [t for t in content["tests"] if t["source"] == "the thesis, Table 4.1"]
    assert [round(t["student"]["t"], 4) for t in published] == [17.6771]
    (own,) = (t for t in content["tests"] if t["source"] == "this study")
    values = [content["conditions"][name]["mean"] for name in ("on", "off")]
    assert own["difference"] == pytest.approx(values[0] - values[1])
    assert own["detectable"] > 0


def test_every_suite_is_tested_as_the_accuracy_is(finished):
    folder, said = finished
    content = json.loads((folder / "decay" / "study.json").read_text())
    assert {test["suite"] for test in content["suite_tests"]} == {"order_foil", "single_foil"}
    smallest = min(test["p"] for test in content["suite_tests"])
    assert min(test["holm"] for test in content["suite_tests"]) == pytest.approx(
        min(1.0, 2 * smallest)
    )
    on = content["conditions"]["on"]
    assert len(on["reads_order"]) == len(on["places"]) == 2
    assert on["sentence"].startswith("on ")
    flat = " ".join(said.split())
    assert on["sentence"] in flat
    assert content["answers"][0] in flat
    assert "order_foil" in flat


def test_the_report_is_one_file_that_names_what_it_needs(finished):
    folder, _ = finished
    html = (folder / "decay" / "report.html").read_text()
    assert not re.search(r"(src|href|srcset)=\"(?!data:|#)", html)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "--mode=study --config=decay.py" in html
    assert "Every condition had the same budget: 2 seeds, each with at most 2,824" in html
    for word in ("t(8) = 17.6771", "train.weight_decay", "99.75 %", "parameters", "jax"):
        assert word in html, word


def test_the_report_says_what_the_models_use(finished):
    folder, _ = finished
    html = (folder / "decay" / "report.html").read_text()
    assert "What they use" in html
    assert re.search(r"order_foil<br>.*in another order", html)
    assert "runs read in order (AUROC of order foils" in html
    assert html.index("cannot be told from chance") < html.index("Results</h2>")
    table = pd.read_csv(folder / "decay" / "results.csv")
    rates = table[table.metric == "suites.order_foil.rejection_rate"].value
    assert len(rates) == 4
    assert rates.between(0, 1).all()


def test_every_figure_is_there_as_png_and_svg_and_in_the_markdown(finished):
    folder, _ = finished
    markdown = (folder / "decay" / "report.md").read_text()
    assert "\\<script\\>" in markdown
    names = re.findall(r"\]\(figures/(\w+)\.png\)", markdown)
    assert {"scale", "accuracies", "curves", "by_replaced", "confusions", "examples_digits"} <= set(
        names
    )
    for name in names:
        for kind in ("png", "svg"):
            assert (folder / "decay" / "figures" / f"{name}.{kind}").stat().st_size > 1000
        assert len(pd.read_csv(folder / "decay" / "figures" / f"{name}.csv")) > 0
    curves = pd.read_csv(folder / "decay" / "figures" / "curves.csv")
    assert set(curves.split) == {"train", "validation"}
    assert set(curves.seed) == {0, 1}


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "dark")])
def test_the_report_in_a_browser(finished, width, scheme):
    folder, _ = finished
    check_page(folder / "decay" / "report.html", width, scheme)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_report_on_paper(finished):
    folder, _ = finished
    check_print(folder / "decay" / "report.html")


# ---- definitions ----


def test_cross_is_every_combination_in_order():
    base = small()
    crossed = cross(
        base,
        data={"mnist": {"data.name": "mnist"}, "fashion": {"data.name": "fashion_mnist"}},
        rate={"low": {"train.learning_rate": 1e-4}, "high": {"train.learning_rate": 1e-2}},
    )
    assert list(crossed) == ["mnist_low", "mnist_high", "fashion_low", "fashion_high"]
    assert crossed["fashion_low"].data.name == "fashion_mnist"
    assert crossed["fashion_low"].train.learning_rate == 1e-4
    assert base.train.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("train.leaning_rate", 1, "did you mean train.learning_rate?"),
        ("train.batch_size", "many", "train.batch_size='many'"),
        ("train", {}, "'train' is no field"),
    ],
)
def test_a_change_of_no_field_or_to_another_type_is_refused(field, value, message):
    with pytest.raises(UserError, match=re.escape(message)):
        changed(small(), {field: value})


def bad(change) -> list[str]:
    config = study("?", {"a": small(), "b": small()}, [("a", "b")])
    change(config)
    return list(problems(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.conditions.a.evaluation.update(seed=1), "differ in evaluation.seed (1 and 0)"),
        (lambda c: c.update(num_seeds=0), "num_seeds=0 is out of range"),
        (lambda c: c.update(first_seed=-1), "first_seed=-1 is out of range"),
        (lambda c: c.conditions.a.train.update(num_seeds=2), "a study has num_seeds of its own"),
        (lambda c: c.update(comparisons=(("a", "a"),)), "must be two different conditions"),
        (lambda c: c.update(comparisons=(("a", "c"),)), "'c' is no condition; there are: a, b"),
        (lambda c: c.conditions.a.train.update(batch_size=0), "conditions.a.train.batch_size=0"),
        (lambda c: setattr(c, "conditions", ConfigDict({})), "conditions is empty"),
        (lambda c: c.conditions.update({"/x": small()}), "'/x' names a folder"),
    ],
)
def test_mistakes_in_a_study_are_named(change, message):
    assert bad(lambda config: None) == []
    assert any(message in problem for problem in bad(change)), bad(change)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", {}, "decay holds a single run"),
        ("search.json", {}, "decay holds a search"),
        ("study.json", {"name": "other"}, "decay holds the study 'other', this one is 'decay'"),
    ],
)
def test_a_study_refuses_a_folder_of_something_else(file, content, message, tmp_path):
    (tmp_path / "decay.py").write_text(STUDY)
    (tmp_path / "decay").mkdir()
    write_json(tmp_path / "decay" / file, content)
    done = run_command(*RUN, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_combinations_of_one_name_are_refused():
    with pytest.raises(UserError, match="both named 'x_y_z'"):
        cross(small(), a={"x": {}, "x_y": {}}, b={"y_z": {}, "z": {}})


def test_a_study_does_not_mix_runs_on_different_data(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "decay" / "runs" / "on" / "seed_0" / "results.json"
    content = read_json(path)
    content["data"]["fingerprint"] = "another"
    write_json(path, content)
    done = run_command(*RUN, cwd=tmp_path / "copy")
    assert done.returncode == 2
    assert "was trained on other data" in done.stderr


def test_suites_that_are_added_later_are_asked_of_finished_runs(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    suites = "--config.conditions.on.evaluation.suites=('single_foil', 'order_foil', 'no_text')"
    done = run_command(*RUN, suites, cwd=tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    results = tmp_path / "copy" / "decay" / "runs" / "on" / "seed_1" / "results.json"
    assert set(json.loads(results.read_text())["suites"]) == {
        "single_foil",
        "order_foil",
        "no_text",
    }
    assert "no_text" in (tmp_path / "copy" / "decay" / "report.html").read_text()


def test_a_study_and_an_experiment_are_told_apart(tmp_path):
    (tmp_path / "decay.py").write_text(STUDY)
    done = run_command("--config=decay.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "the configuration of a study" in done.stderr
    assert "--mode=study" in done.stderr
    digits = ROOT / "configs" / "digits_conv.py"
    done = run_command("--mode=study", f"--config={digits}", cwd=tmp_path)
    assert done.returncode == 2
    assert "give --mode=train" in done.stderr


def test_the_study_of_table_41_is_four_cells_and_five_seeds(tmp_path):
    for name in ("small", "thesis", "faithful"):
        config = from_file(f"{ROOT / 'configs' / 'study_table41.py'}:{name}")
        assert list(problems(config)) == []
        runs = runs_of(config, tmp_path)
        assert len(runs) == 20
        assert len({run.workdir.path for run in runs}) == 20
        budgets = {c.train.num_samples for c in config.conditions.values()}
        assert len(budgets) == 1
    faithful = config.conditions.mnist_conv.train
    assert (faithful.schedule, faithful.weight_decay, faithful.warmup_steps) == ("constant", 0, 0)


def test_a_study_takes_experiments_from_their_files():
    config = from_file(ROOT / "configs" / "study_digits.py")
    assert list(problems(config)) == []
    decay, without = config.conditions.decay, config.conditions.no_decay
    assert configuration.differences(decay, without) == ["train.weight_decay: 1.0 there, 0.0 given"]
    with pytest.raises(UserError, match="there is no configuration file nowhere"):
        from_file("nowhere.py:small")


def test_csv_is_plain(finished):
    folder, _ = finished
    with (folder / "decay" / "results.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert all(len(row) == 4 for row in rows)
    float(rows[1][3])
