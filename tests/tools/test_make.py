"""What the Makefile, the lock and the workflow promise, read from what they would run."""

import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BUILDER = """\
#!/bin/sh
ls _build > seen
mkdir -p _build/html && echo half > _build/html/page
. ./build-does
"""


def make(folder, *arguments, **environment):
    # A make that runs these tests must not pass its own settings on.
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for name in ("TORCH", "LESSONS_DEVICE", "MFLAGS"):
        own.pop(name, None)
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=own | environment,
    )


@pytest.fixture
def folder(tmp_path):
    """A folder with the Makefile, stand-ins for what it calls, and a name that breaks careless scripts."""
    folder = tmp_path / "my course 课程"
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (folder / "tools").mkdir()
    (folder / "chapters").mkdir()
    for chapter in ("02_b", "01_a"):
        (folder / "chapters" / f"{chapter}.ipynb").touch()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "tools/setup.sh").write_text('echo "$TORCH|$1|$2" > set-up\n')
    log = '#!/bin/sh\necho "${0##*/} $* [$LESSONS_DEVICE]" >> ran\n'
    for name in ("ruff", "pytest", "python", "jupyter"):
        (programs / name).write_text(log)
    (programs / "jupyter-book").write_text(BUILDER)
    for program in programs.iterdir():
        program.chmod(0o755)
    (folder / "build-does").touch()
    return folder


def test_test_runs_the_linter_the_unit_tests_and_every_chapter(folder):
    assert make(folder, "test").returncode == 0
    chapters = "chapters/01_a.ipynb chapters/02_b.ipynb"
    assert (folder / "ran").read_text().splitlines() == [
        "ruff check [cpu]",
        "pytest -n auto [cpu]",
        "pytest -n auto --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout 300 "
        f"{chapters} [cpu]",
    ]


@pytest.mark.parametrize("step", ["ruff", "pytest"])
def test_test_fails_where_a_step_fails(folder, step):
    (folder / ".venv/bin" / step).write_text("#!/bin/sh\nexit 1")
    assert make(folder, "test").returncode != 0


def test_the_chapters_failing_alone_is_a_failure(folder):
    nbval = '#!/bin/sh\ncase "$*" in *--nbval*) exit 1 ;; esac'
    (folder / ".venv/bin/pytest").write_text(nbval)
    assert make(folder, "test").returncode != 0


def test_another_device_is_passed_on(folder):
    make(folder, "test", LESSONS_DEVICE="cuda")
    assert "[cuda]" in (folder / "ran").read_text()


@pytest.mark.parametrize("target", ["book", "test", "notebooks", "lab", "bench", "mutants"])
def test_every_target_sets_up_first(folder, target):
    make(folder, target, TORCH="cpu")
    assert (folder / "set-up").read_text() == "cpu|.venv|\n"


def test_torch_and_python_are_passed_on_from_the_command_line_too(folder):
    make(folder, "TORCH=cpu", "PYTHON=/a/python", "ready")
    assert (folder / "set-up").read_text() == "cpu|.venv|/a/python\n"


def test_a_failed_set_up_stops_the_target(folder):
    (folder / "tools/setup.sh").write_text("exit 1")
    assert make(folder, "test").returncode != 0
    assert not (folder / "ran").exists()


def test_notebooks_runs_all_chapters(folder):
    make(folder, "notebooks")
    (ran,) = (folder / "ran").read_text().splitlines()
    assert ran.split() == [
        "python",
        "tools/run_notebooks.py",
        "chapters/01_a.ipynb",
        "chapters/02_b.ipynb",
        "[cpu]",
    ]


def test_the_site_is_checked_after_it_was_built(folder):
    assert make(folder, "site-check").returncode == 0
    assert (folder / "seen").exists()
    assert (
        (folder / "ran")
        .read_text()
        .splitlines()[-1]
        .startswith("python tools/check_site.py _build/html")
    )
    (folder / "build-does").write_text("exit 1")
    (folder / "ran").unlink()
    assert make(folder, "site-check").returncode != 0
    assert not (folder / "ran").exists()


def test_a_build_that_ended_well_is_built_upon_and_any_other_is_begun_anew(folder):
    assert make(folder, "book").returncode == 0
    assert (folder / "seen").read_text() == ""  # from nothing
    assert make(folder, "book").returncode == 0
    assert (folder / "seen").read_text() == "html\n"
    (folder / "build-does").write_text("exit 1")
    assert make(folder, "book").returncode != 0
    (folder / "build-does").write_text("")
    assert make(folder, "book").returncode == 0
    assert (folder / "seen").read_text() == ""


def test_an_interrupted_build_is_begun_anew(folder):
    assert make(folder, "book").returncode == 0
    (folder / "build-does").write_text("touch building; sleep 20; exit 0")
    process = subprocess.Popen(
        ["make", "book"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (folder / "building").exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=10) != 0
    (folder / "build-does").write_text("")
    assert make(folder, "book").returncode == 0
    assert (folder / "seen").read_text() == ""


def test_clean_leaves_the_environment_and_distclean_takes_it(folder):
    for name in (
        "_build/html",
        "tools/__pycache__",
        ".venv/lib/__pycache__",
        "src/x.egg-info",
    ):
        (folder / name).mkdir(parents=True)
    assert make(folder, "clean").returncode == 0
    assert (folder / ".venv/lib/__pycache__").exists() and (
        folder / "chapters/01_a.ipynb"
    ).exists()
    assert not (folder / "_build").exists() and not (folder / "tools/__pycache__").exists()
    assert make(folder, "distclean").returncode == 0
    assert not (folder / ".venv").exists() and not (folder / "src/x.egg-info").exists()


def test_help_lists_every_target_that_has_a_word_to_say(folder):
    listed = make(folder, "help").stdout
    for target in re.findall(
        r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M
    ):
        assert f"make {target} " in listed


def test_jupyterlab_saves_only_when_asked_and_knows_its_settings(folder):
    make(folder, "lab")
    (ran,) = (folder / "ran").read_text().splitlines()
    assert ran.startswith(
        "jupyter lab --notebook-dir=. --LabApp.app_settings_dir=tools/jupyterlab "
    )
    assert "--LabApp.extra_labextensions_path=tools/jupyterlab/labextensions" in ran
    assert "chapters/01_a.ipynb" in ran


# The lock.


@pytest.fixture
def lock(tmp_path):
    """Return a function that compiles a lock with a stand-in for uv."""
    uv = tmp_path / "path" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        '#!/bin/sh\necho "$*" >> calls\n. ./uv-does\n'
        'for name in a-package==1 nvidia-cublas==13 cuda-toolkit==13 triton==3 torch==2.13.0; do\n'
        '    case "$*" in *"--no-emit-package ${name%%==*}"*) ;; *) echo "$name" ;; esac\ndone\n'
    )  # fmt: skip
    uv.chmod(0o755)
    (tmp_path / "requirements.txt").write_text("the old one\n")

    def run(does=""):
        (tmp_path / "uv-does").write_text(does)
        return subprocess.run(
            ["sh", ROOT / "tools/lock.sh"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | {"PATH": f"{uv.parent}{os.pathsep}{os.environ['PATH']}"},
        )

    return run


def test_the_lock_pins_torch_leaves_cuda_out_and_ends_in_the_package(lock, tmp_path):
    constraint = 'while [ "$1" != --constraint ]; do shift; done; cat "$2" > constraint'
    assert lock(f"({constraint})").returncode == 0
    lines = (tmp_path / "requirements.txt").read_text().splitlines()
    assert lines[0].startswith("#") and lines[1:] == [
        "a-package==1",
        "torch==2.13.0",
        "-e .",
    ]
    assert (tmp_path / "constraint").read_text() == "torch==2.13.0\n"
    for call in (tmp_path / "calls").read_text().splitlines():
        assert "--universal" in call and "--python-version 3.11" in call
        assert re.findall(r"--extra (\w+)", call) == ["book", "test", "lab"]


@pytest.mark.parametrize("does", ["exit 1", 'case "$*" in *--no-emit*) exit 1 ;; esac'])
def test_a_lock_that_fails_leaves_the_old_one(lock, tmp_path, does):
    assert lock(does).returncode != 0
    assert (tmp_path / "requirements.txt").read_text() == "the old one\n"
    assert not (tmp_path / "requirements.txt.new").exists()


def test_requirements_hold_all_that_the_targets_need_pinned_and_no_more():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert lines[0].startswith("#") and lines[-1] == "-e ."
    pins = [re.fullmatch(r"([a-z0-9-]+)==([\w.]+)( ;.*)?", line) for line in lines[1:-1]]
    assert all(pins), lines
    versions = {pin[1]: pin[2] for pin in pins}
    assert versions["torch"] == "2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + extras["book"] + extras["test"] + extras["lab"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in needed}
    assert names <= set(versions)
    assert not {"dask", "distributed"} & set(versions)
    assert not [name for name in versions if re.match("nvidia|cuda|triton", name)]


# Hosting.

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text("utf-8"))
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_every_python_that_the_package_names_runs_ci_on_the_cpu_wheels():
    build = WORKFLOW["jobs"]["build"]
    assert build["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert {"run": "bash .ci/run"} in build["steps"]
    assert WORKFLOW["env"]["TORCH"] == "cpu"


def test_ci_runs_the_two_commands_and_checks_the_site():
    commands = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert commands[1].startswith("#") and "set -eu" in commands
    assert any(line.startswith("make test book site-check") for line in commands)


def test_no_action_runs_on_a_node_that_github_has_removed():
    first = {
        "checkout": 5,
        "setup-python": 6,
        "upload-pages-artifact": 5,
        "deploy-pages": 5,
    }
    used = [
        re.fullmatch(r"actions/(.+)@v(\d+)", step["uses"])
        for step in STEPS
        if "uses" in step
    ]
    assert {match[1] for match in used} == set(first)
    assert all(int(match[2]) >= first[match[1]] for match in used)


def test_the_workflow_may_read_and_only_the_last_job_may_publish():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job] == [
        "publish"
    ]
    assert (
        WORKFLOW["concurrency"] and "schedule" in WORKFLOW[True]
    )  # yaml reads 'on' as true


def test_the_contents_and_the_author_are_as_jupyter_book_2_reads_them():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    assert contents["parts"][0]["numbered"] is True
    assert "," not in yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["author"]
