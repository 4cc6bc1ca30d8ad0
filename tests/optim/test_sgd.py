"""SGD, and its three ways to apply an L1 penalty."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import compare, product, show
from sklearn.linear_model import Lasso

import lessons

OPTIONS = [
    settings
    for settings in product(
        momentum=[0, 0.9],
        dampening=[0, 0.3],
        nesterov=[False, True],
        weight_decay=[0, 0.1],
        maximize=[False, True],
    )
    if not settings["nesterov"] or (settings["momentum"] and not settings["dampening"])
]
OTHER = dict(lr=3e-3, momentum=0.5, dampening=0.2, nesterov=False, weight_decay=0.02)
DOUBLE = dict(dtype=torch.float64)


@pytest.mark.parametrize("settings", OPTIONS, ids=show)
def test_equals_torch_to_the_last_bit(device, dtype, settings):
    compare("SGD", device, dtype, OTHER, {"lr": 1e-2, **settings})


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_takes_a_tensor_as_learning_rate(device, dtype, momentum):
    lr = torch.tensor(1e-2, dtype=dtype, device=device)
    compare("SGD", device, dtype, dict(weight_decay=0.1), {"lr": lr, "momentum": momentum})


def run(weight, grads, **settings):
    """Return the weights after each step; ``grads`` holds gradients, or functions of the weights."""
    param = torch.nn.Parameter(torch.tensor(weight, **DOUBLE))
    optimizer = lessons.SGD([param], **settings)
    seen = []
    for grad in grads:
        param.grad = torch.as_tensor(
            grad(param.detach()) if callable(grad) else grad, **DOUBLE
        ).expand_as(param)
        optimizer.step()
        seen.append(param.detach().clone())
    return torch.stack(seen)


def test_dampening_skips_the_first_step():
    # Buffer: 1, then 0.5 · 1 + 0.25 · 1.
    assert run(0.0, [1, 1], lr=1, momentum=0.5, dampening=0.75).tolist() == [-1.0, -1.75]


def test_nesterov_looks_ahead():
    # Buffer: 1, then 1.5; the steps are gradient + 0.5 · buffer.
    assert run(0.0, [1, 1], lr=1, momentum=0.5, nesterov=True).tolist() == [-1.5, -3.25]


numbers = st.floats(-100, 100).filter(lambda number: number == 0 or abs(number) > 1e-6)


@given(
    st.lists(numbers, min_size=1, max_size=4),
    st.lists(numbers, min_size=1, max_size=5),
    st.floats(0, 1),
)
def test_l2_is_decay_with_lambda_over_lr(weight, grads, decay):
    lr = 0.1
    seen = run(weight, grads, lr=lr, weight_decay=decay / lr)[-1]
    expected = torch.tensor(weight, **DOUBLE)
    for grad in grads:
        expected = (1 - decay) * expected - lr * grad
    torch.testing.assert_close(seen, expected, rtol=1e-13, atol=1e-12)


# --- L1: where it settles -------------------------------------------------------------------------


@functools.cache
def lasso(l1=0.1):
    """Return a regression problem (X, y) and what scikit-learn's Lasso makes of it: 4 of 12 weights are 0."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 12))
    y = X[:, :6] @ [2, -1.5, 1, -0.7, 0.4, 0.15] + 0.3 * rng.normal(size=60)
    optimum = (
        Lasso(alpha=l1, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, y).coef_
    )
    return torch.from_numpy(X), torch.from_numpy(y), torch.from_numpy(optimum)


def objective(w, l1=0.1):
    """Return scikit-learn's loss: ‖Xw − y‖² / 2n + l1 · ‖w‖₁."""
    X, y, _ = lasso(l1)
    return (X @ w - y).square().mean() / 2 + l1 * w.abs().sum()


def fit(steps=1000, l1=0.1, maximize=False, **settings):
    """Return the weights of a regression after full-batch steps from 0.5."""
    X, y, optimum = lasso(l1)
    sign = -1 if maximize else 1

    def gradient(w):
        return sign * (X.T @ (X @ w - y)) / len(y)

    settings = dict(lr=0.05, l1=l1, maximize=maximize) | settings
    return run([0.5] * len(optimum), [gradient] * steps, **settings)[-1]


MOMENTA = [
    dict(),
    dict(dampening=0.5),  # without momentum it does nothing
    dict(momentum=0.9),
    dict(momentum=0.9, nesterov=True),
    dict(momentum=0.8, dampening=0.3),
    dict(momentum=0.5, dampening=0.9, lr=0.2),
    dict(momentum=0.9, maximize=True),
]


@pytest.mark.parametrize("l1_method", ["prox", "cumulative"])
@pytest.mark.parametrize("momentum", MOMENTA, ids=show)
def test_settles_where_lasso_does(l1_method, momentum):
    optimum = lasso()[2]
    assert 0 < (optimum == 0).sum() < len(optimum)
    w = fit(l1_method=l1_method, **momentum)
    if l1_method == "prox":
        assert (objective(w) - objective(optimum)).abs() < 1e-9
        assert torch.equal(w == 0, optimum == 0)
        torch.testing.assert_close(w, optimum, rtol=0, atol=1e-6)
    else:  # its account remembers the way there, so that it settles nearby only
        assert objective(w) - objective(optimum) < 1e-2


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_the_subgradient_comes_near_and_gives_no_zeros(momentum):
    w = fit(l1_method="subgradient", momentum=momentum, lr=0.01 * (1 - momentum))
    optimum = lasso()[2]
    assert (w != 0).all()
    assert objective(w) - objective(optimum) < 1e-3
    assert w[optimum == 0].abs().max() < 1e-2


def test_elastic_net():
    """The L2 penalty stays in the gradient, so that both together reach the elastic net's optimum."""
    from sklearn.linear_model import ElasticNet

    X, y, _ = lasso()
    model = ElasticNet(
        alpha=0.3, l1_ratio=1 / 3, fit_intercept=False, tol=1e-12, max_iter=100_000
    )
    optimum = torch.from_numpy(model.fit(X.numpy(), y.numpy()).coef_)
    w = fit(weight_decay=0.2, momentum=0.9)
    assert torch.equal(w == 0, optimum == 0)
    torch.testing.assert_close(w, optimum, rtol=0, atol=1e-6)


# --- L1: how it moves -----------------------------------------------------------------------------


def noisy(l1_method, steps=1500, l1=0.1):
    """Return the weights after steps on one random row of the problem at a time."""
    X, y, optimum = lasso(l1)
    rows = torch.randint(
        len(y), (steps,), generator=torch.Generator().manual_seed(0)
    ).tolist()
    grads = [lambda w, row=row: X[row] * (X[row] @ w - y[row]) for row in rows]
    return run([0.0] * len(optimum), grads, lr=0.01, l1=l1, l1_method=l1_method)[-1]


def test_cumulative_is_the_sparser_under_noise():
    zeros = {
        name: (noisy(name) == 0).sum().item()
        for name in ("subgradient", "prox", "cumulative")
    }
    assert zeros["subgradient"] == 0
    assert zeros["cumulative"] > zeros["prox"]


def apply_penalty(w, q, u):
    """One weight's ApplyPenalty: Tsuruoka, Tsujii and Ananiadou (2009), Figure 2, with w, q and u as there."""
    z = w
    if w > 0:
        w = max(0, w - (u + q))
    elif w < 0:
        w = min(0, w + (u - q))
    return w, q + (w - z)


@pytest.mark.parametrize("momentum", MOMENTA[:5], ids=show)
def test_cumulative_follows_the_published_procedure(momentum):
    generator = torch.Generator().manual_seed(0)
    grads = torch.randn(200, 5, generator=generator, **DOUBLE)
    settings = dict(lr=0.1, **momentum)
    l1, start = 0.3, [0.5, -0.5, 0.0, 2.0, -2.0]
    seen = run(start, list(grads), l1=l1, l1_method="cumulative", **settings)
    # Plain SGD's gradient steps do not depend on the weights here, so its differences serve each weight.
    plain = run(start, list(grads), **settings)
    moves = torch.diff(plain, dim=0, prepend=torch.tensor([start], **DOUBLE))
    rate = 0.1 * l1
    if "momentum" in momentum:
        rate *= (1 - momentum.get("dampening", 0)) / (1 - momentum["momentum"])
    for i, w in enumerate(start):
        q = u = 0.0
        for t, move in enumerate(moves[:, i].tolist()):
            u += rate
            w, q = apply_penalty(w + move, q, u)
            assert seen[t, i].item() == pytest.approx(w, rel=1e-12, abs=1e-12)
    assert (seen == 0).any()


numbers32 = st.floats(-8, 8, width=32)


@given(
    st.lists(numbers32, min_size=3, max_size=3),
    st.lists(numbers32, min_size=1, max_size=20),
)
def test_prox_is_clipping_at_zero(weight, grads):
    """For plain SGD: subtract lr · l1 · sign(w) after the step, and stop at zero where that would cross it."""
    lr, l1 = 0.125, 0.5
    seen = run(weight, grads, lr=lr, l1=l1)
    w = torch.tensor(weight, **DOUBLE)
    for row, grad in zip(seen, grads, strict=True):
        w = w - lr * grad
        clipped = w - lr * l1 * w.sign()
        w = torch.where(clipped.sign() == w.sign(), clipped, 0.0)
        assert torch.equal(row, w)


@pytest.mark.parametrize("l1_method", ["subgradient", "prox", "cumulative"])
def test_maximize_leaves_the_penalties_alone(l1_method):
    settings = dict(lr=0.1, momentum=0.5, weight_decay=0.1, l1=0.2, l1_method=l1_method)
    grads = [0.3, -2.0, 1.0, 0.1]
    up = run([1.0, -1.0], [-grad for grad in grads], maximize=True, **settings)
    assert torch.equal(up, run([1.0, -1.0], grads, **settings))


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("l1_method", ["subgradient", "prox", "cumulative"])
def test_no_penalty_is_plain_sgd(l1_method, momentum):
    grads = [0.3, -2.0, 1.0]
    seen = run(
        [1.0, -1.0, 0.0], grads, lr=0.1, momentum=momentum, l1=0, l1_method=l1_method
    )
    assert torch.equal(seen, run([1.0, -1.0, 0.0], grads, lr=0.1, momentum=momentum))


def test_subgradient_is_the_penalty_in_the_loss():
    X, y, _ = lasso()
    params = [torch.nn.Parameter(torch.full((12,), 0.5, **DOUBLE)) for _ in range(2)]
    ours = lessons.SGD(params[:1], lr=0.05, momentum=0.9, l1=0.1, l1_method="subgradient")
    theirs = torch.optim.SGD(params[1:], lr=0.05, momentum=0.9)
    for _ in range(100):
        for param, optimizer, l1 in [(params[0], ours, 0), (params[1], theirs, 0.1)]:
            optimizer.zero_grad()
            ((X @ param - y).square().mean() / 2 + l1 * param.abs().sum()).backward()
            optimizer.step()
    torch.testing.assert_close(*params, rtol=0, atol=1e-12)
