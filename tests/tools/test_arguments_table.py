"""The table of arguments, and what it promises: nothing of torch's is left out without a reason."""

import inspect
import io
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from sphinx.application import Sphinx

import lessons

TOOL = Path(__file__).parents[2] / "tools" / "arguments.py"
tool = runpy.run_path(str(TOOL))
ROWS = tool["arguments"]()
of = {(row["optimizer"], row["argument"]): row for row in ROWS}


def test_every_optimizer_that_torch_has_too_is_listed():
    assert set(tool["NAMES"]) == {n for n in lessons.__all__ if hasattr(torch.optim, n)}
    assert len(of) == len(ROWS)


@pytest.mark.parametrize("name", tool["NAMES"])
def test_every_argument_of_torchs_is_taken_or_left_with_a_reason(name):
    theirs = list(inspect.signature(getattr(torch.optim, name)).parameters)[1:]
    listed = [row["argument"] for row in ROWS if row["optimizer"] == name and row["torch"]]
    assert listed == theirs
    for argument in theirs:
        row = of[name, argument]
        assert row["lessons"] != bool(row["note"]), f"{name} has a new argument {argument}"


def test_a_reason_is_needed_for_every_argument_left_out_and_no_other():
    left = {row["argument"] for row in ROWS if not row["lessons"]}
    assert left == set(tool["LEFT_TO_TORCH"])


def test_a_new_argument_of_torchs_shows(monkeypatch):
    class Adam(torch.optim.Adam):
        def __init__(self, params, lr=1e-3, novelty=None):
            super().__init__(params, lr)

    monkeypatch.setattr(torch.optim, "Adam", Adam)
    rows = [row for row in tool["arguments"]() if row["argument"] == "novelty"]
    assert rows == [
        dict(
            optimizer="Adam",
            argument="novelty",
            default=None,
            torch=True,
            lessons=False,
            note="",
        )
    ]


@pytest.mark.parametrize("name", tool["NAMES"])
def test_what_both_take_has_one_default_and_one_place(name):
    ours, theirs = (
        tool["constructor"](getattr(package, name)) for package in (lessons, torch.optim)
    )
    for argument in ours.keys() & theirs.keys():
        assert ours[argument].default == theirs[argument].default
    places = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert places == list(theirs)[: len(places)]


@pytest.mark.parametrize(
    "name, argument", [(r["optimizer"], r["argument"]) for r in ROWS if not r["lessons"]]
)
def test_what_is_left_to_torch_is_refused(name, argument):
    with pytest.raises(TypeError, match=argument):
        getattr(lessons, name)([torch.zeros(1)], **{argument: True})


@pytest.mark.parametrize("name", tool["NAMES"])
def test_the_table_is_markdown(name):
    lines = tool["table"](name).splitlines()
    own = [row for row in ROWS if row["optimizer"] == name]
    assert len(lines) == len(own) + 2 and {line.count("|") for line in lines} == {6}


def test_the_table_says_who_takes_what():
    lines = tool["table"]("SGD").splitlines()
    assert "| `lr` | `0.001` | ✓ | ✓ |  |" in lines
    assert "| `l1` | `0` | – | ✓ |  |" in lines
    (fused,) = (line for line in lines if line.startswith("| `fused`"))
    assert "| ✓ | – | the whole step as one kernel" in fused


def test_what_torch_accepts_and_ours_refuse():
    found = tool["stricter"]()
    assert found["NaN"]["SGD"] == ["lr", "momentum", "dampening", "weight_decay"]
    assert found["negative"] == {
        name: ["dampening"] if name == "SGD" else [] for name in tool["NAMES"]
    }
    assert all("lr" in found["infinite"][name] for name in tool["NAMES"])


@pytest.mark.parametrize("name", tool["NAMES"])
@pytest.mark.parametrize("kind", tool["NONSENSE"])
def test_ours_refuse_all_nonsense(name, kind):
    ours = getattr(lessons, name)
    numbers = {
        argument
        for argument, parameter in tool["constructor"](ours).items()
        if type(parameter.default) in (int, float)
    }
    assert "lr" in numbers
    for argument in numbers:
        assert not tool["accepts"](ours, argument, tool["NONSENSE"][kind]), argument


def test_the_table_of_what_ours_refuse_is_markdown():
    lines = tool["stricter_table"]().splitlines()
    assert len(lines) == len(tool["NAMES"]) + 2
    assert {line.count("|") for line in lines} == {len(tool["NONSENSE"]) + 2}


def test_the_tables_are_filled_in():
    every = [tool["table"](name) for name in tool["NAMES"]] + [tool["stricter_table"]()]
    assert set(re.findall("[A-Z]{2,}", " ".join(row["note"] for row in ROWS))) == {"GPU", "CUDA"}
    assert {table.splitlines()[1] for table in every[:-1]} == {"|---|---|:-:|:-:|---|"}
    header, rule, *rows = every[-1].splitlines()
    assert header == "| optimizer | negative | NaN | infinite | a bool | text |"
    assert rule == "|---|---|---|---|---|---|"
    sgd = rows[tool["NAMES"].index("SGD")].split(" | ")
    assert sgd[:3] == ["| SGD", "`dampening`", "`lr`, `momentum`, `dampening`, `weight_decay`"]
    assert "–" in {cell for row in rows for cell in row.split(" | ")}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that builds a page of some text: the application, its warnings, the page."""
    monkeypatch.syspath_prepend(TOOL.parent)
    (tmp_path / "conf.py").write_text("extensions = ['myst_parser', 'arguments']\n")

    def build(text):
        (tmp_path / "index.md").write_text(f"# Title\n\n{text}", encoding="utf-8")
        out, warnings = tmp_path / "out", io.StringIO()
        words = dict(status=None, warning=warnings, freshenv=True)
        app = Sphinx(tmp_path, tmp_path, out, out, "html", **words)
        app.build()
        return app, warnings.getvalue(), (out / "index.html").read_text(encoding="utf-8")

    yield build
    del sys.modules["arguments"]


def test_a_page_shows_the_tables(site):
    app, warnings, page = site("```{arguments} SGD\n```\n\n```{stricter}\n```\n")
    assert not warnings and page.count("<table") == 2
    assert "the whole step as one kernel" in page and "a bool" in page
    # Pages may be read and written by several processes.
    extension = app.extensions["arguments"]
    assert extension.parallel_read_safe and extension.parallel_write_safe


def test_a_page_cannot_ask_for_the_table_of_another_optimizer(site):
    _, warnings, _ = site("```{arguments} Lion\n```\n")
    assert "one of SGD, Adagrad, Adam, AdamW, RMSprop, but got 'Lion'" in warnings
