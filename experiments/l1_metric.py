"""Which threshold after Adam's step? Scaled by the gradients or not: it depends on the features' units.

Writes src/lessons/data/l1_metric.csv, in about two minutes on one core.

In the metric, lr · l1 / (√v̂ + ε), the penalty is l1 · Σ|w|. The plain lr · l1 of a decoupled penalty amounts
to l1 · Σσ|w|, with σ the rms gradient of a weight, which grows with the scale of its feature. The tasks differ
in nothing but these scales.
"""

import numpy as np
import torch

from lessons import Adam, stored
from lessons.optim.prox import soft_threshold_
from lessons.problems import lasso
from lessons.sweep import cosine
from lessons.training import batches

TASKS = {  # the spread of all units, and the unit of the 50 useless features
    "standardised": (0.0, 1.0),
    "all in random units": (1.0, 1.0),
    "useless in small numbers": (0.0, 0.1),
    "useless in large numbers": (0.0, 10.0),
}
LR = 10 ** np.linspace(-3, 1, 9)
L1 = {  # name: the strengths to try, a factor of 2 apart
    "no penalty": np.zeros(1),
    "coupled": 2.0 ** np.arange(-10, 4),
    "in the metric": 2.0 ** np.arange(-10, 4),
    "decoupled × lr": 2.0 ** np.arange(-11, 3),
}
STEPS, BATCH_SIZE = 800, 10
TUNING_SEEDS, TEST_SEEDS = range(10), range(100, 140)
ABOUT = f"""\
L1 and Adam on lasso: linear regression, 60 features, 10 useful ones, 100 examples, noise of size 1.
Units: 'all in random units' multiplies each feature by its own 10^u, u uniform on ±1, and divides its weight by
  that; the last two multiply the 50 useless features by 0.1 or by 10. The targets are the same in all tasks.
Forms: coupled adds l1 · sign(w) to the gradient; in the metric soft-thresholds by lr · l1 / (√v̂ + ε) after
  the step; decoupled × lr by lr · l1.
  no penalty has l1 = 0, and lr alone is tuned.
Training: {STEPS} steps of {BATCH_SIZE}, cosine schedule, float64; weights start at 0.
Grid: lr logspace(-3, 1, 9); l1 by factors of 2, from 2^-10 to 2^3, decoupled × lr from 2^-11 to 2^2.
Protocol: lr and l1 with the least mean error on 100 other examples over seeds {TUNING_SEEDS}, then one run each
  on the fresh seeds {TEST_SEEDS}, which the rows give; edges: the axes on whose end the best setting lies.
error: mean squared error on 1000 further examples, less the noise's; zeros: of the 50 useless weights."""


def stacked(task: str, seeds) -> dict:
    """Return split → inputs (seeds, examples, 60) and targets (seeds, examples)."""
    spread, unit = TASKS[task]
    splits = {name: [] for name in ("train", "valid", "test")}
    for seed in seeds:
        for name, (x, y) in lasso(seed, spread=spread).items():
            x[:, 10:] *= unit
            splits[name].append((x, y[:, 0]))
    return {
        name: (torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs]))
        for name, pairs in splits.items()
    }


def squared_error(w, data):
    """Return the mean squared error of models (settings, seeds, 60): (settings, seeds)."""
    x, y = data
    return (torch.einsum("sef,rsf->rse", x, w) - y).square().mean(-1)


@torch.no_grad()
def train(form: str, lr, l1, data, seeds) -> torch.Tensor:
    """Return the weights, (settings, seeds, 60), of one model a setting and seed."""
    lr, l1 = (torch.as_tensor(values)[:, None, None] for values in (lr, l1))
    x, y = data["train"]
    w = torch.zeros(len(lr), len(seeds), 60)
    group = Adam([torch.zeros(1)]).param_groups[0]
    settings = {name: group[name] for name in Adam.hyperparameters}
    settings["l1"] = l1 if form == "in the metric" else 0
    state = Adam.init_state(w, group)
    index = torch.stack([batches(100, BATCH_SIZE, STEPS, seed) for seed in seeds], 1)
    each_seed = torch.arange(len(seeds))[:, None]
    for t, chosen in enumerate(index):
        inputs, targets = x[each_seed, chosen], y[each_seed, chosen]
        error = torch.einsum("sbf,rsf->rsb", inputs, w) - targets
        grad = torch.einsum("sbf,rsb->rsf", inputs, error) / BATCH_SIZE
        if form == "coupled":
            grad += l1 * w.sign()
        settings["lr"] = lr * cosine(t / STEPS)
        Adam.rule(w, grad, state, **settings)
        if form == "decoupled × lr":
            soft_threshold_(w, settings["lr"] * l1)
    return w


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    rows = []
    for task in TASKS:
        tuning, final = stacked(task, TUNING_SEEDS), stacked(task, TEST_SEEDS)
        for form, strengths in L1.items():
            grid = np.array([(lr, l1) for lr in LR for l1 in strengths])
            w = train(form, *grid.T, tuning, TUNING_SEEDS)
            scores = squared_error(w, tuning["valid"]).mean(1).nan_to_num(float("inf"))
            best = int(scores.argmin())
            lr, l1 = grid[best]
            ends = {
                "lr": lr in (LR[0], LR[-1]),
                "l1": l1 in (strengths[0], strengths[-1]) and l1 > 0,
            }
            edges = " ".join(name for name, is_end in ends.items() if is_end)
            w = train(form, [lr], [l1], final, TEST_SEEDS)
            errors = squared_error(w, final["test"])[0] - 1
            zeros = (w[0, :, 10:] == 0).sum(-1)
            mean, count = errors.mean(), zeros.double().mean()
            print(
                f"{task}, {form}: lr {lr:.3g}, l1 {l1:.3g} {edges}",
                f"{mean:.3f}, {count:.1f}",
            )
            for k, seed in enumerate(TEST_SEEDS):
                setting = dict(task=task, form=form, lr=lr, l1=l1, edges=edges, seed=seed)
                measured = dict(error=errors[k].item(), zeros=zeros[k].item())
                rows.append(setting | measured)

    stored.write("l1_metric", ABOUT, rows)


if __name__ == "__main__":
    main()
