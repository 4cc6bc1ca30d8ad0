"""Train with an optimizer of the package and with torch's, and compare them to the last bit."""

import copy
import functools
import itertools

import torch

import lessons

STEPS = 1000
NAMES = ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop"]
SHAPES = [(5, 3), (), (4,), (0, 3)]  # the first becomes a transposed parameter


def product(**options) -> list[dict]:
    """Return every combination of the options' values, each a dict of settings."""
    return [
        dict(zip(options, values, strict=True))
        for values in itertools.product(*options.values())
    ]


def show(settings: dict) -> str:
    """Return a test's id: ``"lr=0.1,eps=0"``."""
    return ",".join(f"{name}={value}" for name, value in settings.items())


def make_params(device="cpu", dtype=torch.float64) -> list:
    """Return four parameters: transposed, 0-d, a vector and an empty one."""
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES
    ]
    values[0] = values[0].t()
    return [torch.nn.Parameter(value.to(device, dtype)) for value in values]


@functools.cache
def make_grads(device="cpu", dtype=torch.float64, steps=STEPS) -> list:
    """Return one gradient a parameter for every step: random, here and there None or zero.

    The parameters after the first mostly have None, which saves time. No parameter's first gradient is zero,
    so that eps = 0 divides nothing by zero.
    """
    generator = torch.Generator().manual_seed(1)

    def one(step, index, param):
        turn = step + index
        if turn % 7 == 3 or (index > 0 and turn % 10 != 4):
            return None
        if turn % 11 == 5:
            return torch.zeros_like(param)
        noise = torch.randn(
            param.shape, generator=generator, dtype=torch.float64
        ) * 10.0 ** (index - 1)
        return noise.to(param)

    params = [param.detach() for param in make_params(device, dtype)]
    return [
        [one(step, i, param) for i, param in enumerate(params)] for step in range(steps)
    ]


def train(optimizer, grads, first=0) -> None:
    """Step through ``grads``; every 250 steps the learning rate of each group falls to .7 of itself."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for step, row in enumerate(grads, start=first):
        if step % 250 == 249:
            for group in optimizer.param_groups:
                group["lr"] *= 0.7
        for param, grad in zip(params, row, strict=True):
            param.grad = grad
        optimizer.step()


def make(package, name, params, other=None, **settings):
    """Return ``package``'s optimizer ``name`` for two groups, the second with the settings ``other``.

    torch's are made to take their single-tensor path.
    """
    if package is torch.optim:
        settings |= (
            dict(foreach=False) if name == "RMSprop" else dict(foreach=False, fused=False)
        )
    groups = [{"params": params[:2]}, {"params": params[2:], **(other or {})}]
    return getattr(package, name)(groups, **settings)


def assert_equal(ours, theirs) -> None:
    """Raise unless all parameters and all state of two optimizers are equal to the last bit."""
    pairs = [
        (a, b)
        for one, two in zip(ours.param_groups, theirs.param_groups, strict=True)
        for a, b in zip(one["params"], two["params"], strict=True)
    ]
    for a, b in pairs:
        assert torch.isfinite(b).all()
        assert torch.equal(a, b), f"parameters differ by {(a - b).abs().max()}"
        assert a.stride() == b.stride()
        mine, other = ours.state[a], theirs.state[b]
        assert set(mine) == set(other)
        for key in mine:
            assert (
                mine[key].dtype == other[key].dtype
                and mine[key].device == other[key].device
            )
            assert mine[key].stride() == other[key].stride()
            assert torch.equal(mine[key], other[key]), f"{key} differs"


def compare(name, device, dtype, other, settings) -> None:
    """Train with both optimizers for 1,000 steps from the same start, and raise unless they end equal."""
    grads = make_grads(device, dtype)
    ends = []
    for package in (lessons, torch.optim):
        ends.append(
            make(
                package, name, make_params(device, dtype), other, **copy.deepcopy(settings)
            )
        )
        train(ends[-1], grads)
    assert_equal(*ends)
