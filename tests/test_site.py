"""The site: its pages are put together, its links are tested. docs/build itself runs in CI."""

import re
import sys

from conftest import ROOT, load_module

SITE = ROOT / "docs" / "site"
PAGE = "<html><body id='top'><h2 id='here'>x</h2>{}</body></html>"


def test_every_page_is_put_together_and_named_in_the_menu(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pages.py", str(tmp_path)])
    load_module(SITE / "pages.py").main()  # raises for a link to a file that is not there
    pages = {p.relative_to(tmp_path / "pages").as_posix() for p in tmp_path.rglob("*.md")}
    menu = set(re.findall(r'"([\w/]+\.md)"', (tmp_path / "zensical.toml").read_text()))
    scripts = (ROOT / "docs" / "notebooks").glob("*.py")  # docs/site/notebooks.py makes their pages
    notebooks = {f"notebooks/{script.stem}.md" for script in scripts}
    assert notebooks and menu <= pages | notebooks
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
