"""What the tests of the sweeps share: small models, a data set, and the plain loop that says what is right."""

import math
import os
import signal
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lessons import AdamW
from lessons.sweep import build, sweep
from lessons.training import train

AXES = {"lr": (0.003, 0.03), "weight_decay": (0.0, 0.1, 0.4)}
SEEDS = (3, 1)


def mlp():
    return nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)
    )


class Convolutions(nn.Module):
    """No Sequential; a convolution, running statistics, a frozen parameter and a bare scalar."""

    def __init__(self):
        super().__init__()
        # BatchNorm would leave a bias no gradient but rounding errors.
        self.convolution = nn.Conv1d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(16, 3)
        self.out.bias.requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.out(
            self.norm(self.convolution(x.unsqueeze(-2))).relu().flatten(-2)
        )


class Tied(nn.Sequential):
    """A subclass of Sequential whose two layers share one weight."""

    def __init__(self):
        super().__init__(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 6))
        self[2].weight = self[0].weight


def data(seed):
    """Return classes that depend on the inputs, and are other ones for every seed."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 6, generator=generator, dtype=torch.float64)
    y = (x[:, 0] > 0).long() + (x[:, 1] * x[:, 2] > 0).long()
    return {"train": (x[:32], y[:32]), "valid": (x[32:], y[32:])}


def run(optimizer=AdamW, model=mlp, data=data, axes=AXES, seeds=SEEDS, **changes):
    """Sweep in float64 with small settings."""
    return sweep(
        optimizer,
        model,
        data,
        axes,
        seeds,
        **{"steps": 15, "batch_size": 12, "dtype": torch.float64} | changes,
    )


def plain(
    torch_class,
    model,
    seed,
    *,
    data=data,
    schedule=None,
    scale=1,
    loss=F.cross_entropy,
    **settings,
):
    """Return the metrics of one model, trained by torch's optimizer in a plain loop."""
    net, splits = build(model, seed).double(), data(seed)
    optimizer = torch_class([p for p in net.parameters() if p.requires_grad], **settings)
    scheduler = schedule and torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: schedule(t / 15)
    )
    train(
        net, optimizer, *splits["train"], steps=15, batch_size=12, seed=seed, scheduler=scheduler,
        loss=lambda output, target: scale * loss(output, target),
    )  # fmt: skip
    net.eval()
    metrics = {}
    with torch.no_grad():
        for split, (x, y) in splits.items():
            metrics[f"{split}_loss"] = loss(net(x), y).item()
            if not y.is_floating_point():
                metrics[f"{split}_accuracy"] = (
                    (net(x).argmax(1) == y).double().mean().item()
                )
    return metrics


def assert_equals_plain(result, torch_class, model, **changes):
    """Assert that every cell of a sweep over AXES has the metrics of its plain loop."""
    for i, lr in enumerate(AXES["lr"]):
        for j, weight_decay in enumerate(AXES["weight_decay"]):
            for k, seed in enumerate(SEEDS):
                settings = dict(lr=lr, weight_decay=weight_decay) | changes
                alone = plain(torch_class, model, seed, **settings)
                assert alone.keys() == result.metrics.keys()
                for metric, value in alone.items():
                    assert math.isclose(
                        result.metrics[metric][i, j, k], value, rel_tol=1e-10
                    ), metric


class Visits:
    """The data set of this file, as a function that remembers its calls and fails at will."""

    def __init__(self, failure=None, at=None):
        self.seeds, self.failure, self.at = [], failure, at

    def __call__(self, seed):
        self.seeds.append(seed)
        if seed == self.at:
            raise self.failure
        return data(seed)


def assert_same(result, expected):
    """Assert that two sweeps agree to the last bit."""
    assert (result.axes, result.seeds) == (expected.axes, expected.seeds)
    assert result.metrics.keys() == expected.metrics.keys()
    for name, values in expected.metrics.items():
        np.testing.assert_array_equal(result.metrics[name], values, err_msg=name)


def deadly(seed, *, at, parent, died):
    """The data set of this file; the first process that asks for seed ``at`` is killed."""
    if seed == at and os.getpid() != parent and not Path(died).exists():
        Path(died).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return data(seed)
