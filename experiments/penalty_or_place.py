"""Is it the penalty or its place? Adam with Σw² or Σσw², each coupled to the gradient or decoupled from it.

Writes chapters/data/penalty_or_place.csv, in about MINUTES on one core. What is done is kept in a folder
of the system's temporary files: an interrupted run goes on from there.

Adam + L2 and AdamW differ in two things at once. Adam + L2 penalises Σw², and what it adds to the gradient
passes through both moments. AdamW penalises about Σσw², with σ = √v̂ the rms gradient of each weight, and
bypasses them. Here the two are set apart: two more forms fill the other corners of the square.

If the penalty decides who wins, the two places of one penalty come out alike. If the mixing in the moments does,
as Bjorck, Weinberger and Gomes (AAAI 2021) have it, the two penalties in one place do.
"""

import re
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import who_wins
from language_cases import TASKS as LANGUAGE
from natural_cases import TASKS as NATURAL
from natural_cases import Task, powers
from torch import nn
from who_wins import with_small_lr

from lessons import Adam, AdamW, stored
from lessons.optim.adam import adam
from lessons.optim.base import add_square_
from lessons.problems import digits_task
from lessons.sweep import cosine, sweep

DONE = Path(tempfile.gettempdir()) / "penalty_or_place"


# --- the four corners -----------------------------------------------------------------------------


def _plain_adam(param, grad, state, **settings):
    """Take one step of Adam without any penalty."""
    adam(
        param,
        grad,
        state,
        **settings,
        weight_decay=0,
        amsgrad=False,
        decoupled_weight_decay=False,
        l1=0,
    )


def _root(mean_square, step, beta2, eps):
    """Return √v̂ + ε: what Adam divides by at this step."""
    return (mean_square / (1 - beta2**step)).sqrt().add_(eps)


def l2_decoupled(param, grad, state, *, lr, betas, eps, weight_decay):
    """Adam's step, then the proximal step of λ/2 · Σw² in Adam's metric.

    Each weight's rate is lr / (√v̂ + ε), and w / (1 + rate · λ) minimises λ/2 · w² + (w − before)² / (2 · rate).
    """
    _plain_adam(param, grad, state, lr=lr, betas=betas, eps=eps)
    root = _root(state["exp_avg_sq"], state["step"].item(), betas[1], eps)
    param.div_(1 + lr * weight_decay / root)


def sigma_coupled(param, grad, state, *, lr, betas, eps, weight_decay):
    """Adam on the gradient of the loss plus λ/2 · Σσw², with σ = √v̂ + ε taken as a constant.

    State: besides Adam's ``loss_sq``, the running mean of the squared gradient of the loss alone.
    """
    step, beta2 = state["step"].item() + 1, betas[1]
    v = add_square_(state["loss_sq"].mul_(beta2), grad, 1 - beta2)
    penalty = weight_decay * _root(v, step, beta2, eps) * param
    _plain_adam(param, grad + penalty, state, lr=lr, betas=betas, eps=eps)


def sigma_proximal(param, grad, state, *, lr, betas, eps, weight_decay):
    """AdamW with w / (1 + lr · λ) after the step for (1 − lr · λ) · w before: no weight can change its sign."""
    _plain_adam(param, grad, state, lr=lr, betas=betas, eps=eps)
    param.div_(1 + lr * weight_decay)


class L2Decoupled(Adam):
    rule = staticmethod(l2_decoupled)


class SigmaCoupled(Adam):
    rule = staticmethod(sigma_coupled)

    @staticmethod
    def init_state(param, group):
        return Adam.init_state(param, group) | {"loss_sq": torch.zeros_like(param)}


class SigmaProximal(Adam):
    rule = staticmethod(sigma_proximal)


CORNERS = {  # (penalty, place): the class
    ("Σw²", "coupled"): Adam,  # Adam + L2
    ("Σw²", "decoupled"): L2Decoupled,
    ("Σσw²", "coupled"): SigmaCoupled,
    ("Σσw²", "decoupled"): AdamW,
}
# A control: does it matter that AdamW's own decay can overshoot where lr · λ is near 1?
CONTROL = ("Σσw²", "decoupled, implicit")
METHODS = CORNERS | {CONTROL: SigmaProximal}


# --- tasks ----------------------------------------------------------------------------------------


def mlp(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 10))


def digits(**settings) -> Task:
    return Task(
        "",
        partial(digits_task, **settings),
        partial(mlp, 64 + settings.get("noise_columns", 0)),
        "accuracy",
        lr=np.logspace(-3.5, 1.5, 8),
        weight_decay={
            "Σw²": [0.0, *powers(-9, 0)],
            "Σσw²": [0.0, *powers(-5, 4)],
        },
        tuning_seeds=4,
        test_seeds=40,
        **{name: who_wins.TRAINING[name] for name in ("steps", "batch_size")},
    )


def natural(name: str, lr, l2, sigma, tuning_seeds: int, test_seeds: int) -> Task:
    """Return a task of the other two files with λ = 0 in its grids, and as many cells in each.

    The three axes are given by their exponents of 2: the first, and the one behind the last. lr is a factor
    of 4 apart, λ a factor of 2.
    """
    return replace(
        (NATURAL | LANGUAGE)[name],
        lr=2.0 ** np.arange(*lr, 2),
        weight_decay={
            "Σw²": [0.0, *2.0 ** np.arange(*l2)],
            "Σσw²": [0.0, *2.0 ** np.arange(*sigma)],
        },
        tuning_seeds=tuning_seeds,
        test_seeds=test_seeds,
    )


GRIDS = {
    "wine, in its own units": ((-10, 6), (-16, -6), (-9, 1), 4, 60),
    "generated words, vectors alike": ((-9, 5), (-12, -4), (-5, 3), 3, 40),
    "generated words, balanced": ((-9, 5), (-12, -4), (-5, 3), 3, 40),
    "features of unequal scale, weights alike": ((-10, 6), (-2, 7), (-3, 6), 3, 60),
    "features of unequal scale, balanced": ((-10, 6), (-2, 7), (-3, 6), 3, 60),
    "digits, attention over rows": ((-10, -1), (-12, -3), (-5, 4), 3, 24),
    "words of Python's manual": ((-9, 5), (-12, -4), (-5, 3), 2, 24),
    "mnist1d, convolutions and LayerNorm": ((-10, -3), (-8, -2), (-1, 5), 3, 20),
}
DIGITS = {name: digits(**settings) for name, settings in who_wins.TASKS.items()}
TASKS = DIGITS | {name: natural(name, *grid) for name, grid in GRIDS.items()}
# The cells of the second round, its first seed and how many there are; and the first of the seeds that judge.
FINALISTS, FINAL, FRESH = 8, 500, 2000
FINAL_SEEDS = dict.fromkeys(TASKS, 12) | {"wine, in its own units": 48}  # validated on 40 wines


def run(name: str, task: Task, penalty: str, place: str, grid: str) -> list[dict]:
    """Tune one form on one task and grid, in two rounds, and return a row for each fresh seed."""

    def train(what: str, axes, seeds, **settings):
        file = re.sub(r"\W+", "_", f"{name} {penalty} {place} {what}") + ".npz"
        return sweep(
            METHODS[penalty, place],
            task.model,
            task.data,
            axes,
            seeds,
            steps=task.steps,
            batch_size=task.batch_size,
            schedule=cosine,
            settings=settings,
            resume=DONE / file,
            **task.more,
        )

    axes = {"lr": task.lr, "weight_decay": task.weight_decay[penalty]}
    screened = train("all", axes, range(task.tuning_seeds))
    if grid == "small lr":
        screened = with_small_lr(screened)
    metric = f"valid_{task.metric}"
    sign = 1 if task.metric == "accuracy" else -1

    def score(result):
        return np.nan_to_num(sign * result.mean(metric), nan=-np.inf)

    final, final_seeds = {}, range(FINAL, FINAL + FINAL_SEEDS[name])
    for cell in np.argsort(-score(screened), axis=None, kind="stable")[:FINALISTS]:
        i, j = np.unravel_index(cell, score(screened).shape)
        lr, weight_decay = screened.axes["lr"][i], screened.axes["weight_decay"][j]
        what = f"lr {lr:.5g} weight_decay {weight_decay:.5g}"
        final[i, j] = train(what, {}, final_seeds, lr=lr, weight_decay=weight_decay)
    i, j = max(final, key=lambda cell: score(final[cell]))
    lr, weight_decay = screened.axes["lr"][i], screened.axes["weight_decay"][j]
    edges = []
    if i in (0, len(screened.axes["lr"]) - 1):
        edges.append("lr")
    # λ = 0 is where the axis ends by nature, not by choice.
    if j == len(screened.axes["weight_decay"]) - 1:
        edges.append("weight_decay")
    fresh = range(FRESH, FRESH + task.test_seeds)
    what = f"fresh lr {lr:.5g} weight_decay {weight_decay:.5g}"
    judged = train(what, {}, fresh, lr=lr, weight_decay=weight_decay)
    chosen = {
        "task": name,
        "metric": task.metric,
        "penalty": penalty,
        "place": place,
        "grid": grid,
        "lr": lr,
        "weight_decay": weight_decay,
        "edges": " ".join(edges),
        "tuning": float(final[i, j].mean(metric)),
    }
    print(chosen, f"test {judged.mean(f'test_{task.metric}'):.4f}", flush=True)
    return [
        chosen
        | {"seed": seed}
        | {
            split: judged.metrics[f"{split}_{task.metric}"][k]
            for split in ("train", "valid", "test")
        }
        for k, seed in enumerate(judged.seeds)
    ]


def jobs():
    """Yield what to run: task, penalty, place and grid."""
    for name in TASKS:
        for corner in CORNERS:
            yield name, *corner, "all"
    for name in DIGITS:
        for corner in CORNERS:
            yield name, *corner, "small lr"
    for name in DIGITS:
        yield name, *CONTROL, "all"


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    DONE.mkdir(exist_ok=True)
    rows = []
    for name, penalty, place, grid in jobs():
        rows += run(name, TASKS[name], penalty, place, grid)
    stored.write("penalty_or_place", ABOUT, rows, digits=5)


if __name__ == "__main__":
    main()
