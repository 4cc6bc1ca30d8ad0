"""The Sphinx extension: its hook, when Sphinx calls it, and what it leaves of the numbers."""

import runpy
from pathlib import Path

import pytest
from docutils.utils import new_document
from sphinx import addnodes

EXTENSION = Path(__file__).parents[2] / "tools/chapter_numbers.py"


class App:
    def connect(self, event, function, priority=500):
        self.event, self.function = event, function


@pytest.mark.parametrize(
    ("before", "after"),
    [({"numbered": 999}, 1), ({"numbered": 1}, 1), ({"numbered": 0}, 0), ({}, 0)],
)
def test_chapters_have_numbers_and_sections_none(before, after):
    app, page, toctree = App(), new_document("page"), addnodes.toctree("", **before)
    page += toctree
    promises = runpy.run_path(str(EXTENSION))["setup"](app)
    app.function(app, page)
    assert toctree["numbered"] == after
    assert app.event == "doctree-read"
    assert promises == {"parallel_read_safe": True, "parallel_write_safe": True}
