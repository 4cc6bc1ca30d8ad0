"""Turn pytest-benchmark's file into src/lessons/data/costs.csv, and compare the ratios with what is wanted.

Usage: report.py RESULTS.json
"""

import json
import os
import platform
import sys
from pathlib import Path

import torch

from lessons import stored

NUMBERS = 10_000_000  # weights in "10M in 50", and the length of the arrays of "memory"
# Bytes a weight that one step cannot do without, in float32: read the weight, the gradient and the state,
# write the weight and the state. And what the plain passes over memory move.
LEAST_BYTES = {
    "SGD": 12,
    "Momentum": 20,
    "Adagrad": 20,
    "RMSprop": 20,
    "Adam": 28,
    "AdamW": 28,
}
PASS_BYTES = {"copy": 8, "triad": 12, "triad in place": 12}
NOISE = 1.05  # "no slower" up to what two equal contenders differ by

ABOUT = """\
What a step costs, measured by 'make bench'. The shortest of all rounds of three turns, in milliseconds.
ratio: to torch's default (a Python loop over the parameters; in a sweep a loop over the runs).
share: the least number of bytes that the step has to move, over the time, as a part of the bandwidth that the
  fastest plain pass over memory reached ({bandwidth:.0f} GB/s).
Machine: {processor}, {cpus} CPUs; {threads} OMP thread(s)."""


def read(path: str) -> dict[tuple, float]:
    """Return labels → the shortest time in milliseconds."""
    times: dict[tuple, float] = {}
    for benchmark in json.loads(Path(path).read_text(encoding="utf-8"))["benchmarks"]:
        labels = tuple(benchmark["extra_info"]["labels"])
        time = 1000 * benchmark["stats"]["min"]
        times[labels] = min(time, times.get(labels, time))
    return times


def processor() -> str:
    """Return the processor's model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return models[0] if models else platform.machine()


def rows_of(times: dict[tuple, float]) -> tuple[list[dict], float]:
    """Return the table's rows, and the memory's bandwidth in bytes a millisecond."""
    passes = {name: times["memory", "10M", "", name] for name in PASS_BYTES}
    bandwidth = max(PASS_BYTES[name] * NUMBERS / time for name, time in passes.items())
    rows = []
    for (what, shape, rule, contender), time in times.items():
        base = {"step": "torch", "iteration": "torch", "sweep": "loop of torch"}.get(what)
        ratio = time / times[what, shape, rule, base] if base else None
        least = {"memory": PASS_BYTES.get(contender), "step": LEAST_BYTES.get(rule)}.get(
            what
        )
        large = shape.startswith("10M")
        share = least * NUMBERS / time / bandwidth if large else None
        labels = dict(what=what, shape=shape, rule=rule, contender=contender)
        rows.append({**labels, "milliseconds": time, "ratio": ratio, "share": share})
    return rows, bandwidth


def write(rows: list[dict], bandwidth: float) -> Path:
    about = ABOUT.format(
        bandwidth=bandwidth / 1e6,
        processor=processor(),
        cpus=os.cpu_count(),
        threads=torch.get_num_threads(),
    )
    return stored.write("costs", about, rows, digits=4, packages=("torch",))


def targets(times: dict[tuple, float]):
    """Yield what is compared, its ratio, the bound, and True where the ratio has to be below the bound."""
    for what, shape, rule, contender in times:
        if contender == "lessons":
            ratio = times[what, shape, rule, contender] / times[what, shape, rule, "torch"]
            yield f"{rule}, {shape}: lessons / torch", ratio, NOISE, True
    for what, shape, rule, contender in times:
        if contender == "lessons, l1 prox":
            ratio = (
                times[what, shape, rule, contender] / times[what, shape, rule, "lessons"]
            )
            yield f"SGD, {shape}: with the prox step / plain", ratio, 1.5, True
    for rule in LEAST_BYTES:
        here = "step", "2,000 of 64", rule
        for base, bound in (("torch", 100), ("torch fused", 20)):
            if (*here, base) in times:
                ratio = times[(*here, base)] / times[(*here, "flat lessons")]
                yield f"{rule}, 2,000 of 64: {base} / flat", ratio, bound, False
    here = "sweep", "MLP 64-32-10", "AdamW"
    ratio = times[(*here, "loop of torch")] / times[(*here, "sweep")]
    yield "100 models: loop of torch / sweep", ratio, 25, False


def main(path: str) -> None:
    times = read(path)
    rows, bandwidth = rows_of(times)
    path = write(rows, bandwidth)
    for row in rows:
        ratio = f"{row['ratio']:8.3f}" if row["ratio"] else " " * 8
        share = f"{row['share']:6.0%}" if row["share"] else ""
        name = ", ".join(filter(None, (row["shape"], row["rule"], row["contender"])))
        print(f"{name:60}{row['milliseconds']:10.3f} ms{ratio}{share}")
    print()
    for name, ratio, bound, below in targets(times):
        met = ratio <= bound if below else ratio >= bound
        wanted = f"{'≤' if below else '≥'} {bound}"
        print(f"{'pass' if met else 'MISS'}  {name:60}{ratio:8.2f}  wanted {wanted}")
    print(f"\n{torch.get_num_threads()} OMP thread(s); written: {path.name}")


if __name__ == "__main__":
    main(sys.argv[1])
