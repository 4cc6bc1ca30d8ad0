"""The list of mutants keeps up with the code that it breaks."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = runpy.run_path(str(ROOT / "tools/mutants.py"))["MUTANTS"]


@pytest.mark.parametrize("file", MUTANTS)
def test_every_mutant_changes_a_line_that_is_there(file):
    tests, changes = MUTANTS[file]
    text = (ROOT / "src/lessons" / file).read_text(encoding="utf-8")
    assert [old for old, new in changes if old not in text or old == new] == []
    assert all((ROOT / "tests" / name).exists() for name in tests)


def test_every_rule_has_mutants():
    rules = {f"optim/{path.name}" for path in (ROOT / "src/lessons/optim").glob("*.py")}
    assert rules - set(MUTANTS) == {"optim/__init__.py"}
