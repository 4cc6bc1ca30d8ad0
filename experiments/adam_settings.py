"""Which of Adam's settings matter? Each is varied over a wide range, with lr fixed and with lr tuned anew.

Writes src/lessons/data/adam_settings.csv, in about two minutes on one core.
"""

import torch
from torch import nn

from lessons import Adam, stored
from lessons.problems import digits_task
from lessons.sweep import cosine, sweep

TASKS = {"true labels": 0.0, "30 % wrong labels": 0.3}
LR = [2.0**k for k in range(-13, 2)]
SETTINGS = {  # name → the values to try; the rest stays at Adam's defaults
    "beta1": [0.0, 0.5, 0.8, 0.9, 0.95, 0.99],
    "beta2": [0.5, 0.9, 0.99, 0.999, 0.9999],
    "eps": [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1e-1, 1.0],
    "weight_decay": [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
}
TUNING_SEEDS, TEST_SEEDS = range(10), range(100, 130)
TRAINING = dict(steps=300, batch_size=30, schedule=cosine)
ABOUT = f"""\
Adam on digits: MLP 64-32-10 (ReLU), 300 training images, 500 for validation, 997 for the test, drawn anew each
  seed. Tasks: true labels, or 30 % of the training labels wrong.
Training: {TRAINING["steps"]} steps, batch {TRAINING["batch_size"]}, cosine schedule, float32.
One setting is varied, the others stay at Adam's defaults.
  mode "fixed": lr is the one that was best at the defaults; setting "lr": all lr at the defaults.
  mode "tuned": lr is the best one for this value of the setting.
  lr: {len(LR)} values from {LR[0]:.2g} to {LR[-1]:g}, a factor of 2 apart.
Best: highest mean validation accuracy over the seeds {TUNING_SEEDS}, which is tuning_accuracy.
  edge: "lr" if the best lr lies on the end of its grid.
test_accuracy: one number for each of the fresh seeds {TEST_SEEDS}, separated by spaces."""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def hyper(setting: str, value: float) -> dict:
    """Return Adam's arguments for one value of one setting."""
    if setting == "beta1":
        return {"betas": (value, 0.999)}
    if setting == "beta2":
        return {"betas": (0.9, value)}
    return {setting: value}


def run(task: str) -> list[dict]:
    def data(seed):
        return digits_task(seed, label_noise=TASKS[task])

    def trained(settings, axes, seeds):
        return sweep(Adam, network, data, axes, seeds, settings=settings, **TRAINING)

    def row(setting, value, mode, lr, tuning):
        result = trained({"lr": lr} | hyper(setting, value), {}, TEST_SEEDS)
        accuracy = result.metrics["test_accuracy"]
        print(
            task, setting, value, mode, f"lr {lr:g}", f"{accuracy.mean():.3f}", flush=True
        )
        tuned = tuning.mean("valid_accuracy")[tuning.axes["lr"].index(lr)]
        return dict(
            task=task, setting=setting, value=str(value), mode=mode, lr=str(lr)
        ) | dict(
            edge="lr" if mode == "tuned" and tuning.edges() else "",
            tuning_accuracy=f"{tuned:.4f}",
            test_accuracy=" ".join(f"{a:.4f}" for a in accuracy),
        )

    tuning = {
        (setting, value): trained(hyper(setting, value), {"lr": LR}, TUNING_SEEDS)
        for setting, values in SETTINGS.items()
        for value in values
    }
    defaults = tuning["eps", 1e-8]
    best = defaults.best()["lr"]
    rows = [row("lr", lr, "fixed", lr, defaults) for lr in LR]
    for (setting, value), result in tuning.items():
        rows.append(row(setting, value, "fixed", best, result))
        rows.append(row(setting, value, "tuned", result.best()["lr"], result))
    return rows


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = [row for task in TASKS for row in run(task)]
    stored.write("adam_settings", ABOUT, rows)


if __name__ == "__main__":
    main()
