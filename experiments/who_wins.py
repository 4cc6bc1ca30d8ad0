"""Who wins, Adam+L2 or AdamW? Five tasks on digits, each optimizer tuned over a full grid.

Writes src/lessons/data/who_wins.csv, in about ten minutes on one core.

Adam+L2 penalises Σw². AdamW penalises about Σσw², with σ the rms gradient of that weight, which grows with the
scale of its feature. So the features' units decide who wins: the tasks differ in nothing else.

The best lr of a full grid are far above those of large networks. So the same is asked once more of its part
with lr of at most 0.032. (Where lr·λ is near 1, rounding decides what a single run becomes: another CPU gives
other rows, and means that agree within the intervals.)
"""

import itertools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from lessons import Adam, AdamW, stored
from lessons.problems import digits_task
from lessons.sweep import SweepResult, cosine, sweep

TASKS = {
    "random units": {"spread": 1.0},
    "standardised": {},
    "standardised + noise of size 0.32": {"noise_columns": 128},
    "standardised + noise of size 1": {"noise_columns": 128, "noise_scale": 1.0},
    "standardised + noise of size 3.2": {"noise_columns": 128, "noise_scale": 10**0.5},
}
LR = np.logspace(-3.5, 0.5, 9)
SMALL_LR = 0.032
OPTIMIZERS = {  # name: class and the λ to try, a factor of 2 or less apart
    "Adam": (Adam, [0.0]),
    "Adam+L2": (Adam, np.logspace(-5, 0.5, 23)),
    "AdamW": (AdamW, np.logspace(-2, 1.67, 13)),
}
TUNING_SEEDS, TEST_SEEDS = range(10), range(100, 180)
TRAINING = dict(steps=600, batch_size=30, schedule=cosine)
ABOUT = f"""\
Adam, Adam+L2 and AdamW on digits: MLP 64-32-10 (ReLU), init U(±1/√fan_in), decay on all parameters.
Task: 300 training images with 30 % wrong labels, 500 for validation, 997 for the test, drawn anew each seed.
  random units: each standardised pixel times its own 10^u, u uniform on ±1.
  + noise of size s: 128 more features of pure noise with standard deviation s.
Training: {TRAINING["steps"]} steps, batch {TRAINING["batch_size"]}, cosine schedule, float32.
Protocol: lr and weight_decay with the best mean validation accuracy over seeds {TUNING_SEEDS}, then one
  run each on the fresh seeds {TEST_SEEDS}, which the rows below give.
Grid: lr logspace(-3.5, 0.5, 9); weight_decay 0 for Adam, logspace(-5, 0.5, 23) for Adam+L2 and
  logspace(-2, 1.67, 13) for AdamW.
grid: "all", or "small lr", where the best cell is looked for among those with lr ≤ {SMALL_LR} alone.
edges: the axes on whose end the best cell lies (empty: it is interior). tuning_accuracy: that cell's mean."""


def with_small_lr(grid: SweepResult) -> SweepResult:
    """Return the cells of a grid, whose first axis is lr, in which lr is small."""
    lrs = tuple(lr for lr in grid.axes["lr"] if lr <= SMALL_LR)
    metrics = {name: values[: len(lrs)] for name, values in grid.metrics.items()}
    return replace(grid, axes=grid.axes | {"lr": lrs}, metrics=metrics)


def run(task: str, optimizer: str) -> list[dict]:
    """Tune one optimizer on one task, on each grid, and return a row for each grid and fresh seed."""
    torch.set_num_threads(1)  # the processes share the cores
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    settings = TASKS[task]
    optimizer_class, weight_decays = OPTIMIZERS[optimizer]

    def model():
        inputs = 64 + settings.get("noise_columns", 0)
        return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 10))

    def data(seed):
        return digits_task(seed, **settings)

    axes = {"lr": LR, "weight_decay": weight_decays}
    full = sweep(optimizer_class, model, data, axes, TUNING_SEEDS, **TRAINING)
    rows = []
    for grid, tuning in {"all": full, "small lr": with_small_lr(full)}.items():
        best = tuning.best("valid_accuracy")
        final = sweep(
            optimizer_class, model, data, {}, TEST_SEEDS, settings=best, **TRAINING
        )
        chosen = {
            **best,
            "edges": " ".join(tuning.edges("valid_accuracy")),
            "tuning_accuracy": tuning.mean("valid_accuracy").max(),
        }
        accuracy = final.mean("test_accuracy")
        print(task, optimizer, grid, chosen, f"test {accuracy:.3f}", flush=True)
        measured = ("train_accuracy", "valid_accuracy", "test_accuracy")
        rows += [
            {"task": task, "optimizer": optimizer, "grid": grid, **chosen, "seed": seed}
            | {metric: final.metrics[metric][k] for metric in measured}
            for k, seed in enumerate(final.seeds)
        ]
    return rows


def main() -> None:
    pairs = list(itertools.product(TASKS, OPTIMIZERS))
    with ProcessPoolExecutor() as pool:
        rows = [row for found in pool.map(run, *zip(*pairs, strict=True)) for row in found]
    stored.write("who_wins", ABOUT, rows)


if __name__ == "__main__":
    main()
