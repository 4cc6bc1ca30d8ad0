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
PRINTED = """\
10M, copy                                                        4.000 ms           50%
10M, triad                                                       4.000 ms           75%
10M, triad in place                                              3.000 ms          100%
10M in 50, SGD, torch                                            4.000 ms   1.000   75%
10M in 50, SGD, lessons                                          6.000 ms   1.500   50%
10M in 50, SGD, lessons, l1 prox                                 9.000 ms   2.250   33%
MLP 64-32-10, AdamW, loop of torch                            3000.000 ms   1.000
MLP 64-32-10, AdamW, sweep                                     120.000 ms   0.040
2,000 of 64, SGD, torch                                          5.000 ms   1.000
2,000 of 64, SGD, flat lessons                                   0.050 ms   0.010
2,000 of 64, SGD, torch fused                                    0.900 ms   0.180

MISS  SGD, 10M in 50: lessons / torch                                 1.50  wanted ≤ 1.05
pass  SGD, 10M in 50: with the prox step / plain                      1.50  wanted ≤ 1.5
pass  SGD, 2,000 of 64: torch / flat                                100.00  wanted ≥ 100
MISS  SGD, 2,000 of 64: torch fused / flat                           18.00  wanted ≥ 20
pass  100 models: loop of torch / sweep                              25.00  wanted ≥ 25

5 OMP thread(s); written: costs.csv
"""


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


def test_what_a_time_is_compared_with(report):
    times = TIMES | {
        ("memory", "10M", "", "triad in place"): 6.0,
        ("iteration", TINY, "Adam", "torch"): 8.0,
        ("iteration", TINY, "Adam", "lessons"): 2.0,
        ("step", TINY, "Adam", "torch"): 5.0,
    }
    rows, bandwidth = report["rows_of"](times)
    assert bandwidth == 30e6  # the triad that is not in place
    found = {tuple(row.values())[:4]: tuple(row.values())[4:] for row in rows}
    # Only a step has a least number of bytes, and only a large one fills the memory's channels.
    assert found["step", TINY, "Adam", "torch"] == (5, 1, None)
    assert found["memory", "10M", "", "copy"] == (4, None, 20 / 30)
    assert found["iteration", TINY, "Adam", "lessons"] == (2, 0.25, None)
    assert report["PASS_BYTES"] == {"copy": 8, "triad": 12, "triad in place": 12}
    # Momentum, Adagrad and RMSprop keep one state, Adam and AdamW two.
    states = dict(SGD=0, Momentum=1, Adagrad=1, RMSprop=1, Adam=2, AdamW=2)
    assert report["LEAST_BYTES"] == {rule: 4 * (3 + 2 * n) for rule, n in states.items()}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor: 0\nmodel name : A: 1\nmodel name\t: B\n", "A: 1"),
        ("processor: 0\n", "here"),
        (None, "chip"),
    ],
)
def test_the_processor_is_named_as_the_system_tells_it(report, monkeypatch, text, name):
    def read_text(path, encoding):
        assert str(path) == "/proc/cpuinfo" and encoding == "utf-8"
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr("platform.machine", lambda: "here")
    monkeypatch.setattr("platform.processor", lambda: "chip")
    assert report["processor"]() == name
    if text is None:
        monkeypatch.setattr("platform.processor", lambda: "")
        assert report["processor"]() == "here"


def test_the_table_is_written_with_the_machine_and_the_misses_are_printed(
    report, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    monkeypatch.setitem(report["main"].__globals__, "processor", lambda: "Abacus")
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr("torch.get_num_threads", lambda: 5)
    tiny = zip(("torch", "flat lessons", "torch fused"), (5.0, 0.05, 0.9), strict=True)
    times = TIMES | {("step", TINY, "SGD", contender): time for contender, time in tiny}
    times["sweep", GRID, "AdamW", "sweep"] = 120.0
    report["main"](str(results(tmp_path / "costs.json", times)))
    about = stored.header("costs")
    assert "reached (40 GB/s)." in about[3]
    assert about[4] == "Machine: Abacus, 3 CPUs; 5 OMP thread(s)."
    assert about[5].startswith("Versions: Python") and about[5].count(",") == 1
    rows = stored.read("costs")
    assert ", ".join(rows[0]) == "what, shape, rule, contender, milliseconds, ratio, share"
    assert len(rows) == len(times)
    assert [*rows[4].values()] == ["step", LARGE, "SGD", "lessons", "6", "1.5", "0.5"]
    assert [*rows[5].values()][4:] == ["9", "2.25", "0.3333"]
    assert capsys.readouterr().out == PRINTED
