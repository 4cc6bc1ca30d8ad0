"""The front page shows the lessons' pictures: the directive, and what Sphinx makes of it in a tiny book."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture
def build(tmp_path):
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(TOOLS)!r})\nextensions = ['figure_of']\n"
    )
    (tmp_path / "dot.png").write_bytes(PIXEL)
    sub = tmp_path / "sub"
    sub.mkdir()
    figure = ".. _fig-dot:\n\n.. figure:: /dot.png\n   :alt: A dot\n\n   A caption.\n"
    other = ".. _fig-other:\n\n.. figure:: /dot.png\n   :alt: Another\n\n   Another.\n"
    (sub / "page.rst").write_text(f"Page\n====\n\n{other}\n{figure}")

    def build(name):
        (tmp_path / "index.rst").write_text(
            f"Front\n=====\n\n.. figure-of:: {name}\n\n.. toctree::\n\n   sub/page\n"
        )
        command = [sys.executable, "-m", "sphinx", "-q", "-W", tmp_path, tmp_path / "html"]
        done = subprocess.run(command, capture_output=True, text=True)
        index = tmp_path / "html/index.html"
        return done.stderr, index.read_text(encoding="utf-8") if index.exists() else ""

    return build


def test_a_picture_of_another_page_leads_to_its_figure(build):
    errors, page = build("fig-dot")
    assert errors == ""
    place = page.partition('class="borrowed')[2].partition("</div>")[0]
    assert 'class="reference internal' in place and 'href="sub/page.html#fig-dot"' in place
    assert 'src="_images/dot.png"' in place and 'alt="A dot"' in place
    assert "A caption." not in page


def test_a_figure_that_is_not_there_is_named(build):
    errors, _ = build("fig-none")
    assert "index: no figure 'fig-none' to be shown" in errors


def test_pages_may_be_built_side_by_side():
    class App:
        def __getattr__(self, name):
            return lambda *args, **kwargs: None

    promises = runpy.run_path(str(TOOLS / "figure_of.py"))["setup"](App())
    assert promises == {"parallel_read_safe": True, "parallel_write_safe": True}
