"""The link test of the site: every address of a page is there, anchors too, and nothing is fetched.

Use: python docs/site/links.py site
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
ELSEWHERE = ("preconnect", "dns-prefetch", "stylesheet", "icon", "preload")


class Page(HTMLParser):
    """What a page links to and what it can be linked at.

    Attributes:
      links: addresses, each with whether the page fetches it by itself.
      anchors: the ids on the page.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes the tag's id and address."""
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href") is not None:
            self.links.append((given["href"], False))
        if tag in FETCHED and given.get(FETCHED[tag]):
            shown = tag != "link" or any(rel in (given.get("rel") or "") for rel in ELSEWHERE)
            self.links.append((given[FETCHED[tag]], shown))


def problems(site: Path) -> Iterator[str]:
    """A line for each address that leads nowhere, or out of the site where a page fetches it."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for address, fetched in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if fetched and parts.scheme != "data":
                    yield f"{name} fetches {address}"
                continue
            if path.name == "404.html":
                continue  # is shown at any address
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{name} links to {address}, which is not there"
            elif target in pages and parts.fragment:
                place = unquote(parts.fragment)
                if place not in pages[target].anchors:
                    yield f"{name} links to {address}, which has no such place"


def main() -> int:
    """Prints the problems; the exit code is 0 where there are none."""
    site = Path(sys.argv[1])
    found = sorted(set(problems(site)))
    for line in found:
        print(line)
    print(f"{len(list(site.rglob('*.html')))} pages, {len(found)} links that lead nowhere")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
