"""How well a page of `--mode=export` reads digits that are drawn into it.

In headless Chromium the pointer draws digits as a hand does: strokes through a few points each,
which are moved at random, at other sizes and places in each field. Each grid is asked with its true
text and with one word replaced.

    python benchmarks/drawn_digits.py --page=runs/mnist_page/export/web --picture=drawn.png
"""

import argparse
import functools
import http.server
import random
import shutil
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

# The points that the strokes of each digit go through, in a field of side 1, from the upper left.
STROKES = {
    "0": ["50,15 33,25 28,50 33,75 50,86 67,75 72,50 67,25 50,15"],
    "1": ["55,16 50,84"],
    "2": ["30,30 38,18 55,15 68,25 66,40 50,60 30,82 74,80"],
    "3": ["30,24 45,15 62,20 66,33 55,45 44,47 58,50 70,62 65,78 48,86 30,78"],
    "4": ["50,14 28,58 76,56", "64,36 60,88"],
    "5": ["70,17 38,18 34,45 55,43 70,55 66,76 48,86 28,78"],
    "6": ["62,15 42,35 32,62 40,82 58,84 68,70 60,56 42,58 33,66"],
    "7": ["28,20 72,18 55,50 44,86"],
    "8": ["62,28 50,16 36,26 42,42 60,56 66,74 50,86 35,74 42,56 60,42 62,28"],
    "9": ["66,30 52,16 36,27 40,46 58,46 66,30 64,60 56,86"],
}


def draw(page: Page, field: int, digit: str, rng: random.Random, shake: float) -> None:
    """Draws a digit into a field; `shake` says by how much points, size and place vary."""
    page.locator(".clear").nth(field).click()
    pad = page.locator(".pad canvas:first-child").nth(field)
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    size, right, down = 1 - 15 * shake * rng.random(), *(rng.uniform(-3, 3) * shake for _ in "xy")
    for stroke in STROKES[digit]:
        points = []
        for point in stroke.split():
            x, y = (int(part) / 100 - 0.5 + rng.uniform(-shake, shake) for part in point.split(","))
            x, y = 0.5 + size * x + right, 0.5 + size * y + down
            points.append((box["x"] + x * box["width"], box["y"] + y * box["height"]))
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()


def ask(page: Page, text: str) -> str:
    """Types a text; what the page says of it."""
    page.locator("#text").fill(text)
    page.wait_for_timeout(150)
    return page.text_content("#verdict") or ""


def measure(page: Page, num_grids: int, picture: str) -> None:
    """Prints what the page says of "3 1 4 1" and of grids at random."""
    rng, right = random.Random(0), 0
    for field, digit in enumerate("3141"):
        draw(page, field, digit, rng, 0)
    for text in ("3 1 1 4", "1 3 4 1", "3 1 4 1"):
        print(f"drawn 3 1 4 1, asked {text!r}: {ask(page, text)}")
    if picture:
        page.locator("#swap-button").click()
        page.wait_for_timeout(300)
        page.screenshot(path=picture, full_page=True)
    for _ in range(num_grids):
        shown = [rng.choice(list(STROKES)) for _ in range(4)]
        for field, digit in enumerate(shown):
            draw(page, field, digit, rng, 0.03)
        wrong, place = list(shown), rng.randrange(4)
        wrong[place] = rng.choice([digit for digit in STROKES if digit != shown[place]])
        right += ask(page, " ".join(shown)).startswith("True")
        right += ask(page, " ".join(wrong)).startswith("False")
    print(f"{num_grids} grids of shaky digits: right on {right} of {2 * num_grids} texts")


def main() -> None:
    """Serves the page and draws in it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--page", type=Path, required=True, help="a folder web/ of an export")
    parser.add_argument("--grids", type=int, default=20)
    parser.add_argument("--picture", default="", help="where to write what the page shows")
    settings = parser.parse_args()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=settings.page)
    handler.func.log_message = lambda *_: None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        page.wait_for_selector("body[data-ready]")
        measure(page, settings.grids, settings.picture)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
