"""Adagrad or Adam for networks, in short and in long training? Both tuned, with and without a schedule.

Writes src/lessons/data/adagrad_or_adam.csv, in about eight minutes on one core.

If Adagrad runs dry on networks, it should fall behind Adam as the training gets longer. If it does so for its
schedule alone, then not behind an Adam under 1/√t; and √t·cosine, which undoes the 1/√t, should bring it
near Adam under cosine.
"""

import itertools
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from torch import nn

from lessons import Adagrad, Adam, stored
from lessons.problems import mnist1d
from lessons.sweep import cosine, sweep

WIDTHS = {  # a network's layers, with ReLU between them
    "one hidden layer": (40, 64, 10),
    "six hidden layers": (40, *[32] * 6, 10),
}
STEPS = (250, 1000, 4000)
OPTIMIZERS = {  # (name, schedule): class, lr to try, the power of t that the schedule has besides
    ("Adagrad", "constant"): (Adagrad, np.logspace(-2.5, 0.5, 13), 0),
    ("Adagrad", "cosine"): (Adagrad, np.logspace(-2.5, 0.5, 13), 0),
    ("Adagrad", "√t·cosine"): (Adagrad, np.logspace(-4, -1, 13), 0.5),
    ("Adam", "constant"): (Adam, np.logspace(-3.5, -0.5, 13), 0),
    ("Adam", "cosine"): (Adam, np.logspace(-3.5, -0.5, 13), 0),
    ("Adam", "1/√t"): (Adam, np.logspace(-2.5, 0.5, 13), -0.5),
}
CRITERIA = ("valid_accuracy", "train_loss")  # what lr is tuned for
TUNING_SEEDS, TEST_SEEDS = range(5), range(100, 110)
ABOUT = f"""\
Adagrad and Adam on MNIST-1D, networks with ReLU, trained for longer and longer; float32, batch 32.
Tasks: one hidden layer: 40-64-10; six hidden layers: 40, six of 32, 10. 3000 training examples.
Protocol: the lr with the best mean over seeds {TUNING_SEEDS}, for each length and schedule anew, once by
  validation accuracy and once by training loss; then one run each on the fresh seeds {TEST_SEEDS}, which the
  rows below give.
Grid, 13 lr each: Adagrad logspace(-2.5, 0.5), under √t·cosine logspace(-4, -1); Adam logspace(-3.5, -0.5),
  under 1/√t logspace(-2.5, 0.5).
edge: yes if the best lr is the first or the last of its grid. Losses in nats."""


def network(widths: tuple[int, ...]) -> nn.Module:
    """Return a plain network."""
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def run(task: str, steps: int, rule: tuple[str, str]) -> list[dict]:
    """Tune one optimizer's lr, and return a row for each criterion and fresh seed."""
    torch.set_num_threads(1)  # the processes share the cores
    torch.set_flush_denormal(True)  # weights that come to rest are slow otherwise
    (optimizer, schedule), (optimizer_class, lrs, power) = rule, OPTIMIZERS[rule]

    def falls(fraction):
        factor = cosine(fraction) if "cosine" in schedule else 1.0
        return factor * (1 + fraction * steps) ** power

    training = dict(steps=steps, batch_size=32, schedule=falls)

    def model():
        return network(WIDTHS[task])

    def data(seed):
        return mnist1d(seed, train=3000, valid=1000)

    tuning = sweep(optimizer_class, model, data, {"lr": lrs}, TUNING_SEEDS, **training)
    rows = []
    for criterion in CRITERIA:
        best = tuning.best(criterion)
        final = sweep(
            optimizer_class, model, data, {}, TEST_SEEDS, settings=best, **training
        )
        edge = "yes" if tuning.edges(criterion) else ""
        found = f"{final.mean('test_accuracy'):.3f} {final.mean('train_loss'):.4f}"
        print(task, steps, *rule, criterion, best, edge, found, flush=True)
        rows += [
            {"task": task, "steps": steps, "schedule": schedule, "optimizer": optimizer}
            | {"tuned_for": criterion, "lr": best["lr"], "edge": edge}
            | {"seed": seed}
            | {
                metric: final.metrics[metric][k]
                for metric in ("train_loss", "test_loss", "test_accuracy")
            }
            for k, seed in enumerate(final.seeds)
        ]
    return rows


def main() -> None:
    runs = list(itertools.product(WIDTHS, STEPS, OPTIMIZERS))
    with ProcessPoolExecutor() as pool:
        rows = [row for found in pool.map(run, *zip(*runs, strict=True)) for row in found]
    stored.write("adagrad_or_adam", ABOUT, rows)


if __name__ == "__main__":
    main()
