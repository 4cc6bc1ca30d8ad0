"""Which words are worth a weight? L1 against pruning, on docstrings of four packages as bags of words.

Writes src/lessons/data/l1_words.csv, in about three minutes on one core.

Two ways to a model with few weights other than 0: FTRL-Proximal with L1, and dropping the smallest weights of
a model that was trained without, by Adagrad or by SGD. Then each trains once more, without penalty, on the
weights that it kept.
"""

import torch
from torch import nn

from lessons import SGD, Adagrad, FTRLProximal, stored
from lessons.problems import docstrings
from lessons.training import train

SEEDS = range(10)
L1 = (1e-4, 3e-4, 1e-3, 2e-3, 4e-3)
TRAINING = dict(steps=500, batch_size=20)
RATES = {
    "Adagrad": (0.1, 0.3, 1.0),
    "SGD": (3.0, 10.0, 30.0, 100.0),
    "FTRL-Proximal": (3.0, 10.0, 30.0, 100.0),
}
TUNING_SEEDS = range(100, 103)
ABOUT = f"""\
Docstrings of matplotlib, scikit-learn, sympy and torch: softmax regression on 2860 words, 4 · 2860 weights.
Training: 1000 documents, {TRAINING["steps"]} steps of {TRAINING["batch_size"]}, float64; weights start at 0.
Seeds {SEEDS}: the split and the order.
L1: FTRL-Proximal, penalty l1 · ‖W‖₁, biases free. pruned: Adagrad or SGD without penalty, of which as many
  of the largest weights are kept as L1 kept. + refit: Adagrad without penalty on the kept weights alone.
lr: of {RATES}, the one with the best mean accuracy on 1000 other documents,
  over seeds {TUNING_SEEDS}: for FTRL-Proximal each l1's own, for Adagrad and SGD that of all weights.
weights, words: how many are not exactly 0, and how many words have such a weight.
test_accuracy: on the 2000 documents left."""


def fit(optimizer, lr, x, y, *, seed, keep=None, **settings):
    """Return weights and biases. Weights outside ``keep`` stay 0."""
    model = nn.Linear(x.shape[1], 4)
    for param in model.parameters():
        nn.init.zeros_(param)
    if keep is not None:
        model.weight.register_hook(lambda grad: grad * keep)
    groups = [
        {"params": [model.weight], **settings},
        {"params": [model.bias]},
    ]
    train(model, optimizer(groups, lr=lr), x, y, seed=seed, **TRAINING)
    return model.weight.detach(), model.bias.detach()


def accuracy(w, b, x, y):
    return ((x @ w.T + b).argmax(1) == y).double().mean().item()


def tuned(name, optimizer, **settings):
    """Return the lr with the best mean validation accuracy."""
    scores = dict.fromkeys(RATES[name], 0.0)
    for seed in TUNING_SEEDS:
        data = docstrings(seed, dtype=torch.float64)
        for lr in scores:
            found = fit(optimizer, lr, *data["train"], seed=seed, **settings)
            scores[lr] += accuracy(*found, *data["valid"])
    return max(scores, key=scores.get)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    adagrad_lr, sgd_lr = tuned("Adagrad", Adagrad), tuned("SGD", SGD)
    ftrl_lr = {l1: tuned("FTRL-Proximal", FTRLProximal, l1=l1) for l1 in L1}
    print("lr:", adagrad_lr, sgd_lr, ftrl_lr, flush=True)
    rows = []
    for seed in SEEDS:
        data = docstrings(seed, dtype=torch.float64)

        def add(method, l1, lr, w, b, seed=seed, test=data["test"]):
            weights, words = (w != 0).sum().item(), (w != 0).any(0).sum().item()
            row = dict(method=method, l1=l1, lr=lr, seed=seed, weights=weights, words=words)
            rows.append(row | {"test_accuracy": accuracy(w, b, *test)})

        def refit(keep, seed=seed, train=data["train"]):
            return fit(Adagrad, adagrad_lr, *train, seed=seed, keep=keep)

        dense = []
        for name, cls, lr in (("Adagrad", Adagrad, adagrad_lr), ("SGD", SGD, sgd_lr)):
            full, bias = fit(cls, lr, *data["train"], seed=seed)
            add(f"{name}, all words", 0, lr, full, bias)
            ranked = full.abs().flatten().sort(descending=True).values
            dense.append((name, lr, full, bias, ranked))
        for l1 in L1:
            w, b = fit(FTRLProximal, ftrl_lr[l1], *data["train"], seed=seed, l1=l1)
            add("L1", l1, ftrl_lr[l1], w, b)
            add("L1 + refit", l1, adagrad_lr, *refit(w != 0))
            for name, lr, full, bias, ranked in dense:
                keep = full.abs() >= ranked[(w != 0).sum() - 1]
                add(f"{name}, pruned", l1, lr, full * keep, bias)
                add(f"{name}, pruned + refit", l1, adagrad_lr, *refit(keep))
        print(seed, *(f"{r['test_accuracy']:.3f}" for r in rows[-32:]), flush=True)

    stored.write("l1_words", ABOUT, rows)


if __name__ == "__main__":
    main()
