"""The four forms of experiments/penalty_or_place.py are what it calls them."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lessons import Adam

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
NAMES = ("penalty_or_place", "language_cases", "natural_cases", "who_wins")


@pytest.fixture
def methods(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    yield importlib.import_module("penalty_or_place").METHODS
    for name in NAMES:
        sys.modules.pop(name, None)


def run(optimizer_class, noises, *, steps, **settings):
    """Minimise ½(w − 1)² under gradient noise of several sizes; return 200 weights for each."""
    generator = torch.Generator().manual_seed(0)
    w = nn.Parameter(torch.ones(len(noises), 200))
    optimizer = optimizer_class([w], lr=0.1, **settings)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        noise = torch.randn(len(noises), 200, generator=generator)
        w.grad = (w.detach() - 1) + torch.tensor(noises)[:, None] * noise
        optimizer.step()
        scheduler.step()
    return w.detach()


def test_without_a_penalty_all_are_adam_to_the_last_bit(methods):
    adam = run(Adam, [1.0, 10.0], steps=20)
    for method in methods.values():
        assert torch.equal(run(method, [1.0, 10.0], steps=20, weight_decay=0.0), adam)


def test_each_form_rests_where_its_penalty_says_whatever_its_place(methods):
    noises = [1.0, 3.0, 10.0]
    for (penalty, _), method in methods.items():
        sizes = torch.tensor(noises) if penalty == "Σσw²" else torch.ones(3)
        rest = run(method, noises, steps=1000, weight_decay=0.5).mean(1)
        torch.testing.assert_close(rest, 1 / (1 + 0.5 * sizes), atol=0.02, rtol=0)


def test_the_places_of_one_penalty_are_not_the_same_steps(methods):
    ends = [run(method, [1.0], steps=20, weight_decay=0.5) for method in methods.values()]
    for i, end in enumerate(ends):
        assert not any(torch.equal(end, other) for other in ends[:i])
