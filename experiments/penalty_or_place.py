"""Is it the penalty or its place? Adam with Σw² or Σσw², each coupled to the gradient or decoupled from it.

Writes src/lessons/data/penalty_or_place.csv, in about half an hour on one core. What is done is kept in a
folder of the system's temporary files: an interrupted run goes on from there.

Adam + L2 and AdamW differ in two things at once. Adam + L2 penalises Σw², and what it adds to the gradient
passes through both moments. AdamW penalises about Σσw², with σ = √v̂ the rms gradient of each weight, and
bypasses them. Here the two are set apart: two more forms fill the other corners of the square.

If the penalty decides who wins, the two places of one penalty come out alike. If the mixing in the moments
does, as Bjorck, Weinberger and Gomes (AAAI 2021) have it, the two penalties in one place do.
"""

import functools
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
    "features of unequal scale, balanced": ((-8, 10), (-2, 7), (-3, 6), 3, 60),
    "digits, attention over rows": ((-10, -1), (-12, -3), (-5, 4), 3, 24),
    "mnist1d, convolutions and LayerNorm": ((-10, -3), (-8, -2), (-1, 5), 2, 20),
}
DIGITS = {name: digits(**settings) for name, settings in who_wins.TASKS.items()}
TASKS = DIGITS | {name: natural(name, *grid) for name, grid in GRIDS.items()}

# The second round: how many cells, its first seed, how many seeds; and the first of the seeds that judge.
FINALISTS, FINAL, FRESH = 8, 500, 2000
FINAL_SEEDS = dict.fromkeys(TASKS, 12)
FINAL_SEEDS["wine, in its own units"] = 48  # only 40 wines validate a run
FINAL_SEEDS["mnist1d, convolutions and LayerNorm"] = 6  # slow
ABOUT = f"""\
Adam with one of two penalties in one of two places; experiments/penalty_or_place.py holds every setting.
penalty: Σw², or Σσw², where σ = √v̂ + ε is the rms gradient of each weight. place: coupled (added to the
  gradient, through both moments), or decoupled (after Adam's step; AdamW's before it).
  So Σw² coupled is Adam + L2, and Σσw² decoupled is AdamW. "decoupled, implicit": AdamW with the weights
  divided by 1 + lr · λ after the step.
Tasks: the five of who_wins.csv, and others of natural_cases.csv and language_cases.csv. Cosine schedule,
  float32, decay on all parameters.
Protocol: every form tries as many cells lr × weight_decay, with weight_decay 0 among them, over a few seeds
  from 0 on. The {FINALISTS} best run over 12 seeds from {FINAL} on (wine 48, convolutions 6), which choose one
  by its mean on the validation split. The rows below are fresh seeds from {FRESH} on.
Digits: lr logspace(-3.5, 1.5, 8); weight_decay 0 and 2^-9 … 2^0 for Σw², 0 and 2^-5 … 2^4 for Σσw².
grid: "all"; "small lr", with the cells of lr ≤ {who_wins.SMALL_LR} alone; "other's cell", with the lr and
  weight_decay that were chosen from "all" for the same penalty in the other place.
edges: the axes on whose end the cell lies (empty: it is interior; weight_decay 0 is no end). tuning: the mean
  that chose it. train, valid, test: an accuracy, or a loss without any penalty."""


# --- the runs -------------------------------------------------------------------------------------


def train(name: str, penalty: str, place: str, what: str, axes: dict, seeds, **settings):
    """Return what a sweep measures; what is done of it is kept in a file named after ``what``."""
    task = TASKS[name]
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


def title(cell: dict) -> str:
    return " ".join(f"{key} {value:.5g}" for key, value in cell.items())


@functools.cache
def tuned(name: str, penalty: str, place: str, grid: str) -> tuple[dict, dict]:
    """Return the lr and λ that two rounds choose, and what is to be known of the choice."""
    task = TASKS[name]
    axes = {"lr": task.lr, "weight_decay": task.weight_decay[penalty]}
    first = train(name, penalty, place, "all", axes, range(task.tuning_seeds))
    if grid == "small lr":
        first = with_small_lr(first)
    metric = f"valid_{task.metric}"

    def score(result):
        sign = 1 if task.metric == "accuracy" else -1
        return np.nan_to_num(sign * result.mean(metric), nan=-np.inf)

    scores, seeds = score(first), range(FINAL, FINAL + FINAL_SEEDS[name])
    second = {}
    for number in np.argsort(-scores, axis=None, kind="stable")[:FINALISTS]:
        place_in_grid = np.unravel_index(number, scores.shape)
        cell = {
            key: values[i]
            for (key, values), i in zip(first.axes.items(), place_in_grid, strict=True)
        }
        second[place_in_grid] = (
            cell,
            train(name, penalty, place, title(cell), {}, seeds, **cell),
        )
    (i, j), (best, result) = max(second.items(), key=lambda item: score(item[1][1]))
    edges = []
    if i in (0, scores.shape[0] - 1):
        edges.append("lr")
    if j == scores.shape[1] - 1:  # at λ = 0 the axis ends by nature, not by choice
        edges.append("weight_decay")
    return best, {"edges": " ".join(edges), "tuning": float(result.mean(metric))}


def judged(name: str, penalty: str, place: str, grid: str) -> list[dict]:
    """Return a row for each fresh seed."""
    if grid == "other's cell":
        (other,) = {place for p, place in CORNERS if p == penalty} - {place}
        cell, choice = tuned(name, penalty, other, "all")[0], {"edges": "", "tuning": ""}
    else:
        cell, choice = tuned(name, penalty, place, grid)
    task = TASKS[name]
    seeds = range(FRESH, FRESH + task.test_seeds)
    found = train(name, penalty, place, f"fresh {title(cell)}", {}, seeds, **cell)
    what = {
        "task": name,
        "metric": task.metric,
        "penalty": penalty,
        "place": place,
        "grid": grid,
        **cell,
        **choice,
    }
    print(what, f"test {found.mean(f'test_{task.metric}'):.4f}", flush=True)
    return [
        what
        | {"seed": seed}
        | {
            split: found.metrics[f"{split}_{task.metric}"][k]
            for split in ("train", "valid", "test")
        }
        for k, seed in enumerate(found.seeds)
    ]


def jobs():
    """Yield what to run: task, penalty, place and grid."""
    for grid, tasks in {"all": TASKS, "other's cell": TASKS, "small lr": DIGITS}.items():
        for name in tasks:
            for corner in CORNERS:
                yield name, *corner, grid
    for name in DIGITS:
        yield name, *CONTROL, "all"


def main() -> None:
    """Run everything in this one process, and write what came out."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    DONE.mkdir(exist_ok=True)
    tuned.cache_clear()
    rows = [row for job in jobs() for row in judged(*job)]
    stored.write("penalty_or_place", ABOUT, rows, digits=5)


if __name__ == "__main__":
    main()
