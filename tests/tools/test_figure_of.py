"""The front page shows the lessons' pictures: the directive, and what Sphinx makes of it in a tiny book."""

import pytest
from tiny_book import build as build_book
from tiny_book import promises

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
FIGURE = ".. _fig-dot:\n\n.. figure:: /dot.png\n   :alt: A dot\n\n   A caption.\n"
OTHER = ".. _fig-other:\n\n.. figure:: /dot.png\n   :alt: Another\n\n   Another.\n"


@pytest.fixture
def build(tmp_path):
    def build(name):
        front = f"Front\n=====\n\n.. figure-of:: {name}\n\n.. toctree::\n\n   sub/page\n"
        pages = {"index": front, "sub/page": f"Page\n====\n\n{OTHER}\n{FIGURE}", "dot.png": PIXEL}
        html, errors = build_book(tmp_path, pages, "figure_of")
        index = html / "index.html"
        return errors, index.read_text(encoding="utf-8") if index.exists() else ""

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
    assert promises("figure_of") == {"parallel_read_safe": True, "parallel_write_safe": True}
