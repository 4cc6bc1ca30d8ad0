"""The set-up's failures: one clear line each, and nothing left that looks like an environment."""

import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "tools" / "setup.sh"


@pytest.fixture
def set_up(tmp_path):
    """Return a function that runs the set-up in an empty folder, and the folder."""

    def run(*python, requirements=""):
        (tmp_path / "requirements.txt").write_text(requirements)
        return subprocess.run(
            ["sh", SETUP, ".venv", *python],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


def fake_python(tmp_path, script):
    path = tmp_path / "fake-python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def assert_failed_with(result, tmp_path, message):
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / ".venv" / ".ready").exists()


def test_no_such_python(set_up, tmp_path):
    assert_failed_with(
        set_up("python-gone"),
        tmp_path,
        "there is no 'python-gone'; install Python 3.11 or newer.",
    )


def test_a_python_too_old(set_up, tmp_path):
    python = fake_python(
        tmp_path, '[ "$1" = --version ] && echo Python 3.9.2 && exit 0; exit 1'
    )
    assert_failed_with(
        set_up(python), tmp_path, "is Python 3.9.2; Python 3.11 or newer is needed."
    )


def test_a_python_without_venv(set_up, tmp_path):
    python = fake_python(tmp_path, '[ "$1" = -m ] && mkdir .venv && exit 1; exit 0')
    assert_failed_with(set_up(python), tmp_path, "-m venv' does not work; install it")
    assert not (tmp_path / ".venv").exists()


def test_a_broken_requirement_and_then_a_mended_one(set_up, tmp_path):
    result = set_up(sys.executable, requirements="./no-such-package\n")
    assert_failed_with(result, tmp_path, "installing requirements.txt failed: ERROR:")
    (tmp_path / ".venv" / "half-made").touch()
    set_up(sys.executable)
    assert not (tmp_path / ".venv" / "half-made").exists()
