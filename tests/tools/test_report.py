"""The benchmarks' report: the shortest times, ratios to the right base, bounds in the right direction."""

import json
import runpy
from pathlib import Path

import pytest

from lessons import stored

SCRIPT = Path(__file__).parents[2] / "benchmarks/report.py"
LARGE, TINY, GRID = "10M in 50", "2,000 of 64", "MLP 64-32-10"
# In milliseconds. 10M numbers at 8, 12 and 12 bytes: the last pass is the fastest, 40 GB/s.
TIMES = {
    ("memory", "10M", "", "copy"): 4.0,
    ("memory", "10M", "", "triad"): 4.0,
    ("memory", "10M", "", "triad in place"): 3.0,
    ("step", LARGE, "SGD", "torch"): 4.0,
    ("step", LARGE, "SGD", "lessons"): 6.0,
    ("step", LARGE, "SGD", "lessons, l1 prox"): 9.0,
    ("sweep", GRID, "AdamW", "loop of torch"): 3000.0,
    ("sweep", GRID, "AdamW", "sweep"): 100.0,
}


@pytest.fixture
def report():
    return runpy.run_path(str(SCRIPT))


def results(path, times):
    """A file as pytest-benchmark writes it, in which each case was measured twice."""
    benchmarks = [
        {"extra_info": {"labels": labels}, "stats": {"min": factor * time / 1000}}
        for labels, time in times.items()
        for factor in (2, 1)
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks}), encoding="utf-8")
    return path


def test_the_shortest_of_several_times_counts(report, tmp_path):
    assert report["read"](str(results(tmp_path / "costs.json", TIMES))) == TIMES


def test_ratios_are_to_the_default_and_shares_to_the_bandwidth(report):
    rows, bandwidth = report["rows_of"](TIMES)
    assert bandwidth == 40e6  # bytes a millisecond
    found = {(row["rule"], row["contender"]): (row["ratio"], row["share"]) for row in rows}
    assert found["SGD", "torch"] == (1, 12 * 1e7 / 4 / 40e6)
    assert found["SGD", "lessons"] == (1.5, 12 * 1e7 / 6 / 40e6)
    assert found["AdamW", "sweep"] == (100 / 3000, None)
    assert found["", "triad in place"] == (None, 1)


def test_targets_compare_in_the_right_direction(report):
    tiny = {
        ("step", TINY, "Adam", contender): time
        for contender, time in (
            ("torch", 50.0), ("torch fused", 8.0), ("flat lessons", 0.5), ("lessons", 51.0),
        )
    }  # fmt: skip
    found = {what: rest for what, *rest in report["targets"](TIMES | tiny)}
    assert found == {
        "SGD, 10M in 50: lessons / torch": [1.5, 1.05, True],
        "Adam, 2,000 of 64: lessons / torch": [1.02, 1.05, True],
        "SGD, 10M in 50: with the prox step / plain": [1.5, 1.5, True],
        "Adam, 2,000 of 64: torch / flat": [100, 100, False],
        "Adam, 2,000 of 64: torch fused / flat": [16, 20, False],
        "100 models: loop of torch / sweep": [30, 25, False],
    }


def test_the_table_is_written_with_the_machine_and_the_misses_are_printed(
    report, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    report["main"](str(results(tmp_path / "costs.json", TIMES)))
    assert any(line.startswith("Machine: ") for line in stored.header("costs"))
    rows = stored.read("costs")
    assert len(rows) == len(TIMES) and rows[4]["ratio"] == "1.5"
    printed = capsys.readouterr().out
    assert "MISS  SGD, 10M in 50: lessons / torch" in printed
    assert "pass  100 models: loop of torch / sweep" in printed
