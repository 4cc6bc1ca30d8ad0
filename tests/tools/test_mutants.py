"""The breaking of the code: which changes are made, and that each verdict is true."""

import ast
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "mutants.py"
tool = runpy.run_path(str(TOOL))
TARGETS = [p.relative_to(ROOT).as_posix() for t in tool["TARGETS"] for p in ROOT.glob(t)]


def changes(source):
    return [mutant.change for mutant in tool["python_mutants"]("x.py", source)]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("x = a + b", ["a + b → (a - b)"]),
        ("x = a * -b", ["a * -b → (a / -b)", "-b → (b)"]),
        ("x = 0 <= a < b", ["0 <= a < b → (0 < a < b)", "0 <= a < b → (0 <= a <= b)", "0 → 1"]),
        ("x = a or b", ["a or b → (b)", "a or b → (a)"]),
        ("x = a and b and c", [f"a and b and c → ({t})" for t in ("b and c", "a and c", "a and b")]),
        ("if not a:\n    f()", ["not a → (a)", "f() → pass"]),
        ("if a == b:\n    x = c", ["a == b → (a != b)"]),
        ("x = b if a else c", ["a → (not (a))"]),
        ("while a:\n    break", ["a → (not (a))", "break → pass"]),
        ("x = [a for a in b if c]", ["c → True"]),
        ("x = 1, 0.5, 0.0, None", ["1 → 2", "0.5 → 1.0", "0.0 → 1.0"]),
        ("x = True, 'a', -b", ["True → False", "'a' → 'aXX'", "-b → (b)"]),
        ("f(a, b, c=d)", [f"f(a, b, c=d) → {t}" for t in ("pass", "f(b, a, c=d)", "f(a, b)")]),
        ("x = a.clone()", ["a.clone() → a"]),
        ("x = max(a, b)", []),
        ("x = zip(a, b, strict=True)", ["zip(a, b, strict=True) → zip(b, a, strict=True)"]),
        ("x += a", ["x += a → pass"]),
        ("x[a] = b", ["x[a] = b → pass"]),
        ("def f():\n    return a", ["a → None"]),
        ("def f():\n    raise E('words', 1)", ["raise E('words', 1) → pass"]),
        ("with a:\n    x = b", ["a → __import__('contextlib').nullcontext()"]),
        ("def f(x: int = 1) -> 'a':\n    '''Words.'''", ["1 → 2"]),
        ("x = f'{1} {a + b}'", []),
        ("if __name__ == '__main__':\n    f()", []),
    ],
)  # fmt: skip
def test_the_changes_of_a_piece_of_code(source, expected):
    assert changes(source) == expected


def test_a_change_leaves_the_rest_of_the_file_as_it_is():
    source = 'λ = "ä"  # a comment\ny = f(λ * 2)  # another\n'
    texts = [mutant.text for mutant in tool["python_mutants"]("x.py", source)]
    assert source.replace("λ * 2", "(λ / 2)") in texts
    assert source.replace('"ä"', "'äXX'") in texts


@pytest.mark.parametrize("file", [file for file in TARGETS if file.endswith(".py")])
def test_every_change_of_the_projects_code_is_python_and_a_change(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    mutants = tool["generate"](file)
    assert all(mutant.text != text for mutant in mutants)
    for mutant in mutants[:: max(1, len(mutants) // 20)]:
        assert ast.dump(ast.parse(mutant.text)) != ast.dump(ast.parse(text))


def test_lines_words_and_options_of_other_files():
    text = "# words\nall: a && b --quiet\n\nfi\n"
    mutants = tool["line_mutants"]("Makefile", text)
    assert [mutant.change.partition(" → ")[2] for mutant in mutants] == [
        "",
        "all: a || b --quiet",
        "all: a && b",
    ]
    assert mutants[1].text == "# words\nall: a || b --quiet\n\nfi\n"


def test_the_list_of_equivalents_keeps_up_with_the_code():
    assert tool["equivalents"]()


@pytest.mark.parametrize("file", TARGETS)
def test_the_named_tests_are_there(file):
    tool["tests_of"](file)


CODE = """def size(x):
    if x < 0:
        x = -x
    return x
"""
TESTS = """from lessons.tiny import size

def test_size():
    assert size({0}) == 3
"""


@pytest.fixture
def project(tmp_path):
    """A tiny project of one function and one test, with the tool in it."""
    for folder in ("src/lessons", "tests", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(TOOL, tmp_path / "tools")
    (tmp_path / "src/lessons/__init__.py").touch()
    (tmp_path / "src/lessons/tiny.py").write_text(CODE)
    (tmp_path / "tests/test_tiny.py").write_text(TESTS.format(-3))
    return tmp_path


def start(project, *names):
    command = [sys.executable, project / "tools/mutants.py", *(names or ["src/lessons/tiny.py"])]
    return subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, text=True)


def run(project, *names):
    process = start(project, *names)
    return process.communicate()[0], process.returncode


def test_what_no_test_notices_is_shown_as_a_diff_and_fails(project):
    output, code = run(project)
    assert "all: 60.0% of 5 noticed; 2 survived" in output
    assert "    -    if x < 0:\n    +    if (x <= 0):" in output
    assert "src/lessons/tiny.py:2: 0 → 1" in output
    assert code == 1


def test_what_an_import_does_is_changed_too(project):
    code = "LIMIT = 3\n\n\ndef size(x, scale=1):\n    return x / scale - LIMIT\n"
    (project / "src/lessons/tiny.py").write_text(code)
    (project / "tests/test_tiny.py").write_text(TESTS.format(6))
    output, _ = run(project)
    assert "all: 80.0% of 5 noticed; 1 survived" in output
    assert "(x * scale)" in output


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_tests_are_collected_once_for_all_changes_that_they_notice(project, jobs):
    seen = project.parent / f"{project.name}-seen"
    (project / "tests/test_tiny.py").write_text(
        f"{TESTS.format(-3)}\nprint('here', file=open({str(seen)!r}, 'a'))\n"
    )
    output, _ = run(project, "--jobs", jobs, "src/lessons/tiny.py")
    assert "all: 60.0% of 5 noticed; 2 survived" in output
    # To record the lines, for each job, and for each of the two that survived.
    assert len(seen.read_text().split()) == 1 + int(jobs) + 2


def test_what_only_a_process_that_a_test_starts_would_notice(project):
    code = "from lessons.tiny import size; assert size(-3) == 3"
    (project / "tests/test_tiny.py").write_text(
        "import subprocess, sys\nfrom lessons.tiny import size\n\n"
        "def test_here():\n    size(-3), size(3)\n\n"
        f"def test_there():\n    subprocess.run([sys.executable, '-c', {code!r}], check=True)\n"
    )
    output, _ = run(project)
    assert "all: 60.0% of 5 noticed; 2 survived" in output


def test_a_part_can_be_asked_for(project):
    output, _ = run(project, "--every", "2", "src/lessons/tiny.py")
    assert "all: 66.7% of 3 noticed; 1 survived" in output
    assert "0 → 1" in output and "(x <= 0)" not in output


def test_the_listed_are_left_out_with_their_reason(project):
    entry = '[["src/lessons/tiny.py"]]\nline = "if x < 0:"\nchange = "{}"\nreason = "{}"\n'
    first = entry.format("x < 0 → (x <= 0)", "-0 is 0")
    listed = project / "tools/equivalent_mutants.toml"
    listed.write_text(first + entry.format("0 → 1", "for whole numbers"))
    output, code = run(project)
    assert "all: 100.0% of 3 noticed; 0 survived" in output and "2 equivalent" in output
    assert code == 0
    for wrong in (entry.format("x < 0 → gone", "so"), entry.format("0 → 1", " ")):
        listed.write_text(wrong)
        output, code = run(project)
        assert "no such mutant, or no reason" in output and code == 1


def test_a_failing_or_missing_test_judges_nothing(project):
    (project / "tests/test_tiny.py").write_text(TESTS.format(4))
    output, code = run(project)
    assert "the tests fail on the code as it is" in output and code == 1
    text = (project / "tools/mutants.py").read_text()
    text = text.replace("TESTS = {", 'TESTS = {"src/lessons/tiny": ("tests/gone.py",),', 1)
    (project / "tools/mutants.py").write_text(text)
    output, code = run(project)
    assert "tests/gone.py" in output and "not there" in output and code == 1
    output, code = run(project, "src/lessons/gone.py")
    assert "not among the code that is broken: src/lessons/gone.py" in output and code == 1


def test_code_without_a_test_is_not_noticed(project):
    (project / "tests/test_tiny.py").unlink()
    output, code = run(project)
    assert "all: 0.0% of 5 noticed; 5 survived" in output and code == 1


def test_a_change_that_never_ends_is_told_apart(project):
    (project / "src/lessons/tiny.py").write_text(
        "def size(x):\n    while x < 0:\n        x += 6\n    return x\n"
    )
    text = (project / "tools/mutants.py").read_text()
    assert "30 + 5 * seconds" in text
    (project / "tools/mutants.py").write_text(text.replace("30 + 5 * seconds", "4"))
    output, _ = run(project, "src/lessons/tiny.py:3")
    assert "1 timed out" in output


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_the_project_as_it_was_and_no_process(project, kind, monkeypatch):
    copies = project.parent / f"{project.name}-copies"
    copies.mkdir()
    monkeypatch.setenv("TMPDIR", str(copies))
    (project / "tests/test_tiny.py").write_text(
        f"{TESTS.format(-3)}\nimport os, pathlib, time\n"
        f"pathlib.Path({str(copies)!r}, 'pid').write_text(f'{{os.getpid()}} ')\ntime.sleep(100)"
    )
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    process = start(project)
    while not (copies / "pid").exists() or not (copies / "pid").read_text().endswith(" "):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(kind)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    assert [path.name for path in copies.iterdir()] == ["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((copies / "pid").read_text()), 0)
