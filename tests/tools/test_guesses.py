"""What is so is folded without a script, and a browser makes the choices buttons."""

import runpy

import pytest
from docutils import nodes
from tiny_book import TOOLS, build, needs_chromium, promises, title_in_chromium

PAGE = """\
Page
====

Asked
-----

.. admonition:: Guess first: how many?
   :class: guess answer-2

   1. one
   2. two

A cell.

What is so
~~~~~~~~~~

It is two.

Later
-----

Open.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    sidebar = "html_sidebars = {'**': ['localtoc.html']}\n"
    html, errors = build(tmp_path_factory.mktemp("book"), {"index": PAGE}, "guesses", conf=sidebar)
    assert errors == ""
    return html / "index.html"


def test_what_is_so_is_a_fold_up_to_the_next_section(built):
    page = built.read_text(encoding="utf-8")
    before, _, rest = page.partition('<details class="outcome">')
    inside, _, after = rest.partition("</details>")
    assert "A cell." in before and "It is two." in inside and "Open." in after
    assert "<summary>What is so</summary>" in inside and 'id="what-is-so"' in inside
    assert "Asked</a>" in page and "What is so</a>" not in page  # in the contents
    assert after.lstrip().startswith("</section>")


def test_what_is_so_keeps_its_anchors():
    section = nodes.section("", nodes.title("", "What is so"), nodes.paragraph("", "So."), ids=["a", "b"])
    page = nodes.section("", nodes.title("", "Asked"), section)
    runpy.run_path(str(TOOLS / "guesses.py"))["fold"](None, page)
    start = '<details class="outcome"><span id="a"></span><span id="b"></span><summary>What is so</summary>'
    assert [node.astext() for node in page.children[1:]] == [start, "So.", "</details>"]


def test_a_paragraph_of_that_name_is_no_title():
    section = nodes.section("", nodes.paragraph("", "What is so"))
    page = nodes.section("", nodes.title("", "Asked"), section)
    runpy.run_path(str(TOOLS / "guesses.py"))["fold"](None, page)
    assert page.children[1] is section


def test_pages_may_be_built_side_by_side():
    assert promises("guesses") == {"parallel_read_safe": True, "parallel_write_safe": True}


@needs_chromium
@pytest.mark.parametrize(
    ("click", "said"),
    [(1, "You chose “two”. So it is."), (0, "You chose “one”. It is “two”.")],
)
def test_a_choice_opens_what_is_so_and_says_what_was_chosen(built, click, said):
    script = (
        "<script>addEventListener('load', () => {"
        "const open = () => document.querySelector('details.outcome').open;"
        f"const before = open(); document.querySelectorAll('.guess button')[{click}].click();"
        "document.title = [before, open(), document.querySelector('[role=status]').textContent]"
        ".join('|')})</script></body>"
    )
    page = built.with_name(f"clicked-{click}.html")
    page.write_text(built.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    assert title_in_chromium(page) == f"false|true|{said}"


@needs_chromium
def test_a_link_to_what_is_folded_opens_the_fold(built):
    script = (
        "<script>location.hash = 'what-is-so'; addEventListener('hashchange', () => {"
        "document.title = document.querySelector('details.outcome').open})</script></body>"
    )
    page = built.with_name("linked.html")
    page.write_text(built.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    assert title_in_chromium(page) == "true"


@needs_chromium
def test_a_quiz_counts_what_was_right_at_the_first_try(tmp_path):
    claim = (
        '<div class="admonition guess quiz answer-1"><ol><li>true</li><li>false</li></ol>'
        "<details>So.</details></div>"
    )
    script = (TOOLS / "static/guess.js").read_text(encoding="utf-8")
    clicks = ";".join(
        f"document.querySelectorAll('button')[{i}].click()" for i in (0, 3, 2)  # right; wrong, then right
    )
    title = "document.title = document.querySelector('.guess-score').textContent"
    page = tmp_path / "quiz.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8>{3 * claim}<script>{script};{clicks};{title}</script>",
        encoding="utf-8",
    )
    assert title_in_chromium(page) == "1 of 2 right at the first try, of 3 in all."
