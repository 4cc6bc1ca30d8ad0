"""The runner's promises: whole files or old ones, one line for each failure, an end when it is asked for."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "run_notebooks.py"


@pytest.fixture
def notebook(tmp_path):
    """Return a function that writes a notebook of the given code cells, and the path."""

    def write(*cells, name="chapter"):
        path = tmp_path / f"{name}.ipynb"
        content = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        )
        path.write_text(nbformat.writes(content), encoding="utf-8")
        return path

    return write


def run(*paths, **environment):
    return subprocess.run(
        [sys.executable, TOOL, *paths],
        cwd=paths[0].parent,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


@pytest.fixture
def tool():
    """Return the runner's names; change one with ``monkeypatch.setitem``."""
    return runpy.run_path(str(TOOL))["run"].__globals__


def test_outputs_are_stored_in_place_and_in_order(notebook):
    path = notebook("x = 1", "x + 1")
    path.chmod(0o640)
    result = run(path)
    assert result.returncode == 0, result.stderr
    stored = nbformat.read(path, as_version=4)
    assert stored.cells[1].outputs[0].data["text/plain"] == "2"
    assert [cell.execution_count for cell in stored.cells] == [1, 2]
    assert "version" not in stored.metadata.language_info
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o640


def test_files_are_utf_8_whatever_the_locale(notebook):
    if not sys.prefix.isascii():
        pytest.skip("with this locale, Python itself does not start in such a folder")
    path = notebook("'λ·w, √v, 课程'", name="课程")
    result = run(path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert result.returncode == 0, result.stderr
    assert "'λ·w, √v, 课程'" in path.read_text(encoding="utf-8")


FAILURES = [
    (("1 / 1", "1 / 0"), "cell 1 failed: ZeroDivisionError: division by zero"),
    (
        ("import sys; print('careful', file=sys.stderr)",),
        "cell 0 wrote to stderr: careful",
    ),
    (("import os; print(os.getcwd())",), "cell 0 printed a path of this machine"),
    (("import os; os.getcwd()",), "cell 0 printed a path of this machine"),
    (
        ("import pathlib; print(pathlib.Path.home() / 'x')",),
        "cell 0 printed a path of this machine",
    ),
    (("1", "import os; os._exit(3)"), "cell 1: Kernel died"),
]


def test_a_chapter_that_fails_keeps_its_old_file_and_names_the_cell(notebook, tmp_path):
    paths = [notebook(*cells, name=str(i)) for i, (cells, _) in enumerate(FAILURES)]
    before = [path.read_bytes() for path in paths]
    result = run(*paths)  # all at once: what takes time is the start
    assert result.returncode == 1
    for path, (_, message) in zip(paths, FAILURES, strict=True):
        assert f"not written: {path}: {message}" in result.stderr
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == paths


def test_a_file_that_is_no_notebook_is_named_in_one_line(tmp_path):
    texts = ["", "{", "[]", "{}", '{"cells": 1, "nbformat": 4}', "\xff"]
    paths = [tmp_path / f"{number}.ipynb" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="latin-1")
    result = run(*paths)  # all at once: what takes time is the start
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == len(texts)
    for path, text in zip(paths, texts, strict=True):
        assert sum(f"{path}: " in line for line in lines) == 1
        assert path.read_text(encoding="latin-1") == text


def test_a_failure_keeps_no_other_chapter_from_being_written_or_told(notebook, tmp_path):
    good, bad = notebook("1 + 1", name="good"), notebook("1 / 0", name="bad")
    before = bad.read_bytes()
    result = run(tmp_path / "gone.ipynb", bad, good)
    assert result.returncode == 1
    assert (
        "ZeroDivisionError" in result.stderr
        and "gone.ipynb: cannot be read" in result.stderr
    )
    assert len(result.stderr.splitlines()) == 2
    assert nbformat.read(good, as_version=4).cells[0].outputs[0].data["text/plain"] == "2"
    assert bad.read_bytes() == before


def test_a_cell_that_takes_too_long_is_a_failure(notebook, tool, monkeypatch):
    path = notebook("1", "import time; time.sleep(60)")
    before = path.read_bytes()
    monkeypatch.setitem(tool, "TIMEOUT", 1)
    failure = tool["run"](path)
    assert failure == f"{path}: cell 1 took more than 1 s"
    assert path.read_bytes() == before


def test_one_failure_is_the_exit_status(tool, monkeypatch, capsys):
    monkeypatch.setitem(
        tool, "run", lambda path: f"{path}: x" if path.name == "b" else None
    )
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "reconfigure", lambda **_: None, raising=False)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert tool["main"](["a", "b", "c"]) == 1
    assert capsys.readouterr().err == "not written: b: x\n"
    assert tool["main"](["a"]) == 0
    assert tool["main"]([]) == 2


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left on device"), KeyboardInterrupt()]
)
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(
    notebook, tool, monkeypatch, fault
):
    path = notebook("1")
    before = path.read_bytes()

    def fail(*_):
        raise fault

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(fault)):
        tool["write"](path, "new")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert not tool["writing"].locked()


def test_a_full_disk_is_one_line(notebook, tool, monkeypatch):
    path = notebook("1")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(tool, "execute", lambda path: nbformat.v4.new_notebook())
    monkeypatch.setitem(tool, "write", fail)
    assert tool["run"](path) == f"{path}: OSError: [Errno 28] No space left on device"


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_kernel_that_dies_at_its_start_is_tried_once_more(
    notebook, tool, monkeypatch, capfd, deaths
):
    path = notebook("6 * 7")
    execute, starts = tool["NotebookClient"].execute, []

    def dying(client, stderr):
        starts.append(client)
        if len(starts) <= deaths:
            stderr.write(b"...\nAddress already in use\n")
            raise RuntimeError("Kernel died before replying to kernel_info")
        return execute(client, stderr=stderr)

    monkeypatch.setattr(tool["NotebookClient"], "execute", dying)
    failure = tool["run"](path)
    told = "Kernel died before replying to kernel_info (Address already in use)"
    assert f"the kernel did not start and is tried again: {told}" in capfd.readouterr().err
    assert len(starts) == 2 and tool["clients"] == []
    assert failure == (None if deaths == 1 else f"{path}: {told}")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_at_once_and_the_kernels_too(notebook, tmp_path, signum):
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()))"
    path = notebook(code, "time.sleep(120)")
    second, third = notebook("1", name="second"), notebook("1", name="third")
    before = path.read_bytes()
    process = subprocess.Popen(
        [sys.executable, TOOL, path, second, third, path],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not pid.exists() or not pid.read_text():
        time.sleep(0.1)
    process.send_signal(signum)
    start = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode == 128 + signum
    assert said.splitlines() == [
        "interrupted: chapters without a line above were not written"
    ]
    assert path.read_bytes() == before
    assert {p.suffix for p in tmp_path.iterdir()} == {".ipynb", ""}
    assert {p.name for p in tmp_path.iterdir() if p.suffix == ""} == {"pid"}
    for _ in range(100):  # a killed process needs a moment to be gone
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the kernel goes on")
