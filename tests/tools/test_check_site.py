import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_site.py"
GOOD = '<p id="top">Hi</p><img src="a.png" alt="A curve."><a href="#top">up</a><script src="a.js"></script>'


def check(site, **pages):
    for name in ("a.png", "a.js", "mathjax.js"):
        (site / name).write_text("")
    for name, body in pages.items():
        (site / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    return subprocess.run([sys.executable, TOOL, site], capture_output=True, text=True)


def test_a_sound_site_passes(tmp_path):
    result = check(
        tmp_path,
        index=GOOD,
        other='<a href="index.html#top">home</a><a href="https://arxiv.org">x</a>',
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            '<script src="https://cdn.example/x.js"></script>',
            "loads https://cdn.example/x.js from another server",
        ),
        (
            '<link rel="stylesheet" href="//cdn.example/x.css">',
            "loads //cdn.example/x.css from another server",
        ),
        ('<script src="gone.js"></script>', "loads gone.js, which is not there"),
        ('<img src="a.png">', "an image without alt text: a.png"),
        (
            '<img src="a.png" alt="_images/a.png">',
            "an image whose alt text is its file name",
        ),
        ('<a href="gone.html">x</a>', "links to gone.html, which is not there"),
        ('<a href="#gone">x</a>', "links to #gone, but that page has no such place"),
        ("<p>```{note}</p>", "a directive that was not understood"),
        (
            '<span class="math notranslate">x</span>',
            "has formulas, but loads no MathJax",
        ),
    ],
)
def test_each_fault_is_found(tmp_path, body, problem):
    result = check(tmp_path, index=GOOD + body)
    assert result.returncode == 1
    assert f"index.html: {problem}" in result.stderr
    assert "site-check: 1 problems" in result.stdout


def test_a_site_without_pages_is_no_sound_site(tmp_path):
    result = subprocess.run(
        [sys.executable, TOOL, tmp_path], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "there is no page" in result.stderr
