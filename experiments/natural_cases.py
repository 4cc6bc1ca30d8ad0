"""Who wins, Adam+L2 or AdamW, beyond one data set in several units?

Writes src/lessons/data/natural_cases.csv, in about nine minutes on one core.

Adam+L2 penalises Σw². AdamW penalises about Σσw², with σ the rms gradient of that weight, which grows with the
size or frequency of its feature, and with the factor on the loss that it serves. What follows from this for a
task was written down before it ran. In front of a normalisation neither is a penalty, and nothing follows; for
attention nothing was worked out.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lessons import Adam, AdamW, stored
from lessons.problems import digits_task, mnist1d, two_heads, unequal_features, wine
from lessons.sweep import cosine, sweep

# --- models ---------------------------------------------------------------------------------------


class Convolution(nn.Conv1d):
    """A convolution with stride 2 as one product of matrices: faster in a stack of small models."""

    def forward(self, x):
        (size,) = self.kernel_size
        pieces = F.pad(x, (size // 2, size // 2)).unfold(-1, size, 2)
        rows = pieces.transpose(-3, -2).flatten(-2)
        return (rows @ self.weight.flatten(1).T + self.bias).transpose(-1, -2)


def layer_norm(channels: int, length: int) -> nn.Module:
    """Return a LayerNorm without gains."""
    return nn.LayerNorm([channels, length], elementwise_affine=False)


def convolutions(norm: Callable = layer_norm, channels: int = 16) -> nn.Module:
    """Return three convolutions, each followed by a normalisation: ``norm(channels, length)``."""
    layers, before = [nn.Unflatten(-1, (1, 40))], 1
    for length in (20, 10, 5):
        layers += [Convolution(before, channels, 5), norm(channels, length), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Flatten(-2), nn.Linear(5 * channels, 10))


class Attention(nn.Module):
    """One block of a transformer; the rows of an image are its tokens. The LayerNorms have no gains."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.embedding = nn.Linear(8, width)
        self.places = nn.Parameter(0.1 * torch.randn(8, width))
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        def normalised(x):
            return F.layer_norm(x, x.shape[-1:])

        x = self.embedding(x.unflatten(-1, (8, 8))) + self.places
        queries, keys, values = self.queries_keys_values(normalised(x)).chunk(3, -1)
        seen = (queries @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5).softmax(-1)
        x = x + self.mix(seen @ values)
        x = x + self.down(self.up(normalised(x)).relu())
        return self.head(normalised(x).mean(-2))


def heads() -> nn.Module:
    """Return a trunk of 32 units with two heads of five classes."""
    return nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Unflatten(-1, (5, 2))
    )


def weighted(outputs, classes, *, weight: float):
    """Return the first head's loss plus ``weight`` times the second's."""
    first, second = (F.cross_entropy(outputs[..., k], classes[:, k]) for k in (0, 1))
    return first + weight * second


# --- tasks ----------------------------------------------------------------------------------------


def powers(low: int, high: int) -> np.ndarray:
    """Return 2^low, 2^(low + 1), …, 2^high."""
    return 2.0 ** np.arange(low, high + 1)


@dataclass(frozen=True)
class Task:
    """A row of the table; ``expected`` is who should win, written down before the run."""

    expected: str
    data: Callable
    model: Callable
    metric: str
    lr: np.ndarray
    weight_decay: dict
    steps: int
    batch_size: int
    tuning_seeds: int
    test_seeds: int
    more: dict = field(default_factory=dict)


def regression(expected, **settings):
    return Task(
        expected,
        partial(unequal_features, **settings),
        partial(nn.Linear, 50, 1, bias=False),
        "loss",
        lr=powers(-10, 2),
        weight_decay={"Adam+L2": powers(-12, 6), "AdamW": powers(-7, 6)},
        steps=600,
        batch_size=20,
        tuning_seeds=10,
        test_seeds=60,
        more=dict(loss=F.mse_loss),
    )


def wines(expected, **settings):
    return Task(
        expected,
        partial(wine, **settings),
        partial(nn.Linear, 13, 3),
        "loss",
        lr=powers(-10, 4),
        weight_decay={"Adam+L2": powers(-16, 1), "AdamW": powers(-9, 4)},
        steps=600,
        batch_size=20,
        tuning_seeds=10,
        test_seeds=60,
    )


def two_losses(expected, weight, label_noise):
    return Task(
        expected,
        partial(two_heads, label_noise=label_noise),
        heads,
        "accuracy",
        lr=powers(-11, 0),
        weight_decay={"Adam+L2": powers(-7, 0), "AdamW": powers(-3, 4)},
        steps=500,
        batch_size=30,
        tuning_seeds=8,
        test_seeds=40,
        more=dict(loss=partial(weighted, weight=weight)),
    )


TASKS = {
    "features of unequal scale, weights alike": regression(
        "Adam + L2", kind="scales", truth="alike"
    ),
    "features of unequal scale, balanced": regression(
        "AdamW", kind="scales", truth="balanced"
    ),
    "features of unequal frequency, weights alike": regression(
        "Adam + L2", kind="frequencies", truth="alike"
    ),
    "features of unequal frequency, balanced": regression(
        "AdamW", kind="frequencies", truth="balanced"
    ),
    "wine, in its own units": wines("AdamW", standardised=False),
    "wine, standardised": wines("neither", standardised=True),
    "two heads, losses × 1 and × 1": two_losses("neither", 1.0, (0.3, 0.3)),
    "two heads, losses × 1 and × 100": two_losses("AdamW", 100.0, (0.3, 0.3)),
    "two heads, losses × 1 and × 100, the second's labels clean": two_losses(
        "Adam + L2", 100.0, (0.3, 0.0)
    ),
    "mnist1d, convolutions and LayerNorm": Task(
        "open",
        mnist1d,
        convolutions,
        "accuracy",
        lr=powers(-9, -5),
        weight_decay={"Adam+L2": powers(-7, -3), "AdamW": powers(-2, 4)},
        steps=600,
        batch_size=50,
        tuning_seeds=4,
        test_seeds=20,
    ),
    "digits, attention over rows": Task(
        "open",
        partial(digits_task, dtype=torch.float32),
        Attention,
        "accuracy",
        lr=powers(-9, -5),
        weight_decay={"Adam+L2": powers(-10, -3), "AdamW": powers(-4, 2)},
        steps=400,
        batch_size=30,
        tuning_seeds=5,
        test_seeds=40,
    ),
}
CLASSES = {"Adam": Adam, "Adam+L2": Adam, "AdamW": AdamW}
ABOUT = """\
Adam, Adam+L2 and AdamW on tasks of several kinds; experiments/natural_cases.py holds every setting.
Protocol: lr and weight_decay, each a factor of 2 apart, with the best mean on the validation split over a
  few seeds; then one run each on fresh seeds from 100 on, which the rows below give. Cosine schedule, float32,
  decay on all parameters.
expected: who should win by the theory, written down before the run.
edges: the axes on whose end the best cell lies (empty: it is interior). tuning: that cell's mean.
train, valid, test: the metric of that run on the three splits, an accuracy, or a loss without any penalty."""


def run(name: str, task: Task, optimizer: str) -> list[dict]:
    """Tune one optimizer on one task, and return a row for each fresh seed."""
    torch.set_num_threads(1)  # the processes share the cores
    torch.set_flush_denormal(True)  # weights that decay to nothing are slow
    axes = {"lr": task.lr, "weight_decay": task.weight_decay.get(optimizer, [0.0])}
    training = dict(steps=task.steps, batch_size=task.batch_size, schedule=cosine)
    both = partial(
        sweep, CLASSES[optimizer], task.model, task.data, **training, **task.more
    )
    metric = f"valid_{task.metric}"
    tuning = both(axes, range(task.tuning_seeds))
    best = tuning.best(metric)
    final = both({}, range(100, 100 + task.test_seeds), settings=best)
    cell = tuple(values.index(best[key]) for key, values in tuning.axes.items())
    chosen = {
        "task": name,
        "expected": task.expected,
        "metric": task.metric,
        "optimizer": optimizer,
        **best,
        "edges": " ".join(tuning.edges(metric)),
        "tuning": tuning.mean(metric)[cell],
    }
    print(chosen, f"test {final.mean(f'test_{task.metric}'):.4f}", flush=True)
    return [
        {**chosen, "seed": seed}
        | {
            split: final.metrics[f"{split}_{task.metric}"][k]
            for split in ("train", "valid", "test")
        }
        for k, seed in enumerate(final.seeds)
    ]


def main(name: str, about: str, tasks: dict[str, Task]) -> None:
    """Train every optimizer on every task, and write what came out."""
    jobs = [(task, tasks[task], each) for task, each in itertools.product(tasks, CLASSES)]
    with ProcessPoolExecutor() as pool:
        rows = [row for found in pool.map(run, *zip(*jobs, strict=True)) for row in found]
    stored.write(name, about, rows, digits=5)


if __name__ == "__main__":
    main("natural_cases", ABOUT, TASKS)
