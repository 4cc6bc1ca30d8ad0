"""Which L1 method gives zeros under gradient noise? Breast cancer with 70 columns of noise, five batch sizes.

Writes src/lessons/data/l1_batches.csv, in about four minutes on one core.

The optimum is scikit-learn's. Every method gets the same budget for its learning rate: 16 settings for each
batch size, of which the one with the least training objective counts.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from lessons import SGD, FTRLProximal, stored
from lessons.problems import breast_cancer
from lessons.sweep import cosine
from lessons.training import batches

SEEDS = range(10)
TRAIN, NOISE_COLUMNS = 300, 70
L1, STEPS = 0.02, 2000
BATCH_SIZES = (1, 4, 16, 64, 300)
METHODS = (
    "subgradient",
    "prox",
    "prox, averaged",
    "prox, momentum 0.9",
    "cumulative",
    "FTRL-Proximal",
)
MOMENTUM = 0.9
RATES = 2.0 ** np.arange(-5, 3)  # SGD: each constant, and each along half a cosine
FTRL_RATES = 2.0 ** (np.arange(-9, 7) / 2)
ABOUT = f"""\
L1 on breast cancer: logistic regression, {NOISE_COLUMNS} columns of pure noise beside the 30 features.
Minimised: mean cross-entropy of {TRAIN} training examples + {L1} · ‖w‖₁; the bias is free. Weights start at 0.
Training: {STEPS} steps, float64; seeds {SEEDS}, each with its own split, noise and order.
Settings: SGD with lr 2^-5 … 4 by factors of 2 (with momentum, a tenth of that), each constant and with a cosine
  schedule; FTRL-Proximal with lr 2^-4.5 … 2^3 by factors of √2, constant.
  'prox, averaged' is the mean of prox's weights over the second half.
  The rows give the setting with the least mean objective; edge: its lr is an end of the grid.
nonzero: weights that are not exactly 0, of {30 + NOISE_COLUMNS}; noise_nonzero: of them, in front of noise.
fewest: the same for that one of the 16 settings where its mean is lowest, whatever its objective.
excess: objective minus that of the optimum, which scikit-learn's liblinear found."""


def stacked(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (seeds, examples, features) and targets (seeds, examples)."""
    data = [
        breast_cancer(s, noise_columns=NOISE_COLUMNS, train=TRAIN)[split] for s in SEEDS
    ]
    return torch.stack([x for x, _ in data]), torch.stack([y[:, 0] for _, y in data])


def losses(w, b, x, y):
    """Return the mean cross-entropy of every model: w (rates, seeds, features) → (rates, seeds)."""
    logits = torch.einsum("sef,rsf->rse", x, w) + b
    return F.binary_cross_entropy_with_logits(
        logits, y.expand_as(logits), reduction="none"
    ).mean(-1)


def optimum(x, y):
    """Return scikit-learn's weights and biases, as of one rate."""
    found = [
        LogisticRegression(
            l1_ratio=1,
            solver="liblinear",
            C=1 / (TRAIN * L1),
            tol=1e-8,
            max_iter=100_000,
            intercept_scaling=1e4,  # so that the penalty on the bias does not count
        ).fit(inputs.numpy(), targets.numpy())
        for inputs, targets in zip(x, y, strict=True)
    ]
    w = torch.tensor(np.array([[model.coef_[0] for model in found]]))
    return w, torch.tensor(np.array([[model.intercept_ for model in found]]))


def train(method, batch_size, rates, schedule, x, y):
    """Return the final weights and biases, one row a rate, and the means of their second half."""
    cls = FTRLProximal if method == "FTRL-Proximal" else SGD
    lr = torch.tensor(rates)[:, None, None]
    group = cls([torch.zeros(1)]).param_groups[0]
    settings = {name: group[name] for name in cls.hyperparameters}
    if cls is SGD:
        settings["l1_method"] = method.partition(",")[0]
        settings["momentum"] = MOMENTUM if "momentum" in method else 0
    w = torch.zeros(len(rates), len(SEEDS), x.shape[-1], requires_grad=True)
    b = torch.zeros(len(rates), len(SEEDS), 1, requires_grad=True)
    with torch.no_grad():
        states = [cls.init_state(param, group | {"lr": lr}) for param in (w, b)]
    index = torch.stack([batches(TRAIN, batch_size, STEPS, seed) for seed in SEEDS], 1)
    each_seed = torch.arange(len(SEEDS))[:, None]
    means = [torch.zeros_like(w), torch.zeros_like(b)]
    for t, chosen in enumerate(index):
        loss = losses(w, b, x[each_seed, chosen], y[each_seed, chosen]).sum()
        grads = torch.autograd.grad(loss, (w, b))
        with torch.no_grad():
            settings["lr"] = lr * schedule(t / STEPS)
            for param, grad, state, l1 in zip((w, b), grads, states, (L1, 0), strict=True):
                cls.rule(param, grad, state, **settings | {"l1": l1})
            if 2 * t >= STEPS:
                for mean, param in zip(means, (w, b), strict=True):
                    mean += param * (2 / STEPS)
    return (w.detach(), b.detach()), means


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    x, y = stacked("train")
    held_out, benign = stacked("test")

    def objective(w, b):
        return losses(w, b, x, y) + L1 * w.abs().sum(-1)

    def measured(w, b):
        logits = torch.einsum("sef,rsf->rse", held_out, w) + b
        return {
            "nonzero": (w != 0).sum(-1),
            "noise_nonzero": (w[..., 30:] != 0).sum(-1),
            "excess": objective(w, b) - least,
            "test_accuracy": ((logits > 0) == benign.bool()).double().mean(-1),
        }

    best = optimum(x, y)
    least = objective(*best)
    rows = []

    def add(method, batch_size, schedule, lr, edge, metrics, row):
        for k, seed in enumerate(SEEDS):
            values = {name: v[row, k].item() for name, v in metrics.items()}
            setting = dict(schedule=schedule, lr=lr, edge=edge)
            rows.append(
                dict(method=method, batch=batch_size, **setting, seed=seed) | values
            )

    metrics = measured(*best)
    fewest = metrics["nonzero"].double().mean().expand(metrics["excess"].shape)
    add("optimum", "", "", "", "", metrics | {"fewest": fewest}, 0)
    for batch_size in BATCH_SIZES:
        for method in METHODS:
            found = []
            schedules = {"constant": lambda fraction: 1.0}
            rates = FTRL_RATES
            if method != "FTRL-Proximal":
                schedules["cosine"], rates = cosine, RATES
            if "momentum" in method:
                rates = RATES * (1 - MOMENTUM)
            fewest = float("inf")
            for name, schedule in schedules.items():
                last, mean = train(method, batch_size, rates, schedule, x, y)
                metrics = measured(*(mean if method == "prox, averaged" else last))
                excess = metrics["excess"].mean(1).nan_to_num(float("inf"))
                row = int(excess.argmin())
                fewest = min(fewest, metrics["nonzero"].double().mean(1).min().item())
                found.append((excess[row].item(), name, row, metrics))
            _, name, row, metrics = min(found, key=lambda each: each[0])
            edge = "yes" if row in (0, len(rates) - 1) else ""
            metrics["fewest"] = torch.full_like(metrics["excess"], fewest)
            add(method, batch_size, name, rates[row], edge, metrics, row)
            summary = ", ".join(
                f"{k} {v[row].double().mean():.4g}" for k, v in metrics.items()
            )
            print(
                batch_size, method, name, f"lr {rates[row]:.4g}", edge, summary, flush=True
            )

    stored.write("l1_batches", ABOUT, rows, packages=("torch", "numpy", "scikit-learn"))


if __name__ == "__main__":
    main()
