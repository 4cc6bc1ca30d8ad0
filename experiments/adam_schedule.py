"""Does a schedule help Adam on held-out images? A constant lr against a cosine, each at its own best lr.

Writes src/lessons/data/adam_schedule.csv, in about two minutes on one core.
"""

import torch
from torch import nn

from lessons import Adam, stored
from lessons.problems import digits_task
from lessons.sweep import cosine, sweep

TASKS = {"right labels": 0.0, "wrong labels": 0.3}
STEPS = [100, 300, 1000, 3000]
SCHEDULES = {"constant": None, "cosine": cosine}
LR = [2.0 ** (k / 2) for k in range(-30, -5)]
TUNING_SEEDS, TEST_SEEDS = range(10), range(100, 130)
ABOUT = f"""\
Adam on digits with and without a schedule: MLP 64-32-10 (ReLU), 300 training images, 500 for validation, 997
  for the test, drawn anew each seed. Tasks: right labels, or 30 % of the training labels wrong.
Training: batch 30, float32.
lr: {len(LR)} values from {LR[0]:.2g} to {LR[-1]:.2g}, a factor of √2 apart; the best has the highest mean
  validation accuracy over the seeds {TUNING_SEEDS}, which is tuning_accuracy.
  edge: "lr" if it lies on the end of its grid.
test_accuracy, train_loss: one number for each of the fresh seeds {TEST_SEEDS}, separated by spaces."""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def run(task: str, steps: int, schedule: str) -> dict:
    def data(seed):
        return digits_task(seed, label_noise=TASKS[task])

    training = dict(steps=steps, batch_size=30, schedule=SCHEDULES[schedule])
    tuning = sweep(Adam, network, data, {"lr": LR}, TUNING_SEEDS, **training)
    best = tuning.best()
    final = sweep(Adam, network, data, {}, TEST_SEEDS, settings=best, **training)
    numbers = {
        metric: " ".join(f"{value:.4g}" for value in final.metrics[metric])
        for metric in ("test_accuracy", "train_loss")
    }
    print(task, steps, schedule, best, f"{final.mean('test_accuracy'):.4f}", flush=True)
    return dict(task=task, steps=steps, schedule=schedule, lr=best["lr"]) | dict(
        edge=" ".join(tuning.edges()),
        tuning_accuracy=f"{tuning.mean('valid_accuracy').max():.4f}",
        **numbers,
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = [
        run(task, steps, schedule)
        for task in TASKS
        for steps in STEPS
        for schedule in SCHEDULES
    ]
    stored.write("adam_schedule", ABOUT, rows)


if __name__ == "__main__":
    main()
