"""Measure the built pages as a phone shows them: height in screens of 390 × 844, folds closed, and width.

Usage: phone.py _build/html [PAGE …]; without pages, all lessons, their evidence and the pages at the top.
Needs Chromium. Fails if a lesson is higher than 16 screens, or a page wider than the screen.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 390, 844
MOST = 16  # screens of a lesson
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--allow-file-access-from-files", "--virtual-time-budget=8000", "--dump-dom"),
)
# The page stands in a frame, since a window cannot be as narrow as a phone.
FRAME = """\
<iframe style="width:{width}px;height:{height}px;border:0" src="{page}"></iframe>
<script>
  const frame = document.querySelector("iframe");
  frame.onload = () => setTimeout(() => {{
    const page = frame.contentDocument;
    const article = page.querySelector("article") ?? page.body;
    const height = article.getBoundingClientRect().height;
    document.title = height + " " + page.documentElement.scrollWidth;
  }}, 2000);
</script>
"""


def measure(browser: str, page: Path) -> tuple[float, int]:
    """Return a page's height in screens and its width in pixels."""
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder, "frame.html")
        uri = page.resolve().as_uri()
        frame.write_text(FRAME.format(width=WIDTH, height=HEIGHT, page=uri), encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", frame.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    height, width = dom.partition("<title>")[2].partition("</title>")[0].split()
    return float(height) / HEIGHT, int(width)


def main(site: str, *pages: str) -> None:
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    browser = next(filter(None, found), None)
    if browser is None:
        raise SystemExit("phone: needs Chromium, which is not installed")
    site = Path(site)
    names = pages or [
        path.relative_to(site).as_posix()
        for pattern in ("*.html", "chapters/*.html", "chapters/evidence/*.html")
        for path in sorted(site.glob(pattern))
        if path.name not in ("genindex.html", "search.html")
    ]
    problems = 0
    for name in names:
        screens, width = measure(browser, site / name)
        long = screens > MOST and Path(name).parent.name == "chapters"
        problems += long + (width > WIDTH)
        print(f"{screens:6.1f}{'*' if long else ' '} {width:5}{'*' if width > WIDTH else ' '} {name}")
    raise SystemExit(problems > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
