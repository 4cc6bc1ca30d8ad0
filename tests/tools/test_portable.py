"""What portable.py disturbs and what it spares, and what it says of a chapter that differs."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "portable.py"
BEGIN = """
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from lessons import SGD
from lessons.sweep import sweep

def exact(step, rows=30):  # w ← w − w / 4, thirty times, against the same by hand
    w = torch.full((50,), 0.7, dtype=torch.float64)
    by_hand = w.clone()
    for _ in range(rows):
        step(w)
        by_hand.add_(by_hand, alpha=-0.25)
    return torch.equal(w, by_hand), torch.allclose(w, by_hand, rtol=1e-14, atol=0)

def by_class(cls):
    def step(w):
        w.grad = w.clone()
        cls([w], lr=0.25).step()
    return step

def by_rule(w):
    plain = dict(momentum=0, dampening=0, weight_decay=0, nesterov=False, l1=0)
    SGD.rule(w, w.clone(), {}, lr=0.25, l1_method="prox", **plain)

def by_function(w):  # as a chapter imports it
    from lessons.optim.sgd import sgd
    plain = dict(momentum=0, dampening=0, weight_decay=0, nesterov=False, l1=0)
    sgd(w, w.clone(), {}, lr=0.25, l1_method="prox", **plain)

class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            p.add_(p.grad, alpha=-0.25)

class Count(TorchDispatchMode):
    calls = 0
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        return function(*args, **(kwargs or {}))

def operations(cls):
    w = torch.ones(3, requires_grad=True)
    w.grad = torch.ones(3)
    optimizer = cls([w], lr=0.1, **({} if cls is SGD else dict(foreach=False)))
    with Count() as count:
        optimizer.step()
    return count.calls
"""
LAST_BITS = [  # code, whose output hangs on the last bits of an update
    "exact(by_class(torch.optim.SGD))",
    "exact(by_class(SGD))",
    "exact(by_class(Mine))",
    "exact(by_rule)",
    "exact(by_function)",
]
# The kind of fault that all this is for: a count of steps that rounding decides.
CHAOS = """
import torch
from lessons import SGD
w = torch.tensor([0.3], dtype=torch.float64)
for count in range(2000):  # w ← 4 w (1 − w), which doubles every error
    w.grad = -(4 * w * (1 - w) - w)
    SGD([w], lr=1.0).step()
    if count > 100 and w < 1e-4:
        break
print(count)
"""
ALL_ELSE = {  # code: output
    "torch.manual_seed(0); by_class(SGD)(torch.ones(3)); torch.rand(1).item() < 0.4963": "True",
    "from lessons.display import source; 'add_(param, grad, -lr)' in source(SGD.rule)": "True",
    "operations(SGD), operations(torch.optim.SGD)": "(3, 3)",
    "w = torch.ones(9); w.grad = torch.zeros(9); SGD([w], lr=1.0).step(); w.unique()": "tensor([1.])",
}


def code(source, output=None, tags=()):
    cell = nbformat.v4.new_code_cell(source, metadata=dict(tags=list(tags)))
    if output is not None:
        result = dict(data={"text/plain": output}, execution_count=1)
        cell.outputs = [nbformat.v4.new_output("execute_result", **result)]
    return cell


@pytest.fixture
def portable(tmp_path):
    """A function that runs the tool on a chapter of these cells, and returns exit and output."""

    def run(cells, *settings):
        path = tmp_path / "chapter.ipynb"
        path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
        before = path.read_bytes()
        only = [word for setting in settings for word in ("--only", setting)]
        done = subprocess.run(
            [sys.executable, TOOL, *only, path], capture_output=True, text=True
        )
        assert not done.stderr
        assert path.read_bytes() == before
        return done.returncode, done.stdout

    return run


def count_of(source):
    """What a cell prints in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(source, {})
    return out.getvalue().strip()


def test_updates_are_disturbed_by_a_unit_in_the_last_place_and_nothing_else_is(portable):
    stored, chaotic = "(True, True)", code(CHAOS)
    chaotic.outputs = [nbformat.v4.new_output("stream", text=f"{count_of(CHAOS)}\n")]
    cells = [
        code(BEGIN),
        *(code(source, stored) for source in LAST_BITS),
        chaotic,
        *(
            code(f"# To the last bit\n{source}", stored, ["bitwise"])
            for source in LAST_BITS
        ),
        *(code(source, output) for source, output in ALL_ELSE.items()),
        code("import time; time.time()", "12.5", ["nbval-ignore-output"]),
    ]
    status, text = portable(cells, "ulp 1", "OMP_NUM_THREADS=1")
    assert status == 1
    disturbed, *shown, plain, total = text.splitlines()
    assert disturbed.startswith("ulp 1") and disturbed.endswith("6 cells differ"), text
    for k in range(len(LAST_BITS)):
        assert shown[3 * k] == f"cell {k + 1}"
        assert shown[3 * k + 1].split(": ") == ["    stored", "(True, True)"]
        assert shown[3 * k + 2].split(": ") == ["    found", " (False, True)"]
    assert shown[15:17] == ["cell 6", f"    stored: {count_of(CHAOS)}"]
    assert plain.endswith("same") and total == "1 of 2 runs differ"


def test_a_cell_that_fails_is_named(portable):
    status, text = portable([code("1 + 1", "2"), code("1 / 0")], "OMP_NUM_THREADS=1")
    assert status == 1 and "cell 1 failed: ZeroDivisionError: division by zero" in text


def test_a_kernel_that_dies_is_told_and_its_chapter_tried_again(portable, tmp_path):
    dies = f"""
import os, pathlib
times = pathlib.Path({str(tmp_path / "times")!r})
times.open("a").write("x")
if len(times.read_text()) < 2:
    os._exit(1)
"""
    status, text = portable([code(dies)], "OMP_NUM_THREADS=1")
    assert status == 0 and "same; the kernel died" in text


def test_no_chapter_is_no_success():
    done = subprocess.run([sys.executable, TOOL], capture_output=True, text=True)
    assert done.returncode == 2 and "no chapter is named" in done.stderr


def test_the_settings_are_those_that_the_book_promises():
    done = subprocess.run(
        [sys.executable, TOOL, "--list"], capture_output=True, text=True, check=True
    )
    listed = set(done.stdout.splitlines())
    assert {f"ulp {seed}" for seed in (1, 2, 3)} <= listed
    assert {f"MKL_CBWR={v}" for v in ("COMPATIBLE", "AVX2", "AVX512")} <= listed
    assert {"ATEN_CPU_CAPABILITY=default", "OMP_NUM_THREADS=2"} <= listed
