"""The site: its pages are put together, its links are tested. docs/build itself runs in CI."""

import importlib.util
import re
import subprocess
import sys

import pytest
from conftest import ROOT, load_module

SITE = ROOT / "docs" / "site"
NOTEBOOKS = sorted(
    (ROOT / "docs" / "notebooks").glob("*.py")
)  # docs/site/notebooks.py: their pages
PAGE = "<html><body id='top'><h2 id='here'>x</h2>{}</body></html>"


def test_every_page_is_put_together_and_named_in_the_menu(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pages.py", str(tmp_path)])
    load_module(SITE / "pages.py").main()  # raises for a link to a file that is not there
    pages = {p.relative_to(tmp_path / "pages").as_posix() for p in tmp_path.rglob("*.md")}
    menu = set(re.findall(r'"([\w/]+\.md)"', (tmp_path / "zensical.toml").read_text()))
    notebooks = {f"notebooks/{script.stem}.md" for script in NOTEBOOKS}
    assert len(notebooks) == 4 and menu <= pages | notebooks
    assert notebooks <= menu
    linked = {"launch.md", "benchmarks.md", "models/mnist_page/README.md"}  # from other pages
    assert pages - menu == linked
    assert ":::" in (tmp_path / "pages" / "api" / "models.md").read_text()


def test_links_that_lead_nowhere_are_found(tmp_path):
    problems = load_module(SITE / "links.py").problems
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text(PAGE.format("<a href='../#here'>x</a>"))
    good = "<a href='a/#here'>x</a><a href='#top'>x</a><a href='https://x.org'>x</a>"
    (tmp_path / "index.html").write_text(PAGE.format(good))
    assert list(problems(tmp_path)) == []
    bad = "<a href='b/'>x</a><a href='a/#there'>x</a><script src='https://x.org/x.js'></script>"
    (tmp_path / "index.html").write_text(PAGE.format(bad))
    assert list(problems(tmp_path)) == [
        "index.html links to b/, which is not there",
        "index.html links to a/#there, which has no such place",
        "index.html fetches https://x.org/x.js",
    ]


def cells(script):
    """The cells of a percent script, each with its first line."""
    return re.split(r"^(?=# %%)", script.read_text(), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_alike_and_says_how_long_it_trains(script):
    title, install, length, *rest = cells(script)
    assert title.startswith("# %% [markdown]\n# # ")
    assert install == cells(NOTEBOOKS[0])[1]  # installs the package where it is missing
    assert "NOTEBOOK_PAIRS" in length  # the one parameter of a test, at the top
    assert "environ" not in "".join(rest)
    compile(script.read_text(), script, "exec")
    for page in re.findall(r"\]\(([\w./]+)\.md\)", script.read_text()):
        place = script.parent / page
        assert place.with_suffix(".md").exists() or place.with_suffix(".py") in NOTEBOOKS


def test_the_install_cell_takes_the_wheel_beside_the_notebook(tmp_path, monkeypatch):
    (tmp_path / "multimodal_vit-9.9-py3-none-any.whl").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.append(command[1:]))
    exec(cells(NOTEBOOKS[0])[1], {})
    assert asked == [["-m", "pip", "install", "-q", "multimodal_vit-9.9-py3-none-any.whl"]]


def test_each_picture_of_the_gallery_has_the_command_that_draws_it():
    gallery = load_module(ROOT / "benchmarks" / "gallery.py")
    page = (ROOT / "docs" / "gallery.md").read_text()
    drawn = {name: made for made, name in gallery.PICTURE.findall(page)}
    assert set(re.findall(r"\((gallery/[\w.]+)\)", page)) == set(drawn)
    assert {f"gallery/{path.name}" for path in (ROOT / "docs" / "gallery").iterdir()} == set(drawn)
    workdirs = re.findall(r"--workdir=(\S+)", "\n".join(gallery.COMMAND.findall(page)))
    assert [made for made in drawn.values() if not made.startswith(tuple(workdirs))] == []
    assert dict(gallery.FILE.findall(page)).keys() == {"objectives.py", "tune.py"}
