"""Check the built site: what a page loads, where its links lead, and what its images say to the blind.

Usage: check_site.py _build/html
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What the browser fetches by itself: the tag, and where the address stands in it.
LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
}
LOADED_LINKS = {"stylesheet", "preload", "modulepreload", "icon", "manifest"}


class Page(HTMLParser):
    """What one page loads, links to and defines."""

    def __init__(self, path: Path):
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.problems: list[str] = []
        self.math = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        # An attribute without a value is None here: as good as empty.
        attributes = {name: value or "" for name, value in attrs}
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if address := attributes.get(LOADS.get(tag)):
            self.loads.append(address)
        if tag == "link" and LOADED_LINKS & set(attributes.get("rel", "").split()):
            self.loads.append(attributes.get("href", ""))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "img":
            alt, source = attributes.get("alt", "").strip(), attributes.get("src")
            if not alt:
                self.problems.append(f"an image without alt text: {source}")
            elif alt.startswith(("../_images", "_images")):
                self.problems.append(f"an image whose alt text is its file name: {source}")
        if "math" in attributes.get("class", "").split():
            self.math = True

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        if "```{" in data or ":::{" in data:
            self.problems.append(
                f"a directive that was not understood: {data.strip()[:60]!r}"
            )


def problems_of(site: Path) -> list[str]:
    """Return what is wrong with the pages below ``site``, a line each."""
    pages = {
        path: Page(path)
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }
    if not pages:
        return [f"there is no page in {site}"]
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: {problem}" for problem in page.problems]
        for address in page.loads:
            if urlsplit(address).netloc:
                found.append(f"{name}: loads {address} from another server")
            elif not urlsplit(address).scheme and not _target(path, address).exists():
                found.append(f"{name}: loads {address}, which is not there")
        if page.math and not any("mathjax" in address for address in page.loads):
            found.append(f"{name}: has formulas, but loads no MathJax")
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = _target(path, address)
            if not target.exists():
                found.append(f"{name}: links to {address}, which is not there")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].ids
            ):
                found.append(f"{name}: links to {address}, but that page has no such place")
    return found


def _target(page: Path, address: str) -> Path:
    relative = unquote(urlsplit(address).path)
    return (page.parent / relative).resolve() if relative else page


def print_in_any_locale() -> None:
    """Let a page's name or a query print, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def tell(checked: str, problems: list[str]) -> bool:
    """Print problems, and how many there are; return whether there are any."""
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{checked} {len(problems)} problems")
    return bool(problems)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    print_in_any_locale()
    return tell("site-check:", problems_of(Path(arguments[0]).resolve()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
