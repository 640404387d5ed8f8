"""What every page of the program must hold, looked at in a browser."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def opened(path: Path, width: int, scheme: str) -> Iterator:
    """A page in a window of some width; asserts that it fetches and says nothing."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        ).new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        yield page
        assert said == []
        assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
        browser.close()


def check_page(path: Path, width: int, scheme: str) -> None:
    """No sideways scrolling, the answer first, letters of figures at text size, contents."""
    with opened(path, width, scheme) as page:
        page.evaluate("document.querySelectorAll('main details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(re.search(r"\d+", background)[0])
        assert red > 200 if scheme == "light" else red < 60
        headings = page.evaluate(
            "[...document.querySelectorAll('.answer dt')].map(d => d.innerText)"
        )
        assert headings[:2] == ["Question", "Answer"]
        assert "Cost" in headings
        links = page.evaluate(
            "[...document.querySelectorAll('.contents a')].map(a => a.getAttribute('href'))"
        )
        assert len(links) >= 3
        assert all(page.evaluate(f"document.querySelector('{link}') !== null") for link in links)
        shown = page.evaluate("document.querySelector('.contents a').checkVisibility()")
        assert shown == (width > 960)  # folded on a phone
        if width > 960:  # and it stays
            page.evaluate("window.scrollTo(0, 1500)")
            top = page.evaluate("document.querySelector('.contents').getBoundingClientRect().top")
            assert top == 0
        pictures = page.evaluate(
            "[...document.images].map(i => [i.closest('figure').querySelector('a').download, "
            "i.clientWidth / i.naturalWidth, i.alt.length, i.currentSrc.length])"
        )
        assert len(pictures) > 0
        for data, scale, words, source in pictures:
            assert words > 10
            assert source > 1000
            figure = path.parent / "figures" / data.removesuffix(".csv")
            sizes = letters(figure.with_suffix(".svg"))
            least, most = (0.7, 1.1) if width > 960 else (0.5, 1.1)
            assert least <= min(sizes) * scale <= max(sizes) * scale <= most, data
            assert figure.with_suffix(".png").stat().st_size > 1000
            assert len(figure.with_suffix(".csv").read_text().splitlines()) > 1, data


def letters(path: Path) -> list[float]:
    """The sizes of an SVG's letters, as shares of a page's 16 pixels."""
    points = re.findall(r"scale\(([\d.]+) -[\d.]+\)\"", path.read_text())
    assert points, path
    return [float(size) * 100 * 96 / 72 / 16 for size in points]


def check_print(path: Path) -> None:
    """On paper a page is light, whatever the screen is, with nothing folded, stuck or cut off."""
    with opened(path, 700, "dark") as page:
        page.emulate_media(media="print")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert int(re.search(r"\d+", background)[0]) > 200
        folded = page.evaluate(
            "[...document.querySelectorAll('main details table')].filter(t => !t.checkVisibility())"
            ".length"
        )
        assert folded == 0
        stuck = page.evaluate("getComputedStyle(document.querySelector('.contents')).display")
        assert stuck == "none"
        cut = page.evaluate(
            "[...document.querySelectorAll('.table:not(.many) table')]"
            ".filter(t => t.getBoundingClientRect().right > 701).length"
        )
        assert cut == 0
