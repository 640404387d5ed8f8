"""Puts the pages of the site together: docs/, README, experiments, and a reference of the code.

Use: `python docs/site/pages.py FOLDER`; it writes FOLDER/pages and FOLDER/zensical.toml.
"""

import ast
import json
import re
import shutil
import sys
from pathlib import Path

SITE = Path(__file__).parent
ROOT = SITE.parent.parent
PACKAGE = ROOT / "multimodal_vit"
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
ROW = re.compile(r"^\| `(\w+)` \| (.*) \| [\w, ]+ \|$", re.MULTILINE)
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


def page_of(path: Path) -> str:
    """The page, and the place on it, that shows a file of the repository.

    Raises:
      ValueError: none does.
    """
    inside = path.relative_to(ROOT).as_posix()
    if not path.exists():
        raise ValueError(f"{inside} does not exist")
    if inside in PAGES:
        return PAGES[inside]
    first, _, rest = inside.partition("/")
    if first == "docs":
        return rest.removesuffix(".py") + ".md" if rest.startswith("notebooks/") else rest
    if first in ("configs", "launch", "benchmarks"):
        return f"{first}.md" + (f"#{anchor(rest)}" if rest else "")
    if first == "multimodal_vit":
        return f"api/{rest.partition('/')[0].removesuffix('.py')}.md"
    raise ValueError(f"no page of the site shows {inside}")


def anchor(name: str) -> str:
    """The anchor of a heading that is a file's name."""
    return re.sub(r"[^\w-]", "", name.lower())


def with_links(text: str, source: Path) -> str:
    """A page's text with its links to files turned to the pages that show them."""

    def turned(match: re.Match[str]) -> str:
        target, place = match[1], match[2] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        page = page_of((source.parent / target).resolve())
        return f"]({page}{place if '#' not in page else ''})"

    return LINK.sub(turned, text)


def of_files(folder: str, title: str) -> str:
    """A page of all files of a folder, with what each says of itself and its text."""
    parts = [f"# {title}\n"]
    for path in sorted((ROOT / folder).iterdir()):
        if not path.is_file():
            continue
        text = path.read_text()
        about = ast.get_docstring(ast.parse(text)) if path.suffix == ".py" else ""
        language = "python" if path.suffix == ".py" else "bash"
        about = about.partition("\n\n")[0].replace("\n", " ") if about else ""
        parts.append(f'## {path.name}\n\n{about}\n\n??? note "{folder}/{path.name}"\n')
        code = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
        parts.append(f"    ```` {language}\n{code}\n    ````\n")
    return "\n".join(parts)


def reference(pages: Path) -> list[str]:
    """A page for each part of the package, in the order of docs/architecture.md."""
    parts = ROW.findall((ROOT / "docs" / "architecture.md").read_text().split("\n## ")[0])
    for name, about in parts:
        text = f"# {name}\n\n{about[0].upper() + about[1:]}.\n\n::: multimodal_vit.{name}\n"
        (pages / "api" / f"{name}.md").write_text(text)
    return [f"api/{name}.md" for name, _ in parts]


def main() -> None:
    """Writes the folder."""
    folder = Path(sys.argv[1])
    pages = folder / "pages"
    (pages / "api").mkdir(parents=True)
    for path in sorted((ROOT / "docs").glob("*.md")):
        (pages / path.name).write_text(with_links(path.read_text(), path))
    for name, page in PAGES.items():
        (pages / page).write_text(with_links((ROOT / name).read_text(), ROOT / name))
    titles = {"configs": "Experiments", "launch": "Launch scripts", "benchmarks": "Benchmarks"}
    for name, title in titles.items():
        (pages / f"{name}.md").write_text(of_files(name, title))
    for more in ("gallery", "models", "pictures"):
        shutil.copytree(ROOT / "docs" / more, pages / more)
    shutil.copy(SITE / "extra.css", pages / "extra.css")
    settings = (SITE / "zensical.toml").read_text()
    settings = settings.replace("ROOT", ROOT.as_posix())
    (folder / "zensical.toml").write_text(settings.replace("API", json.dumps(reference(pages))))


if __name__ == "__main__":
    main()
