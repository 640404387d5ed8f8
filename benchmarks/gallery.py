"""Draws docs/gallery.md anew: runs the commands that stand there and keeps the pictures they draw.

    python benchmarks/gallery.py

The page is the list: its commands are run in their order, its files are written beside them; of a
line that begins with a file of a run, the picture below is that file, of a page the part that is
first seen in a browser (headless Chromium, of the extra `test`). What the commands made is kept in
`--workspace`, and finished runs there are not trained again.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_vit.data import load_splits

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "gallery.md"
WIDTH, HEIGHT = 1280, 900  # of the browser's window
WIDEST = 1400  # pixels of a picture; what is wider is reduced
FILE = re.compile(r"`(\w+\.py)`[^`]*?\n\n```python\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^python -m multimodal_vit\.main (.*)$", re.MULTILINE)
PICTURE = re.compile(
    r"^`(runs/[\w./]+)`.*?\n\n!\[[^\]]*\]\((gallery/[\w.]+)\)", re.DOTALL | re.MULTILINE
)


def write_digits(folder: Path) -> None:
    """Writes the test digits that the page's last command asks about."""
    test = load_splits("digits", "varied_digits").test
    for label in (3, 1, 4, 2):
        image = test.images[int(np.argmax(test.labels == label)), ..., 0]
        Image.fromarray(image).save(folder / f"{label}.png")


def screenshot(pages: dict[Path, Path]) -> None:
    """Writes what a browser shows first of each page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        window = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for page, picture in pages.items():
            window.goto(page.resolve().as_uri())
            window.screenshot(path=picture)
        browser.close()


def reduce(picture: Path) -> None:
    """Reduces a picture that is wider than a page shows, to few colours."""
    image = Image.open(picture).convert("RGB")
    image.thumbnail((WIDEST, 10 * WIDEST))
    image.quantize(128).save(picture, optimize=True)


def main() -> None:
    """Runs the commands and writes docs/gallery."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT / "runs" / "gallery")
    workspace = parser.parse_args().workspace
    workspace.mkdir(parents=True, exist_ok=True)
    text = PAGE.read_text()
    for name, source in FILE.findall(text):
        (workspace / name).write_text(source)
    write_digits(workspace)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment["JAX_COMPILATION_CACHE_DIR"] = str(workspace.resolve() / "compiled")
    for command in COMMAND.findall(text):
        print("+", command, flush=True)
        arguments = shlex.split(command.replace("configs/", f"{ROOT}/configs/"))
        subprocess.run(
            [sys.executable, "-m", "multimodal_vit.main", *arguments],
            cwd=workspace, env=environment, check=True,
        )  # fmt: skip
    pictures = {ROOT / "docs" / name: workspace / made for made, name in PICTURE.findall(text)}
    if missing := [str(made) for made in pictures.values() if not made.exists()]:
        sys.exit(f"error: no command drew {', '.join(missing)}")
    (ROOT / "docs" / "gallery").mkdir(exist_ok=True)
    screenshot({made: name for name, made in pictures.items() if made.suffix == ".html"})
    for name, made in pictures.items():
        if made.suffix == ".png":
            name.write_bytes(made.read_bytes())
        reduce(name)
        print(f"{name.relative_to(ROOT)}: {name.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
