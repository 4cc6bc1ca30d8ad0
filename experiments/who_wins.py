"""Who wins, Adam+L2 or AdamW? Four tasks on digits, both tuned over full grids.

Writes chapters/data/who_wins.csv, in about eight minutes on one core.

Adam+L2 penalises Σw². AdamW penalises about Σσw², with σ the rms gradient of that weight, which grows with the
scale of its feature. So the features' units decide who wins: the tasks differ in nothing else.
"""

import csv
import platform
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lessons import Adam, AdamW
from lessons.problems import digits_task
from lessons.sweep import cosine, paired_difference, sweep

OUTPUT = Path(__file__).parents[1] / "chapters" / "data" / "who_wins.csv"
TASKS = {
    "random units, spread 1": {"spread": 1.0},
    "random units, spread 0.5": {"spread": 0.5},
    "standardised": {},
    "standardised and 128 noise columns": {"noise_columns": 128},
}
LR = np.logspace(-3.5, 0.5, 9)
WEIGHT_DECAY = {Adam: np.logspace(-5, 0.5, 23), AdamW: np.logspace(-2, 1.67, 13)}
TUNING_SEEDS, TEST_SEEDS = range(10), range(100, 140)
TRAINING = dict(steps=600, batch_size=30, schedule=cosine)
HEADER = f"""\
Adam+L2 and AdamW on digits: MLP 64-32-10 (ReLU), init U(±1/√fan_in), decay on all parameters.
Task: 300 training images with 30 % wrong labels, 500 for validation, 997 for the test, drawn anew each seed.
  random units: pixel j, standardised, times 10^u, u uniform on ±spread. noise columns: deviation 10^-0.5.
Training: {TRAINING["steps"]} steps, batch {TRAINING["batch_size"]}, cosine schedule, float32.
Protocol: lr and weight_decay with the best mean validation accuracy over seeds {TUNING_SEEDS}, then one
  run each on the fresh seeds {TEST_SEEDS}, which the rows below give.
Grid: lr logspace(-3.5, 0.5, 9); weight_decay logspace(-5, 0.5, 23) for Adam+L2 and
  logspace(-2, 1.67, 13) for AdamW.
edges: the axes on whose end the best cell lies (empty: it is interior). tuning_accuracy: that cell's mean.
Versions: Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}."""


def run(optimizer, task: dict) -> list[dict]:
    """Tune one optimizer on one task, and return a row for each fresh seed."""

    def model():
        return nn.Sequential(
            nn.Linear(64 + task.get("noise_columns", 0), 32), nn.ReLU(), nn.Linear(32, 10)
        )

    def data(seed):
        return digits_task(seed, **task)

    axes = {"lr": LR, "weight_decay": WEIGHT_DECAY[optimizer]}
    tuning = sweep(optimizer, model, data, axes, TUNING_SEEDS, **TRAINING)
    best = tuning.best("valid_accuracy")
    final = sweep(optimizer, model, data, {}, TEST_SEEDS, settings=best, **TRAINING)
    chosen = {
        **best,
        "edges": " ".join(tuning.edges("valid_accuracy")),
        "tuning_accuracy": tuning.mean("valid_accuracy").max(),
    }
    return [
        {
            "optimizer": {Adam: "Adam+L2", AdamW: "AdamW"}[optimizer],
            **chosen,
            "seed": seed,
            "valid_accuracy": final.metrics["valid_accuracy"][k],
            "test_accuracy": final.metrics["test_accuracy"][k],
        }
        for k, seed in enumerate(final.seeds)
    ]


def main() -> None:
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    rows = []
    for name, task in TASKS.items():
        results = {optimizer: run(optimizer, task) for optimizer in (Adam, AdamW)}
        rows += [{"task": name, **row} for found in results.values() for row in found]
        for split in ("valid", "test"):
            l2, decoupled = (
                [row[f"{split}_accuracy"] for row in results[o]] for o in (Adam, AdamW)
            )
            mean, half = paired_difference(decoupled, l2)
            wins = sum(a > b for a, b in zip(decoupled, l2, strict=True))
            print(
                f"{name}, {split}: Adam+L2 {np.mean(l2):.3f}, AdamW {np.mean(decoupled):.3f},",
                end=" ",
            )
            print(
                f"difference {mean:+.3f} ± {half:.3f}, AdamW wins {wins}/{len(l2)}",
                flush=True,
            )
        for found in results.values():
            print(
                {
                    key: found[0][key]
                    for key in ("optimizer", "lr", "weight_decay", "edges")
                },
                flush=True,
            )
    OUTPUT.parent.mkdir(exist_ok=True)
    with OUTPUT.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in HEADER.splitlines())
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()}
            )


if __name__ == "__main__":
    main()
