"""What a step costs: the optimizers of this package beside torch's, and beside the memory's own speed.

All cases are measured three times in turn, so that a busy moment of the machine does not fall on one of them
alone; report.py keeps the shortest time of each. Nothing passes or fails here by time.
"""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lessons
from lessons import FlatParameters
from lessons.problems import digits
from lessons.sweep import sweep
from lessons.training import train

CACHED = (
    "200,000, 50 times"  # as many weights as in "10M in 50", which never leave the cache
)
SHAPES = {
    "10M in 50": [(200_000,)] * 50,
    "10M in 2": [(5_000_000,)] * 2,
    CACHED: [(200_000,)],
    "2,000 of 64": [(64,)] * 2000,
    "MLP": [(256, 784), (256,), (10, 256), (10,)],
}
ROUNDS = {"MLP": 50}  # of the others 6
RULES = {  # name: class and settings
    "SGD": ("SGD", {}),
    "Momentum": ("SGD", {"momentum": 0.9}),
    "Adagrad": ("Adagrad", {}),
    "RMSprop": ("RMSprop", {}),
    "Adam": ("Adam", {}),
    "AdamW": ("AdamW", {}),
}
LR = 1e-4


def make_params(shape):
    params = [nn.Parameter(torch.randn(size)) for size in SHAPES[shape]]
    for p in params:
        p.grad = torch.randn_like(p) * 0.01
    return params


# --- who makes the step: from class, parameters and settings to a function that steps -----------------


def theirs(name, params, **settings):
    return getattr(torch.optim, name)(params, lr=LR, **settings).step


def ours(name, params, **settings):
    return getattr(lessons, name)(params, lr=LR, **settings).step


def flat(make):
    return lambda name, params, **settings: make(name, [FlatParameters(params)], **settings)


def compiled(name, params):
    step = torch.compile(theirs(name, params))
    try:
        step()
    except RuntimeError as error:  # as where there is no C++ compiler
        pytest.skip(f"torch.compile does not work here: {error}")
    return step


def out_of_place(name, params):
    """AdamW as its formulas are often typed: every operation makes a new tensor."""
    m, v = [[torch.zeros_like(p) for p in params] for _ in range(2)]
    t = 0

    @torch.no_grad()
    def step():
        nonlocal t
        t += 1
        for i, p in enumerate(params):
            m[i] = 0.9 * m[i] + 0.1 * p.grad
            v[i] = 0.999 * v[i] + 0.001 * p.grad**2
            m_hat, v_hat = m[i] / (1 - 0.9**t), v[i] / (1 - 0.999**t)
            p.copy_(p - LR * 0.01 * p - LR * m_hat / (v_hat.sqrt() + 1e-8))

    return step


def with_scratch(name, params):
    """AdamW in place, as the package has it, but the root goes to a buffer that is kept for all steps."""
    m, v = [[torch.zeros_like(p) for p in params] for _ in range(2)]
    scratch = torch.empty_like(params[0])
    t = 0

    @torch.no_grad()
    def step():
        nonlocal t
        t += 1
        for i, p in enumerate(params):
            p.mul_(1 - LR * 0.01)
            m[i].lerp_(p.grad, 0.1)
            v[i].mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            root = torch.sqrt(v[i], out=scratch).div_(math.sqrt(1 - 0.999**t)).add_(1e-8)
            p.addcdiv_(m[i], root, value=-LR / (1 - 0.9**t))

    return step


CONTENDERS = {
    "torch": theirs,
    "lessons": ours,
    "torch foreach": functools.partial(theirs, foreach=True),
    "torch fused": functools.partial(theirs, fused=True),
    "flat lessons": flat(ours),
    "flat torch": flat(theirs),
    "flat torch fused": flat(functools.partial(theirs, fused=True)),
}
WAYS = {  # further ways to make AdamW's step
    "torch compiled": compiled,
    "out of place": out_of_place,
    "in place, one scratch buffer": with_scratch,
}


# --- memory, training, sweeps: functions that do it once ------------------------------------------------


def pass_over_memory(operation):
    a, b, c = (torch.ones(10_000_000) for _ in range(3))
    return {
        "copy": lambda: a.copy_(b),  # 8 bytes a number
        "triad": lambda: torch.add(b, c, alpha=0.5, out=a),  # 12
        "triad in place": lambda: a.add_(b, alpha=1e-9),  # 12
    }[operation]


def steps_in_the_cache(step):
    def all_of_them():
        for _ in range(50):
            step()

    return all_of_them


def iteration(make):
    """A whole training step over 2,000 tiny tensors."""
    params = make_params("2,000 of 64")
    step = make("AdamW", params)

    def once():
        step.__self__.zero_grad()
        torch.stack([p.square().sum() for p in params]).sum().backward()
        step()

    return once


def forward_and_backward(batch):
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    x, y = torch.randn(batch, 784), torch.randint(10, (batch,))

    def once():
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()

    return once


GRID = dict(lr=np.logspace(-3.5, -1, 10), weight_decay=np.logspace(-3, 0, 10))
STEPS, BATCH = 185, 32


def network(hidden=32):
    return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


class Wrapped(nn.Module):
    """The same network as a module that a sweep knows nothing about, and hands to vmap."""

    def __init__(self, hidden):
        super().__init__()
        self.layers = network(hidden)

    def forward(self, x):
        return self.layers(x)


def sweep_of(model):
    return lambda: sweep(
        lessons.AdamW, model, digits(), GRID, [0], steps=STEPS, batch_size=BATCH
    )


def loop_of_runs(hidden):
    data = digits()
    x, y = data["train"]
    accuracies = []
    for lr in GRID["lr"]:
        for weight_decay in GRID["weight_decay"]:
            torch.manual_seed(0)
            model = network(hidden)
            optimizer = torch.optim.AdamW(
                model.parameters(), lr=lr, weight_decay=weight_decay
            )
            train(model, optimizer, x, y, steps=STEPS, batch_size=BATCH)
            with torch.no_grad():
                accuracies.append(
                    [
                        (model(inputs).argmax(1) == targets).float().mean()
                        for inputs, targets in data.values()
                    ]
                )
    return accuracies


# --- the cases ------------------------------------------------------------------------------------------


def cases():
    """Yield labels, a function that makes what is timed, and how often to time it in each turn."""
    for operation in ("copy", "triad", "triad in place"):
        labels = ("memory", "10M", "", operation)
        yield labels, functools.partial(pass_over_memory, operation), 10
    for shape in SHAPES:
        contenders = CONTENDERS
        if shape in ("10M in 2", CACHED):  # beside "10M in 50", to see what the cache does
            contenders = {name: CONTENDERS[name] for name in ("torch", "torch fused")}
        for rule, (name, settings) in RULES.items():
            for contender, make in contenders.items():
                if "fused" in contender and name == "RMSprop":
                    continue  # torch has none

                def step(make=make, name=name, shape=shape, settings=settings):
                    step = make(name, make_params(shape), **settings)
                    return steps_in_the_cache(step) if shape == CACHED else step

                yield ("step", shape, rule, contender), step, ROUNDS.get(shape, 6)

        def prox(shape=shape):
            return ours("SGD", make_params(shape), l1=1e-4)

        if contenders is CONTENDERS:
            yield ("step", shape, "SGD", "lessons, l1 prox"), prox, ROUNDS.get(shape, 6)
    for way, make in WAYS.items():

        def other(make=make):
            return make("AdamW", make_params("10M in 50"))

        yield ("step", "10M in 50", "AdamW", way), functools.cache(other), 6
    for batch in (1, 8, 64, 512):
        labels = ("training", "MLP", "", f"forward and backward, batch {batch}")
        yield labels, functools.partial(forward_and_backward, batch), 20
    for contender in ("torch", "torch fused", "flat lessons"):
        labels = ("iteration", "2,000 of 64", "AdamW", contender)
        yield labels, functools.partial(iteration, CONTENDERS[contender]), 6
    for hidden in (32, 128):
        shape = f"MLP 64-{hidden}-10"
        loop = functools.partial(loop_of_runs, hidden)
        yield ("sweep", shape, "AdamW", "loop of torch"), lambda loop=loop: loop, 1
        for contender, model in {"sweep": network, "sweep by vmap": Wrapped}.items():
            stack = functools.partial(sweep_of, functools.partial(model, hidden))
            yield ("sweep", shape, "AdamW", contender), stack, 3


CASES = list(cases())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: ", ".join(filter(None, case[0])))
@pytest.mark.parametrize("turn", range(3))
def test_cost(benchmark, case, turn):
    labels, make, rounds = case
    benchmark.extra_info["labels"] = labels
    benchmark.pedantic(make(), rounds=rounds, warmup_rounds=min(rounds - 1, 2))
