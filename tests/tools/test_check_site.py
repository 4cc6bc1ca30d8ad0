import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_site.py"
GOOD = '<p id="top">Hi</p><img src="a.png" alt="A curve."><a href="#top">up</a><script src="a.js"></script>'


def check(site, env=None, **pages):
    (site / "chapters").mkdir()
    for name in ("a.png", "a.js", "mathjax.js", "a λ.png"):
        (site / name).write_text("")
        (site / "chapters" / name).write_text("")
    for name, body in pages.items():
        path = site / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    env = os.environ | (env or {})
    return subprocess.run([sys.executable, TOOL, site], capture_output=True, text=True, env=env)


def test_a_sound_site_passes(tmp_path):
    result = check(
        tmp_path,
        index=GOOD,
        other="""
            <a href="index.html#top">home</a> <a href="https://arxiv.org">x</a>
            <a href="mailto:a@b.example">write</a> <a href="a.png#xywh=1">a part</a>
            <p id="der-λ"></p> <a href="#der-%CE%BB">x</a> <a href="other.html?q=1#der-λ">x</a>
            <img src="a%20%CE%BB.png" alt="A curve of _images."> <img src="data:image/png;base64,x" alt="Dot.">
            <link rel="canonical" href="https://book.example/"> <p class="mathematics">x</p>
            <span class="math">x</span><script src="mathjax.js"></script>
            <script>const text = "no page"</script> <a id="here">x</a>""",
        **{"_static/theme": '<img src="gone.png">'},
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "site-check: 0 problems\n"


@pytest.mark.parametrize("where", ["index", "chapters/one"])
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
        ("<p>:::{note}</p>", "a directive that was not understood"),
        ('<img src="a.png" alt="  ">', "an image without alt text: a.png"),
        ('<img src="a.png" alt>', "an image without alt text: a.png"),
        ('<img src="a.png"/>', "an image without alt text: a.png"),
        (
            '<img src="a.png" alt="../_images/a.png">',
            "an image whose alt text is its file name",
        ),
        ('<a href="chapters/gone.html#x">x</a>', "links to chapters/gone.html#x, which is"),
        ('<a href="index.html#Top">x</a>', "links to index.html#Top, but that page has no"),
        (
            '<span class="math notranslate">x</span>',
            "has formulas, but loads no MathJax",
        ),
    ],
)
def test_each_fault_is_found_on_every_page(tmp_path, where, body, problem):
    if where != "index":
        body = body.replace('href="chapters/', 'href="../chapters/').replace(
            "index.html", "one.html"
        )
        problem = problem.replace("chapters/", "../chapters/").replace(
            "index.html", "one.html"
        )
    result = check(tmp_path, **{where: GOOD + body})
    assert result.returncode == 1
    assert f"{where}.html: {problem}" in result.stderr
    assert "site-check: 1 problems" in result.stdout


def test_a_site_without_pages_is_no_sound_site(tmp_path):
    result = subprocess.run(
        [sys.executable, TOOL, tmp_path], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "there is no page" in result.stderr


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="{}"></script>',
        '<img alt="A curve." src="{}">',
        '<iframe src="{}"></iframe>',
        '<video><source src="{}"></video>',
        '<video src="{}"></video>',
        '<audio src="{}"></audio>',
        '<embed src="{}">',
        '<object data="{}"></object>',
        '<link rel="stylesheet" href="{}">',
        '<link rel="preload" href="{}">',
        '<link rel="modulepreload" href="{}">',
        '<link rel="icon" href="{}">',
        '<link rel="shortcut icon" href="{}">',
        '<link rel="manifest" href="{}">',
    ],
)
@pytest.mark.parametrize(
    "address, problem",
    [
        ("https://cdn.example/x", "from another server"),
        ("//cdn.example/x", "from another server"),
        ("gone", "which is not there"),
    ],
)
def test_whatever_a_page_loads_is_its_own_and_there(tmp_path, tag, address, problem):
    result = check(tmp_path, index=tag.format(address))
    assert result.returncode == 1
    assert result.stderr == f"index.html: loads {address}, {problem}\n".replace(
        ", from", " from"
    )


def test_a_formula_may_have_its_mathjax_from_nowhere_else(tmp_path):
    result = check(tmp_path, index='<i class="math">x</i><script src="a.js"></script>')
    assert "index.html: has formulas, but loads no MathJax" in result.stderr


def test_all_problems_of_all_pages_are_counted(tmp_path):
    result = check(
        tmp_path, index='<a href="x">x</a><a href="y">x</a>', other='<img src="a.png">'
    )
    assert len(result.stderr.splitlines()) == 3
    assert result.stdout == "site-check: 3 problems\n"


def test_the_name_of_a_page_is_shown_whatever_the_locale(tmp_path):
    result = check(tmp_path, {"PYTHONIOENCODING": "ascii"}, **{"größe": '<a href="x">x</a>'})
    assert result.stderr.startswith(r"gr\xf6\xdfe.html: ") and result.returncode == 1


def test_without_a_site_it_says_how_it_is_called():
    result = subprocess.run([sys.executable, TOOL], capture_output=True, text=True)
    assert result.returncode == 2 and "Usage: check_site.py" in result.stderr
