"""Stored results: what is written is what is read, rounded once; the package holds the chapters' files."""

import os
from pathlib import Path

import numpy as np
import pytest

from lessons import stored

FILES = sorted(path.stem for path in stored.FOLDER.glob("*.csv"))
EXPERIMENTS = {
    path.stem for path in (Path(__file__).parents[1] / "experiments").glob("*.py")
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in the place of the package's own."""
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    return tmp_path


def test_every_file_has_the_script_that_writes_it():
    assert set(FILES) == EXPERIMENTS - {"docstrings"} | {"costs"}


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_as_this_module_writes_it(name, tmp_path, monkeypatch):
    before = (stored.FOLDER / f"{name}.csv").read_bytes()
    about, rows = stored.header(name)[:-1], stored.read(name)
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    path = stored.write(name, "\n".join(about), rows)
    versions = b"# Versions: "
    assert before.count(versions) == 1

    def without_versions(text):
        return [line for line in text.split(b"\n") if not line.startswith(versions)]

    assert without_versions(path.read_bytes()) == without_versions(before)


def test_floats_are_rounded_and_all_else_is_not(folder):
    row = dict(
        a=1 / 3, b=np.float64(2e-7) / 3, c=12345678, d="0.123456789", e="", f="x, “y”"
    )
    path = stored.write("some", "What was run.\n  Grid: all", [row, row])
    values = '0.333333,6.66667e-08,12345678,0.123456789,,"x, “y”"\n'
    assert path == folder / "some.csv"
    assert (
        path.read_text(encoding="utf-8").split("\n", 3)[3] == f"a,b,c,d,e,f\n{2 * values}"
    )
    assert stored.read("some")[1]["f"] == "x, “y”"
    stored.write("some", "About", [row], digits=2)
    assert stored.read("some") == [
        dict(a="0.33", b="6.7e-08", c="12345678", d="0.123456789", e="", f="x, “y”")
    ]


def test_the_header_says_what_was_run_and_with_which_versions(folder):
    stored.write("some", "What was run.\n  Grid: X", [dict(a=1)], packages=("numpy",))
    what, grid, versions = stored.header("some")
    assert (what, grid) == ("What was run.", "  Grid: X")
    assert versions.startswith("Versions: Python 3.")
    assert versions.endswith(f", numpy {np.__version__}.") and "+" not in versions


def test_a_row_may_begin_with_the_sign_of_the_header(folder):
    stored.write("some", "About", [dict(a="# 1"), dict(a="2")])
    assert stored.read("some") == [dict(a="# 1"), dict(a="2")]


@pytest.mark.parametrize("rows", [[], [dict(a=1), dict(a=1, b=2)], [dict(a=1), dict(b=1)]])
def test_rows_that_are_no_table_are_refused_and_the_file_stays(folder, rows):
    path = stored.write("some", "About", [dict(a=0)])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="rows of some must have the same columns"):
        stored.write("some", "About", rows)
    assert path.read_bytes() == before


def test_an_interrupt_leaves_the_old_file(folder, monkeypatch):
    path = stored.write("some", "About", [dict(a=0)])
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stored.write("some", "About", [dict(a=1)])
    assert path.read_bytes() == before


@pytest.mark.parametrize("ask", [stored.read, stored.header])
def test_an_unknown_name_is_told_with_those_that_there_are(ask):
    with pytest.raises(ValueError, match=f"results 'who_looses', but {', '.join(FILES)}$"):
        ask("who_looses")
