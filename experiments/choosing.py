"""Which optimizer, with which settings? Six optimizers on eight tasks, each tuned on the same budget.

Writes src/lessons/data/choosing.csv, in about a quarter of an hour of one core.

Beside the table of results: how wide the range of good learning rates is, with a schedule and without; what a
coarse grid of λ does to a comparison; and whether longer training wants a smaller λ.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lessons import SGD, Adagrad, Adam, AdamW, RMSprop, problems, stored
from lessons.sweep import SweepResult, cosine, sweep

OPTIMIZERS = {
    "SGD": (SGD, {}),
    "Momentum": (SGD, {"momentum": 0.9}),
    "Adagrad": (Adagrad, {}),
    "RMSprop": (RMSprop, {}),
    "Adam": (Adam, {}),
    "AdamW": (AdamW, {}),
}
SCHEDULES = {"cosine": cosine, "none": None}
# One grid for all optimizers and tasks, but for λ, which means more in AdamW (chapter 7).
LR = 2.0 ** np.arange(-10, 8)
COUPLED = [0.0, *2.0 ** np.arange(-11, 0)]
DECOUPLED = [0.0, *2.0 ** np.arange(-5, 6)]
REFINE = 2.0 ** np.linspace(-1, 1, 5)
LINE = 2.0 ** np.arange(-14, 8)  # learning rates without decay
TEST_SEEDS = range(100, 140)


ABOUT = """\
Six optimizers on eight tasks. Momentum is SGD with momentum 0.9; all else is at the defaults but for lr and λ.
scores: one a seed; accuracy, or for diabetes 1 - mean squared error (about R2). The mean where there is one.
Tasks: digits (1000 train), digits with 30 % wrong labels (300 train), mnist1d (1000 train): MLP, 32 hidden
  ReLU, 64 for mnist1d. docstrings (1000 train), breast cancer (300), wine (90): softmax regression.
  diabetes (200): linear regression. 300 steps (docstrings 150), batch 32 (30, 32, 32, 30, 30, 30, 20), float32.
  Each seed draws its own split, starting weights and mini-batches, the same for all optimizers.
tuned: lr 2^(-10..7) x weight_decay 0 and 2^(-11..-1) (AdamW 2^(-5..5)): 216 pairs on the tuning seeds 0, 1, 2
  (docstrings 0, 1; the linear ones 0 to 4); then 25 pairs around the best, spaced by sqrt(2), on three times as
  many. Chosen by mean validation score; scores are test scores of the fresh seeds 100 to 139. Cosine schedule.
  edges: the axes of the first grid on whose end the best lies (no decay at all is no end).
line: validation scores without decay, lr 2^(-14..7), on the tuning seeds of the first grid; schedule or none.
best of the line: test scores of seeds 100 to 119 at the best lr of the line. default: the same at torch's lr.
plane: mean validation score over seeds 0 to 9 of a grid with steps of 10^(1/4) in lr and in weight_decay.
spacing 1, 2: test scores (seeds 100 to 139) of the best pair of that plane, or of each of the four
  grids that take every second lr and every second weight_decay of it; edges: whether the pair lies on an edge.
more steps: test scores of Adam without decay (seeds 100 to 119), at torch's lr and at the best of
  lr 2^(-12, -10, .. 6) on seeds 0, 1, 2.
race: three tasks without decay, lr tuned anew at 1, 3 and 10 times the steps: lr 2^(-14..7)
  on the tuning seeds, then 5 lr around the best, spaced by sqrt(2), on three times as many; test scores of
  seeds 100 to 139; edges: of the first lr.
longer: mean validation score of AdamW over seeds 0 to 4, after so many steps."""


def mlp(inputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def breast_cancer(seed: int) -> problems.Splits:
    """Return the problem with its targets as classes, so that a sweep counts what is right."""
    splits = problems.breast_cancer(seed)
    return {name: (x, y.squeeze(1).long()) for name, (x, y) in splits.items()}


@dataclass(frozen=True)
class Task:
    model: Callable[[], nn.Module]
    data: Callable[[int], dict]
    steps: int
    batch_size: int
    seeds: int = 3  # for the wide grid and for lines
    loss: Callable = F.cross_entropy

    @property
    def metric(self) -> str:
        return "loss" if self.loss is F.mse_loss else "accuracy"


TASKS = {
    "digits": Task(partial(mlp, 64, 32), problems.digits, 300, 32),
    "digits, wrong labels": Task(partial(mlp, 64, 32), problems.digits_task, 300, 30),
    "mnist1d": Task(partial(mlp, 40, 64), partial(problems.mnist1d, train=1000), 300, 32),
    "docstrings": Task(partial(nn.Linear, 2860, 4), problems.docstrings, 150, 32, seeds=2),
    "breast cancer": Task(partial(nn.Linear, 30, 2), breast_cancer, 300, 30, seeds=5),
    "wine": Task(partial(nn.Linear, 13, 3), problems.wine, 300, 30, seeds=5),
    "wine, raw units": Task(
        partial(nn.Linear, 13, 3),
        partial(problems.wine, standardised=False),
        300,
        30,
        seeds=5,
    ),
    "diabetes": Task(
        partial(nn.Linear, 10, 1), problems.diabetes, 300, 20, seeds=5, loss=F.mse_loss
    ),
}


def train(task: Task, optimizer: str, axes: dict, seeds, schedule="cosine", **settings):
    """Run one sweep of a task."""
    optimizer_class, fixed = OPTIMIZERS[optimizer]
    return sweep(
        optimizer_class,
        task.model,
        task.data,
        axes,
        seeds,
        steps=task.steps,
        batch_size=task.batch_size,
        settings=fixed | settings,
        schedule=SCHEDULES[schedule],
        loss=task.loss,
    )


def scores(task: Task, result: SweepResult, split: str) -> np.ndarray:
    """Return accuracy, or 1 − mean squared error, which is about R²: a number a cell and seed."""
    measured = result.metrics[f"{split}_{task.metric}"]
    return measured if task.metric == "accuracy" else 1 - measured


def edges(task: Task, result: SweepResult) -> str:
    """Return the axes on whose end the best cell lies; no decay at all is no end."""
    metric = f"valid_{task.metric}"
    no_decay = result.best(metric).get("weight_decay") == 0
    return " ".join(
        name for name in result.edges(metric) if not (name == "weight_decay" and no_decay)
    )


def row(part, task, optimizer, runs, **settings) -> dict:
    """Return one line of the file: settings, and a score a seed."""
    empty = dict.fromkeys(("schedule", "steps", "lr", "weight_decay", "edges"), "")
    return {
        **dict(part=part, task=task, optimizer=optimizer),
        **(empty | settings),
        "scores": " ".join(f"{score:.5g}" for score in np.ravel(runs)),
    }


def tuned(name: str, optimizer: str) -> list[dict]:
    """Tune lr and λ of one optimizer on one task, and test the best pair on fresh seeds."""
    task, metric = TASKS[name], f"valid_{TASKS[name].metric}"
    decays = DECOUPLED if optimizer == "AdamW" else COUPLED
    wide = train(task, optimizer, {"lr": LR, "weight_decay": decays}, range(task.seeds))
    around = {key: value * REFINE for key, value in wide.best(metric).items()}
    if not around["weight_decay"].any():
        around["weight_decay"] = [0.0, *COUPLED[1] * REFINE[1:]]
    fine = train(task, optimizer, around, range(3 * task.seeds))
    best = fine.best(metric)
    final = train(task, optimizer, {}, TEST_SEEDS, **best)
    settings = dict(schedule="cosine", steps=task.steps, edges=edges(task, wide)) | best
    return [row("tuned", name, optimizer, scores(task, final, "test"), **settings)]


def line(name: str, optimizer: str) -> list[dict]:
    """Measure a line of learning rates without decay; then its best, and torch's default, on fresh seeds."""
    task, rows = TASKS[name], []
    optimizer_class, _ = OPTIMIZERS[optimizer]
    default = optimizer_class([torch.zeros(())]).defaults["lr"]
    for schedule in SCHEDULES:
        run = partial(train, task, optimizer, schedule=schedule, weight_decay=0.0)
        settings = dict(schedule=schedule, steps=task.steps, weight_decay=0.0)
        measured = run({"lr": LINE}, range(task.seeds))
        for lr, runs in zip(LINE, scores(task, measured, "valid"), strict=True):
            rows.append(row("line", name, optimizer, runs, lr=lr, **settings))
        best = measured.best(f"valid_{task.metric}")["lr"]
        settings["edges"] = edges(task, measured)
        for part, lr in (("best of the line", best), ("default", default)):
            final = scores(task, run({}, TEST_SEEDS[:20], lr=lr), "test")
            rows.append(row(part, name, optimizer, final, lr=lr, **settings))
    return rows


def spacing(_, optimizer: str) -> list[dict]:
    """Test what grids of one optimizer find when they are spaced more widely, wherever they start."""
    name = "digits, wrong labels"
    task = replace(TASKS[name], seeds=10)
    lrs = np.logspace(-2, 0.5, 11)
    decays = np.logspace(-3, 0, 13) if optimizer == "Adam" else np.logspace(-1, 1.5, 11)
    grid = train(task, optimizer, {"lr": lrs, "weight_decay": decays}, range(task.seeds))
    mean = scores(task, grid, "valid").mean(-1)
    common = dict(schedule="cosine", steps=task.steps)
    rows = [
        row("plane", name, optimizer, mean[i, j], lr=lr, weight_decay=decay, **common)
        for i, lr in enumerate(lrs)
        for j, decay in enumerate(decays)
    ]
    for every in (1, 2):  # spaced by 1.8 and by √10
        for start in itertools.product(range(every), repeat=2):
            part = mean[start[0] :: every, start[1] :: every]
            i, j = np.unravel_index(part.argmax(), part.shape)
            inner = 0 < i < part.shape[0] - 1 and 0 < j < part.shape[1] - 1
            best = {
                "lr": lrs[start[0] :: every][i],
                "weight_decay": decays[start[1] :: every][j],
            }
            final = train(task, optimizer, {}, TEST_SEEDS, **best)
            rows.append(
                row(
                    f"spacing {every}",
                    name,
                    optimizer,
                    scores(task, final, "test"),
                    edges="" if inner else "some",
                    **common,
                    **best,
                )
            )
    return rows


def more_steps(name: str, optimizer: str) -> list[dict]:
    """Test the best lr and torch's default, without decay, as the training gets longer."""
    rows = []
    default = OPTIMIZERS[optimizer][0]([torch.zeros(())]).defaults["lr"]
    for steps in (300, 1000, 3000):
        task = replace(TASKS[name], steps=steps)
        settings = dict(schedule="cosine", steps=steps, weight_decay=0.0)
        measured = train(task, optimizer, {"lr": LINE[2::2]}, range(3), weight_decay=0.0)
        best = measured.best(f"valid_{task.metric}")["lr"]
        for part, lr in (("more steps, best", best), ("more steps, default", default)):
            final = train(task, optimizer, {}, TEST_SEEDS[:20], lr=lr, weight_decay=0.0)
            runs = scores(task, final, "test")
            settings["edges"] = edges(task, measured)
            rows.append(row(part, name, optimizer, runs, lr=lr, **settings))
    return rows


def race(name: str, optimizer: str) -> list[dict]:
    """Tune the lr of one optimizer, without decay, at several lengths of training, and test it."""
    rows = []
    for times in (1, 3, 10):
        task = replace(TASKS[name], steps=times * TASKS[name].steps)
        metric = f"valid_{task.metric}"
        wide = train(task, optimizer, {"lr": LINE}, range(task.seeds), weight_decay=0.0)
        around = {"lr": wide.best(metric)["lr"] * REFINE}
        fine = train(task, optimizer, around, range(3 * task.seeds), weight_decay=0.0)
        lr = fine.best(metric)["lr"]
        final = train(task, optimizer, {}, TEST_SEEDS, lr=lr, weight_decay=0.0)
        settings = dict(schedule="cosine", steps=task.steps, lr=lr, weight_decay=0.0)
        runs = scores(task, final, "test")
        rows.append(row("race", name, optimizer, runs, edges=edges(task, wide), **settings))
    return rows


def longer(_, optimizer: str) -> list[dict]:
    """Measure λ × lr at several lengths of training."""
    name, rows = "digits, wrong labels", []
    lrs, decays = np.logspace(-2, 0.5, 6), 2.0 ** np.arange(-4, 5)
    for steps in (100, 200, 400, 800, 1600):
        task = replace(TASKS[name], steps=steps)
        grid = train(task, optimizer, {"lr": lrs, "weight_decay": decays}, range(5))
        mean = scores(task, grid, "valid").mean(-1)
        common = dict(schedule="cosine", steps=steps)
        rows += [
            row("longer", name, optimizer, mean[i, j], lr=lr, weight_decay=decay, **common)
            for i, lr in enumerate(lrs)
            for j, decay in enumerate(decays)
        ]
    return rows


def run(part: Callable, task: str, optimizer: str) -> list[dict]:
    """Run one part of all this, in a process of its own."""
    torch.set_num_threads(1)  # the processes share the cores
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    rows = part(task, optimizer)
    print(part.__name__, task, optimizer, flush=True)
    return rows


JOBS = [
    *((tuned, task, optimizer) for task in TASKS for optimizer in OPTIMIZERS),
    # Without decay AdamW is Adam.
    *((line, task, name) for task in TASKS for name in OPTIMIZERS if name != "AdamW"),
    *((more_steps, task, "Adam") for task in ("digits", "mnist1d", "wine, raw units")),
    *(
        (race, task, optimizer)
        for task in ("mnist1d", "docstrings", "wine, raw units")
        for optimizer in ("SGD", "Momentum", "Adam")
    ),
    (spacing, "", "Adam"),
    (spacing, "", "AdamW"),
    (longer, "", "AdamW"),
]


def main() -> None:
    with ProcessPoolExecutor() as pool:
        rows = [row for found in pool.map(run, *zip(*JOBS, strict=True)) for row in found]
    stored.write("choosing", ABOUT, rows)


if __name__ == "__main__":
    main()
