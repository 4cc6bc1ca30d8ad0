"""An embedding under Adagrad, Adam and SparseAdam: does Adagrad's half of the state cost something?

Writes src/lessons/data/embedding.csv, in about ten minutes on one core.

Docstrings as bags of words: each word has a row of 16 weights, and a document is the sum of its words' rows,
each times the word's input. That is the first layer of the network below, whose columns are the rows of the
embedding. Only the rows of a batch's words have a gradient. Adagrad and SparseAdam leave the others alone;
Adam does not.
"""

import itertools

import numpy as np
import torch
from torch import nn

from lessons import Adagrad, Adam, stored
from lessons.optim.adam import adam
from lessons.problems import docstrings
from lessons.sweep import cosine, sweep

WORDS, WIDTH, CLASSES = 2860, 16, 4
PASSES = (1, 4, 16)


def sparse_adam(param, grad, state, *, lr, betas, eps):
    """Adam that leaves alone the rows without a gradient, and their means, as torch.optim.SparseAdam does.

    With tanh, all other gradients are different from 0.
    """
    kept = {name: state[name].clone() for name in ("exp_avg", "exp_avg_sq")}
    before, unused = param.clone(), grad == 0
    off = dict(weight_decay=0, amsgrad=False, decoupled_weight_decay=False, l1=0)
    adam(param, grad, state, lr=lr, betas=betas, eps=eps, **off)
    param.copy_(torch.where(unused, before, param))
    for name, values in kept.items():
        state[name].copy_(torch.where(unused, values, state[name]))


class SparseAdam(Adam):
    rule = staticmethod(sparse_adam)


LR = {"Adagrad": np.logspace(-2, 0.5, 11), "Adam": np.logspace(-3.5, -1, 11)}
LR["SparseAdam"] = LR["Adam"]
OPTIMIZERS = {"Adagrad": Adagrad, "Adam": Adam, "SparseAdam": SparseAdam}
SCHEDULES = {"constant": None, "cosine": cosine}
TUNING_SEEDS, TEST_SEEDS = range(5), range(100, 120)
ABOUT = f"""\
An embedding of {WORDS} words, {WIDTH} weights each, then tanh and a linear layer:
  which of {CLASSES} packages a docstring is from.
Tasks: n passes over 2000 documents in batches of 20, counts as inputs; float32, torch's own start.
SparseAdam: Adam that leaves the rows of words that are not in the batch alone, and their means.
Protocol: the lr with the least mean validation loss over seeds {TUNING_SEEDS}, for each length and schedule
  anew, then one run each on the fresh seeds {TEST_SEEDS}, which the rows below give.
Grid, 11 lr each: Adagrad logspace(-2, 0.5), the two Adams logspace(-3.5, -1).
edge: yes if the best lr is the first or the last of its grid. Losses in nats."""


def network() -> nn.Module:
    """Return the embedding, as a layer without bias, and what follows."""
    rows = nn.Linear(WORDS, WIDTH, bias=False)
    return nn.Sequential(rows, nn.Tanh(), nn.Linear(WIDTH, CLASSES))


def data(seed: int) -> dict:
    return docstrings(seed, train=2000, valid=1000)


def run(passes: int, optimizer: str, schedule: str) -> list[dict]:
    """Tune one optimizer's lr on one length and schedule, and return a row for each fresh seed."""
    training = dict(steps=100 * passes, batch_size=20, schedule=SCHEDULES[schedule])
    rule = OPTIMIZERS[optimizer]
    tuning = sweep(rule, network, data, {"lr": LR[optimizer]}, TUNING_SEEDS, **training)
    best = tuning.best("valid_loss")
    final = sweep(rule, network, data, {}, TEST_SEEDS, settings=best, **training)
    edge = "yes" if tuning.edges("valid_loss") else ""
    found = f"{final.mean('test_loss'):.4f}"
    print(passes, optimizer, schedule, best, edge, found, flush=True)
    return [
        {"passes": passes, "optimizer": optimizer, "schedule": schedule}
        | {"lr": best["lr"], "edge": edge, "seed": seed}
        | {
            metric: final.metrics[metric][k]
            for metric in ("train_loss", "test_loss", "test_accuracy")
        }
        for k, seed in enumerate(final.seeds)
    ]


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that come to rest are slow otherwise
    jobs = itertools.product(PASSES, OPTIMIZERS, SCHEDULES)
    stored.write("embedding", ABOUT, [row for job in jobs for row in run(*job)])


if __name__ == "__main__":
    main()
