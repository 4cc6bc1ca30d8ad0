"""Rare features: SGD, Adagrad and Adam on sparse inputs, each at the learning rate that is best for it.

Writes src/lessons/data/rare_features.csv, in about ten minutes on one core.

The first six tasks are generated, and differ in how often the features occur. The others are a real corpus,
docstrings: trained for longer and longer, with counts as inputs, or with rare words scaled up.
"""

import itertools
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lessons import SGD, Adagrad, Adam, stored
from lessons.problems import docstrings, zipf_features
from lessons.sweep import cosine, sweep

TASKS = {f"exponent {a}": {"exponent": a} for a in (0.0, 0.5, 1.0, 1.5)}
TASKS |= {f"exponent {a}, 50 words": {"exponent": a, "words": 50} for a in (0.0, 1.0)}
TASKS |= {
    f"docstrings, {inputs}, passes {passes}": {"inputs": inputs, "passes": passes}
    for inputs in ("counts", "idf")
    for passes in (1, 4, 16)
}
OPTIMIZERS = {  # (name, schedule): class, lr to try
    ("SGD", "constant"): (SGD, np.logspace(-1.5, 2, 15)),
    ("SGD", "cosine"): (SGD, np.logspace(-1.5, 2, 15)),
    ("SGD", "1/√t"): (SGD, np.logspace(-0.5, 3, 15)),
    ("Adagrad", "constant"): (Adagrad, np.logspace(-2, 1.5, 15)),
    ("Adagrad", "cosine"): (Adagrad, np.logspace(-2, 1.5, 15)),
    ("Adam", "constant"): (Adam, np.logspace(-3.5, 0, 15)),
    ("Adam", "cosine"): (Adam, np.logspace(-3.5, 0, 15)),
}
TUNING_SEEDS, TEST_SEEDS = range(5), range(100, 120)
ABOUT = f"""\
SGD, Adagrad and Adam on sparse inputs: linear models that start at zero weights.
Tasks: exponent a: zipf_features, 1000 features whose frequencies go as j^-a, 4000 examples of 10 words (or 50),
  one pass in batches of 10.
  docstrings, n passes: 2000 documents, batches of 20. Inputs:
  counts: as lessons.problems.docstrings gives them.
  idf: these times ln(2000 / training documents that hold the word), and each document to length 1 again.
Protocol: the lr with the least mean validation loss over seeds {TUNING_SEEDS}, then one run each on the fresh
  seeds {TEST_SEEDS}, which the rows below give. float32.
Grid, 15 lr each: SGD logspace(-1.5, 2), under 1/√t logspace(-0.5, 3), Adagrad logspace(-2, 1.5), Adam
  logspace(-3.5, 0).
edge: yes if the best lr is the first or the last of its grid. Losses in nats."""


def documents(seed: int, inputs: str) -> dict:
    """Return docstrings, their rare words scaled up if ``inputs`` is ``"idf"``."""
    splits = docstrings(seed, train=2000, valid=1000)
    if inputs == "counts":
        return splits
    held = (splits["train"][0] > 0).sum(0).clamp(min=1)
    scale = (2000 / held).log()
    scaled = {name: (x * scale, classes) for name, (x, classes) in splits.items()}
    return {name: (F.normalize(x), classes) for name, (x, classes) in scaled.items()}


def linear(inputs: int, outputs: int) -> nn.Module:
    """Return a linear model with all weights 0."""
    layer = nn.Linear(inputs, outputs)
    for param in layer.parameters():
        nn.init.zeros_(param)
    return nn.Sequential(layer)


def run(task: str, rule: tuple[str, str]) -> list[dict]:
    """Tune one optimizer's lr on one task and schedule, and return a row for each fresh seed."""
    torch.set_num_threads(1)  # the processes share the cores
    (optimizer, falls), (optimizer_class, lrs) = rule, OPTIMIZERS[rule]
    settings = TASKS[task]
    generated = "exponent" in settings
    steps = 400 if generated else 100 * settings["passes"]

    def data(seed):
        if generated:
            return zipf_features(seed, **settings)
        return documents(seed, settings["inputs"])

    def model():
        return linear(1000, 1) if generated else linear(2860, 4)

    def schedule(fraction):
        if falls == "cosine":
            return cosine(fraction)
        return 1 / (1 + fraction * steps) ** 0.5 if falls == "1/√t" else 1.0

    training = dict(
        steps=steps,
        batch_size=10 if generated else 20,
        loss=F.binary_cross_entropy_with_logits if generated else F.cross_entropy,
        schedule=schedule,
    )
    tuning = sweep(optimizer_class, model, data, {"lr": lrs}, TUNING_SEEDS, **training)
    best = tuning.best("valid_loss")
    final = sweep(optimizer_class, model, data, {}, TEST_SEEDS, settings=best, **training)
    edge = "yes" if tuning.edges("valid_loss") else ""
    print(task, *rule, best, edge, f"{final.mean('test_loss'):.4f}", flush=True)
    measured = ("train_loss", "test_loss", "test_accuracy")
    return [
        {"task": task, "optimizer": optimizer, "schedule": falls}
        | {"lr": best["lr"], "edge": edge, "seed": seed}
        | {
            metric: final.metrics[metric][k] if metric in final.metrics else ""
            for metric in measured
        }
        for k, seed in enumerate(final.seeds)
    ]


def main() -> None:
    pairs = list(itertools.product(TASKS, OPTIMIZERS))
    with ProcessPoolExecutor() as pool:
        rows = [row for found in pool.map(run, *zip(*pairs, strict=True)) for row in found]
    stored.write("rare_features", ABOUT, rows)


if __name__ == "__main__":
    main()
