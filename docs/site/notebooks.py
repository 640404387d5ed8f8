"""The notebooks of docs/notebooks as pages of the site, each with its .ipynb to download.

Use: `python docs/site/notebooks.py PAGES [--execute]`; it writes into PAGES/notebooks. Executed,
they show what they print and draw. For a test, `NOTEBOOK_PAIRS` makes each train on fewer pairs,
`NOTEBOOK_DATA=digits` on digits that an epoch shows once.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import jupytext
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExecutePreprocessor

FOLDER = Path(__file__).parent.parent / "notebooks"
SECONDS = 900  # that a cell may take


def write(source: Path, folder: Path, execute: bool) -> None:
    """Writes the page of a percent script, its pictures and its .ipynb.

    Raises:
      nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    if execute:
        with tempfile.TemporaryDirectory() as workspace:
            runner = ExecutePreprocessor(timeout=SECONDS, kernel_name="python3")
            runner.preprocess(notebook, {"metadata": {"path": workspace}})
    jupytext.write(notebook, folder / f"{source.stem}.ipynb", fmt="ipynb")
    names = {"output_files_dir": f"{source.stem}_files", "unique_key": source.stem}
    text, resources = MarkdownExporter().from_notebook_node(notebook, names)
    for name, picture in resources["outputs"].items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(picture)
    title, _, rest = text.strip().partition("\n")
    download = f"[As a notebook]({source.stem}.ipynb), for Jupyter or a hosted notebook."
    (folder / f"{source.stem}.md").write_text(f"{title}\n\n{download}\n{rest}\n")


def main() -> None:
    """Writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path)
    parser.add_argument("--execute", action="store_true")
    given = parser.parse_args()
    folder = given.pages / "notebooks"
    folder.mkdir(exist_ok=True)
    for source in sorted(FOLDER.glob("*.py")):
        start = time.monotonic()
        write(source, folder, given.execute)
        print(f"{source.name}: {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
