import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "run_notebooks.py"


@pytest.fixture
def notebook(tmp_path):
    """Return a function that writes a notebook of the given code cells, and the path."""

    def write(*cells):
        path = tmp_path / "chapter.ipynb"
        content = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        )
        path.write_text(nbformat.writes(content))
        return path

    return write


def run(path):
    return subprocess.run(
        [sys.executable, TOOL, path], cwd=path.parent, capture_output=True, text=True
    )


def test_outputs_are_stored_in_place_and_in_order(notebook):
    path = notebook("x = 1", "x + 1")
    result = run(path)
    assert result.returncode == 0, result.stderr
    stored = nbformat.read(path, as_version=4)
    assert stored.cells[1].outputs[0].data["text/plain"] == "2"
    assert [cell.execution_count for cell in stored.cells] == [1, 2]
    assert "version" not in stored.metadata.language_info
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("1 / 1", "1 / 0"), "cell 1 failed: ZeroDivisionError: division by zero"),
        (
            ("import sys; print('careful', file=sys.stderr)",),
            "cell 0 wrote to stderr: careful",
        ),
        (("import os; print(os.getcwd())",), "cell 0 printed a path of this machine"),
    ],
)
def test_a_chapter_that_fails_keeps_its_old_file_and_names_the_cell(
    notebook, cells, message
):
    path = notebook(*cells)
    before = path.read_bytes()
    result = run(path)
    assert result.returncode == 1
    assert f"not written: {path}: {message}" in result.stderr
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    path = tmp_path / "chapter.ipynb"
    path.write_text("{")
    result = run(path)
    assert result.returncode == 1
    assert f"{path}: cannot be read" in result.stderr
    assert path.read_text() == "{"
