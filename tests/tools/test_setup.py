"""The set-up's promises: one clear line for each failure, nothing half-made counts, what is ready stays."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "tools" / "setup.sh"
# All that the set-up may call, beside Python and uv.
PROGRAMS = [
    "sh",
    "cat",
    "cksum",
    "cp",
    "grep",
    "head",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sleep",
    "tail",
    "touch",
    "uname",
]
# A Python whose venv is a folder with a copy of itself, whose pip writes down what it was asked, and then does
# what the file 'pip-does' says.
FAKE = """\
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*) echo "$*" >> pip-calls; . ./pip-does ;;
    --version) echo Python 3.12.1 ;;
esac
"""


@pytest.fixture
def set_up(tmp_path):
    """Return a function that runs the set-up in a folder of its own, with what that folder has on its path."""
    path = tmp_path / "path"
    path.mkdir()
    for program in PROGRAMS:
        (path / program).symlink_to(shutil.which(program))

    def run(*python, requirements="", **environment):
        (tmp_path / "requirements.txt").write_text(requirements)
        return subprocess.run(
            ["sh", SETUP, ".venv", *python],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | {"PATH": str(path), "TORCH": ""} | environment,
        )

    return run


def fake_python(tmp_path, script=FAKE, pip="true"):
    path = tmp_path / "fake-python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    (tmp_path / "pip-does").write_text(pip)
    return str(path)


def pip_calls(tmp_path):
    """Return what pip was asked since the last look."""
    calls = tmp_path / "pip-calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return [line.split("--progress-bar off ")[1] for line in lines]


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
    assert not (tmp_path / ".venv").exists()


def test_without_a_name_the_first_python_new_enough_is_taken(set_up, tmp_path):
    for name, version in (("python3", "3.9"), ("python3.14", "3.10")):
        old = tmp_path / "path" / name
        old.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo {version}; exit 1")
        old.chmod(0o755)
    new = tmp_path / "path" / "python3.13"
    shutil.copy(fake_python(tmp_path), new)
    result = set_up()
    assert result.returncode == 0, result.stderr
    assert "making .venv with Python 3.12.1" in result.stdout


def test_a_python_without_venv(set_up, tmp_path):
    python = fake_python(tmp_path, '[ "$1" = -m ] && mkdir .venv && exit 1; exit 0')
    assert_failed_with(set_up(python), tmp_path, "-m venv' does not work; install it")
    assert not (tmp_path / ".venv").exists()


def test_a_folder_that_cannot_be_written_is_named_as_the_cause(set_up, tmp_path):
    (tmp_path / "file").touch()
    result = subprocess.run(
        ["sh", SETUP, "file/.venv", fake_python(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert re.fullmatch(
        r"set-up: 'file/.venv' in '.*' cannot be written: Not a directory\. .*\n",
        result.stderr,
    )


def test_a_broken_requirement_and_then_a_mended_one(set_up, tmp_path):
    result = set_up(sys.executable, requirements="./no-such-package\n")
    assert_failed_with(result, tmp_path, "installing requirements.txt failed: ERROR:")
    (tmp_path / ".venv" / "half-made").touch()
    assert set_up(fake_python(tmp_path)).returncode == 0
    assert not (tmp_path / ".venv" / "half-made").exists()


RETRY = (
    "WARNING: Retrying (Retry(total={}, connect=None)) after connection broken by '<x>: {}'"
)
NONE = (
    "ERROR: Could not find a version that satisfies the requirement {0} (from versions: none)"
    "\nERROR: No matching distribution found for {0}"
)
BUILD = (
    "error: subprocess-exited-with-error\n\n"
    "note: This error originates from a subprocess, and is likely not a problem with pip."
)


@pytest.mark.parametrize(
    "log, cause",
    [
        (
            RETRY.format(0, "[Errno -2] Name or service not known") + "\n" + NONE.format("x==1"),
            "the package index cannot be reached (Name or service not known); is the network up?",
        ),
        (
            RETRY.format(0, "[Errno 111] Connection refused") + "\n" + BUILD,
            "the package index cannot be reached (Connection refused)",
        ),
        (
            RETRY.format(4, "[Errno 111] Connection refused") + "\nERROR: x is broken\n" + BUILD,
            "ERROR: x is broken",
        ),
        (
            "error: Request failed after 3 retries\n  Caused by: dns error\n",
            "the package index cannot be reached (dns error)",
        ),
        (NONE.format("torch==2.13.0"), "PyTorch has no such wheel for this computer"),
        (NONE.format("x==1"), "No matching distribution found for x==1: the package index"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "the disk is full",
        ),
        (
            "ERROR: [Errno 13] Permission denied: '/x/y'",
            "a file cannot be written: Permission denied: '/x/y'",
        ),
        ("SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')", "the package index was reached, but"),
        (BUILD + "\nthe last line", "the last line"),
    ],
)  # fmt: skip
def test_the_true_cause_is_told(set_up, tmp_path, log, cause):
    (tmp_path / "log").write_text(log)
    result = set_up(fake_python(tmp_path, pip="cat log; exit 1"))
    assert_failed_with(result, tmp_path, f"installing requirements.txt failed: {cause}")
    assert "(all of it: .venv/install.log)" in result.stderr


def test_it_says_what_it_does_and_that_it_goes_on(set_up, tmp_path):
    python = fake_python(tmp_path, pip="echo Collecting patience; sleep 4")
    result = set_up(python, requirements="# a comment\nx==1\ny==2\n-e .\n")
    assert result.returncode == 0
    first, second, third, *_, last = result.stdout.splitlines()
    assert first == "set-up: making .venv with Python 3.12.1."
    assert second.startswith(
        "set-up: installing 2 packages into .venv, for a few minutes ("
    )
    assert third == "  3 s: Collecting patience"
    assert last == "set-up: ready."


def test_what_is_ready_is_left_alone(set_up, tmp_path):
    python = fake_python(tmp_path)
    assert set_up(python, requirements="x==1\n").returncode == 0
    assert pip_calls(tmp_path) == ["--requirement requirements.txt"]
    (tmp_path / ".venv" / "mine").touch()
    result = set_up(python, requirements="x==1\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert pip_calls(tmp_path) == []
    assert set_up(python, requirements="x==2\n").returncode == 0  # the lists changed
    assert pip_calls(tmp_path) == ["--requirement requirements.txt"]
    assert (tmp_path / ".venv" / "mine").exists()


def test_a_failed_change_is_not_ready(set_up, tmp_path):
    assert set_up(fake_python(tmp_path)).returncode == 0
    result = set_up(requirements="x==1\n")
    (tmp_path / "pip-does").write_text("exit 1")
    assert_failed_with(set_up(requirements="x==2\n"), tmp_path, "failed")
    assert result.returncode == 0


def test_a_moved_folder_is_found_out(set_up, tmp_path):
    python = fake_python(tmp_path)
    (tmp_path / "my course 课程").mkdir()
    for folder in ("my course 课程", "moved"):
        if folder == "moved":
            (tmp_path / "my course 课程").rename(tmp_path / folder)
            (tmp_path / folder / ".venv" / "of-old").touch()
        for name in ("requirements.txt", "pip-does"):
            (tmp_path / folder / name).touch()
        result = subprocess.run(
            ["sh", SETUP, ".venv", python], cwd=tmp_path / folder, capture_output=True, text=True
        )  # fmt: skip
        assert (result.returncode, result.stderr) == (0, "")
    assert f"made in '{tmp_path}/my course 课程/.venv' and knows that path" in result.stdout
    assert not (tmp_path / "moved" / ".venv" / "of-old").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(set_up, tmp_path):
    python = fake_python(tmp_path)
    set_up(python)
    (tmp_path / ".venv/bin/python").unlink()
    (tmp_path / ".venv/bin/python").symlink_to("gone")
    result = set_up(python)
    assert result.returncode == 0 and "is gone; it is made anew" in result.stdout


CPU = "--no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0"


def test_torch_chooses_the_wheels_and_the_choice_is_kept(set_up, tmp_path):
    python = fake_python(tmp_path)
    listed = "torch==2.13.0\n"
    everything = "--requirement requirements.txt"
    for choice, calls in (
        ("cpu", [CPU, everything]),
        ("", []),
        ("default", [everything]),
        ("", []),
        ("cpu", [CPU, everything]),
    ):
        result = set_up(python, requirements=listed, TORCH=choice)
        assert (result.returncode, pip_calls(tmp_path)) == (0, calls), choice
    assert set_up(python, requirements=listed + "x==1\n").returncode == 0
    assert pip_calls(tmp_path) == [CPU, everything]


def test_another_word_for_torch_is_refused(set_up, tmp_path):
    result = set_up(fake_python(tmp_path), TORCH="gpu")
    assert_failed_with(result, tmp_path, "TORCH is 'cpu' or 'default', but got 'gpu'.")


def test_uv_is_taken_where_it_is_and_pip_where_it_fails(set_up, tmp_path):
    uv = tmp_path / "path" / "uv"
    uv.write_text('#!/bin/sh\necho "$*" >> uv-calls; . ./uv-does')
    uv.chmod(0o755)
    (tmp_path / "uv-does").write_text("true")
    python = fake_python(tmp_path)
    assert set_up(python).returncode == 0
    assert (tmp_path / "uv-calls").read_text() == (
        "pip install --python .venv/bin/python --requirement requirements.txt\n"
    )
    assert pip_calls(tmp_path) == []
    (tmp_path / "uv-does").write_text("echo error: no torch here; exit 2")
    result = set_up(python, requirements="x==1\n")
    assert result.returncode == 0
    assert "uv failed, pip tries: error: no torch here" in result.stdout
    assert pip_calls(tmp_path) == ["--requirement requirements.txt"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_set_up_stops_pip_and_is_not_ready(set_up, tmp_path, signum):
    python = fake_python(tmp_path, pip="echo $$ > pip-runs; exec sleep 60")
    (tmp_path / "requirements.txt").touch()
    process = subprocess.Popen(
        ["sh", SETUP, ".venv", python],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A test runner in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "pip-runs").exists() or not (tmp_path / "pip-runs").read_text():
        time.sleep(0.05)
    process.send_signal(signum)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said == "set-up: interrupted; the next call of make starts it anew.\n"
    assert not (tmp_path / ".venv" / ".ready").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pip-runs").read_text()), 0)
