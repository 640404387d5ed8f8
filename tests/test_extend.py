"""The tutorial docs/extend.md: its files and commands, as they are printed, in an empty folder."""

import json
import re
import shlex

import pytest
from conftest import ROOT, run_command

PAGE = (ROOT / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`[^`]*?\n\n```python\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"^python -m multimodal_vit.main (.*)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder after all commands, and what each of them said."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    said = {}
    for command in COMMANDS:
        done = run_command(*shlex.split(command), cwd=folder)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        said[command] = done.stdout
    return folder, said


def test_the_page_has_its_files_and_commands():
    assert set(FILES) == {
        "product.py", "one_run.py", "scaled.py", "letters.py", "compare.py", "tune.py",
    }  # fmt: skip
    assert len(COMMANDS) == 7


def test_a_workdir_keeps_the_sources_by_their_sha256_and_no_path(walked):
    folder, _ = walked
    text = (folder / "runs" / "one_run" / "config.json").read_text()
    names = json.loads(text)["config"]["components"]
    assert [name.partition("@")[0] for name in names] == ["product.py", "scaled.py", "letters.py"]
    assert str(folder) not in text
    for name in ("product.py", "scaled.py", "letters.py"):
        assert (folder / "runs" / "one_run" / "components" / name).read_text() == FILES[name]


def test_an_option_is_listed_and_set(walked):
    folder, said = walked
    saved = json.loads((folder / "runs" / "rank" / "config.json").read_text())["config"]
    assert saved["model"]["fusion_options"] == {"rank": 4}
    listed = said[next(c for c in COMMANDS if "--mode=list" in c)]
    assert "token_product" in listed and "rank (2)" in listed


def test_a_study_compares_them_with_the_built_in_ones(walked):
    folder, _ = walked
    runs = folder / "runs" / "compare" / "runs"
    assert len(list(runs.glob("*/seed_*/results.json"))) == 9
    assert "scaled" in (folder / "runs" / "compare" / "report.md").read_text()


def test_a_winner_of_a_search_runs(walked):
    folder, _ = walked
    winner = json.loads((folder / "runs" / "winner" / "results.json").read_text())
    assert winner["config_name"] == "tune_product_winner"
    assert (folder / "runs" / "tune" / "components" / "product.py").exists()


def test_evaluation_asks_before_it_executes_what_came_with_a_folder(walked):
    folder, _ = walked
    done = run_command("--mode=evaluate", "--workdir=runs/one_run", cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "product.py (sha256 " in line and "--trust_components" in line
    kept = folder / "runs" / "one_run" / "components" / "product.py"
    kept.write_text(FILES["product.py"].replace("rank: int = option(2", "rank: int = option(3"))
    done = run_command(
        "--mode=evaluate", "--workdir=runs/one_run", "--trust_components", cwd=folder
    )
    kept.write_text(FILES["product.py"])
    assert done.returncode == 2
    assert "is not what the run was trained with" in done.stderr
