"""A book of a few lines, built by Sphinx with extensions from tools/, for the tests of these."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def build(folder, pages, *extensions, conf=""):
    """Write pages (name → text, or the bytes of a file) and build them; return where, and what Sphinx said."""
    for name, text in pages.items():
        path = folder / (name if isinstance(text, bytes) else f"{name}.rst")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(TOOLS)!r})\nextensions = {extensions!r}\n{conf}",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", folder, folder / "html"]
    done = subprocess.run(command, capture_output=True, text=True)
    return folder / "html", done.stderr


def promises(extension):
    """What an extension tells Sphinx of itself: whether pages may be read and written side by side."""

    class App:
        def __getattr__(self, name):
            return lambda *args, **kwargs: None

    return runpy.run_path(str(TOOLS / f"{extension}.py"))["setup"](App())


needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium")


def title_in_chromium(page):
    """The title that a page's scripts have given it, once Chromium has run them."""
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    profile = f"--user-data-dir={page.with_suffix('.profile')}"
    command = ["chromium", *flags.split(), profile, "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, encoding="utf-8", timeout=60
    )
    return re.search("<title>(.*?)</title>", done.stdout)[1]
