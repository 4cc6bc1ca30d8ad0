"""Two L1 problems with scikit-learn's solutions, and loops that train on them: all rows a step, or one."""

import functools
import math
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import ElasticNet, LogisticRegression

DOUBLE = dict(dtype=torch.float64)
L1 = 0.1
NOISY_L1 = 0.02


@functools.cache
def regression(l2=0.0):
    """Return X, y and the optimum of ‖Xw − y‖² / 2n + .1 · ‖w‖₁ + ½ l2 · ‖w‖².

    The 20 columns have scales from .2 to 5, so that weights have rates of their own to make a difference. Of
    the true weights 6 are not 0.
    """
    rng = np.random.default_rng(0)
    scales = 10 ** rng.uniform(-0.7, 0.7, 20)
    X = rng.normal(size=(100, 20)) * scales
    w = np.r_[2, -1.5, 1, -0.7, 0.4, 0.3, np.zeros(14)] / scales
    y = X @ w + 0.3 * rng.normal(size=100)
    # ElasticNet's alpha is the sum of both weights, and l1_ratio the first one's part: Lasso's where l2 is 0.
    model = ElasticNet(
        alpha=L1 + l2,
        l1_ratio=L1 / (L1 + l2),
        fit_intercept=False,
        tol=1e-12,
        max_iter=10**6,
    )
    optimum = model.fit(X, y).coef_
    return torch.from_numpy(X), torch.from_numpy(y), torch.from_numpy(optimum)


def regression_cost(w, l2=0.0):
    """Return what the optimum of ``regression`` minimises."""
    X, y, _ = regression(l2)
    loss = (X @ w - y).square().mean() / 2
    return (loss + L1 * w.abs().sum() + l2 / 2 * w.square().sum()).item()


def fit_regression(cls, *, steps=1000, decays=False, sign=1, start=0.5, **settings):
    """Return the optimizer's only weights after full-batch steps, and the optimizer.

    Args:
        decays: let the learning rate fall to 0 along half a cosine.
        sign: −1 gives the gradient of −loss.
        start: the value of all weights at first.
    """
    X, y, _ = regression()
    param = torch.nn.Parameter(torch.full((20,), start, **DOUBLE))
    optimizer = cls([param], **{"l1": L1, **settings})
    (group,) = optimizer.param_groups
    lr = group["lr"]
    for step in range(steps):
        if decays:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        param.grad = sign * X.T @ (X @ param.detach() - y) / len(y)
        optimizer.step()
    return param.detach(), optimizer


@functools.cache
def classification():
    """Return the rows, signed by their class, and the optimum of logistic loss + .02 · ‖w‖₁.

    Standardised breast_cancer, with 70 columns of noise after its 30. The optimum has 9 of 100 weights.
    """
    X, y = load_breast_cancer(return_X_y=True)
    noise = np.random.default_rng(0).normal(size=(len(X), 70))
    X = np.hstack([(X - X.mean(0)) / X.std(0), noise])
    model = LogisticRegression(
        l1_ratio=1,
        solver="liblinear",
        C=1 / (len(y) * NOISY_L1),
        fit_intercept=False,
        tol=1e-8,
        max_iter=5000,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no convergence would be one
        optimum = model.fit(X, y).coef_[0]
    rows = torch.from_numpy(X * (2 * y - 1)[:, None])
    return rows, torch.from_numpy(optimum)


def classification_cost(w):
    """Return what the optimum of ``classification`` minimises, of weights of shape (…, 100)."""
    rows, _ = classification()
    loss = F.softplus(-(w @ rows.T)).mean(-1)
    return loss + NOISY_L1 * w.abs().sum(-1)


def fit_classification(cls, *, steps, **settings):
    """Return the weights after full-batch steps from 0."""
    rows, _ = classification()
    param = torch.nn.Parameter(torch.zeros(100, **DOUBLE))
    optimizer = cls([param], **{"l1": NOISY_L1, **settings})
    for _ in range(steps):
        param.grad = -torch.sigmoid(-(rows @ param.detach())) @ rows / len(rows)
        optimizer.step()
    return param.detach()


def fit_one_row_a_step(cls, *, epochs=5, seeds=3, **settings):
    """Return the weights of ``seeds`` models, each with its own order of the rows: (seeds, 100).

    The rules are elementwise: so the models stand side by side in one parameter.
    """
    rows, _ = classification()
    generator = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.zeros(seeds, 100, **DOUBLE))
    optimizer = cls([param], **{"l1": NOISY_L1, **settings})
    for _ in range(epochs):
        orders = [torch.randperm(len(rows), generator=generator) for _ in range(seeds)]
        for chosen in torch.stack(orders, 1):
            batch = rows[chosen]
            margin = (batch * param.detach()).sum(1, keepdim=True)
            param.grad = -torch.sigmoid(-margin) * batch
            optimizer.step()
    return param.detach()
