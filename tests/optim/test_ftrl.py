"""FTRL-Proximal: against the paper's algorithm, against its definition, and against scikit-learn."""

import copy
import io
import itertools
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from penalized import (
    DOUBLE,
    classification,
    classification_cost,
    fit_classification,
    fit_one_row_a_step,
    fit_regression,
    regression,
    regression_cost,
)

import lessons
from lessons.trace import Trace


def run(weight, grads, cls=lessons.FTRLProximal, rates=None, **settings):
    """Return the weights after each step: (steps, weights). Gradients may be functions of the weights."""
    param = torch.nn.Parameter(torch.tensor(weight, **DOUBLE))
    optimizer = cls([param], **settings)
    seen = []
    for step, grad in enumerate(grads):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates[step]
        grad = grad(param.detach()) if callable(grad) else grad
        param.grad = torch.as_tensor(grad, **DOUBLE).expand_as(param).clone()
        optimizer.step()
        seen.append(param.detach().clone())
    return torch.stack(seen)


def algorithm_1(gradients, features, alpha, beta, lambda1, lambda2):
    """McMahan et al. (2013), Algorithm 1, with the paper's names; λ1 and λ2 may depend on the round.

    Args:
        gradients: a function from a round and the weights, a list, to the gradient, a list.
        features: the number of weights. They start at 0.
        lambda1, lambda2: functions from a round to the paper's λ1 and λ2.

    Yields:
        the weights that each round computes from z and n. The first are of round 1, before any gradient.
    """
    z, n = [0.0] * features, [0.0] * features
    t = 0
    while True:
        w = [0.0] * features
        for i in range(features):
            if abs(z[i]) > lambda1(t):
                sign = 1.0 if z[i] > 0 else -1.0
                rate = (beta + math.sqrt(n[i])) / alpha + lambda2(t)
                w[i] = -(1 / rate) * (z[i] - sign * lambda1(t))
        yield w
        t += 1
        g = gradients(t, w)
        for i in range(features):
            sigma = (math.sqrt(n[i] + g[i] ** 2) - math.sqrt(n[i])) / alpha
            z[i] += g[i] - sigma * w[i]
            n[i] += g[i] ** 2


@pytest.mark.parametrize("l2", [0, 0.7])
@pytest.mark.parametrize("l1", [0, 0.4])
@pytest.mark.parametrize("lr, beta", [(0.1, 1.0), (2.0, 0.3)])
@pytest.mark.parametrize("per_step", [False, True])
def test_follows_the_published_algorithm(per_step, lr, beta, l1, l2):
    noise = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), **DOUBLE)
    noise[::7, 1] = 0  # a feature that is not in every row
    noise[:5, 2] = 0  # nor in the first ones
    slopes = [1.0, 0.0, -0.3, 0.1]  # the gradients depend on the weights

    def gradients(t, w):
        row = zip(noise[t - 1].tolist(), slopes, w, strict=True)
        return [a + slope * weight for a, slope, weight in row]

    rounds = algorithm_1(
        gradients,
        4,
        lr,
        beta,
        lambda t: l1 * (t if per_step else 1),
        lambda t: l2 * (t if per_step else 1),
    )
    assert next(rounds) == [0.0] * 4
    expected = torch.tensor([next(rounds) for _ in range(60)], **DOUBLE)
    seen = run(
        [0.0] * 4,
        [lambda w, row=row: row + torch.tensor(slopes, **DOUBLE) * w for row in noise],
        lr=lr,
        beta=beta,
        l1=l1,
        l2=l2,
        per_step=per_step,
    )
    torch.testing.assert_close(seen, expected, rtol=1e-11, atol=1e-13)
    assert torch.equal(seen == 0, expected == 0)
    if l1:
        assert (seen == 0).any() and (seen != 0).any()


def test_the_first_step_by_default():
    """lr / (beta + √g²) · g, with lr 0.1 and beta 1 and without penalties."""
    assert run([0.0, 3.0], [1.0])[0].tolist() == pytest.approx([-0.05, 2.95])


numbers = st.floats(-5, 5)


@given(
    numbers,
    st.lists(st.tuples(numbers, st.floats(0.05, 2)), min_size=1, max_size=6),
    st.floats(0, 3),
    st.floats(0, 3),
    st.booleans(),
    numbers,
)
def test_the_new_weight_minimises_its_objective(start, steps, l1, l2, per_step, other):
    """Σ g·x + ½ Σ σ·(x − past weight)² + L1·|x| + ½ L2·x², from any start and under any schedule."""
    grads, rates = zip(*steps, strict=True)
    settings = dict(lr=rates[0], beta=0.5, l1=l1, l2=l2, per_step=per_step)
    seen = run([start], [[g] for g in grads], rates=rates, **settings)[:, 0].tolist()
    pasts = [
        start,
        start,
        *seen,
    ]  # beta's share of the first 1/η is centred on the start too
    inverse = [0.0, 0.5 / rates[0]]
    for t in range(1, len(grads) + 1):
        inverse.append((0.5 + math.sqrt(sum(g * g for g in grads[:t]))) / rates[t - 1])
        sigmas = [b - a for a, b in itertools.pairwise(inverse)]
        rounds = t if per_step else 1
        x = seen[t - 1]
        slope = sum(grads[:t]) + l2 * rounds * x
        slope += sum(s * (x - w) for s, w in zip(sigmas, pasts, strict=False))
        bound = l1 * rounds
        wanted = max(-bound, min(bound, slope)) if x == 0 else -math.copysign(bound, x)
        assert slope == pytest.approx(wanted, rel=1e-9, abs=1e-9)

    def cost(x):
        centres = sum(s * (x - w) ** 2 for s, w in zip(sigmas, pasts, strict=False))
        return sum(grads) * x + centres / 2 + bound * abs(x) + l2 * rounds * x * x / 2

    # A rate that grows may make a σ negative; together they stay above 0.
    assert cost(x) <= cost(other) + 1e-9 * (1 + abs(cost(other)))


# --- without penalties ----------------------------------------------------------------------------


@pytest.mark.parametrize("package", [lessons, torch.optim])
@pytest.mark.parametrize("rates", [None, [0.5 / (1 + t / 10) for t in range(50)]])
def test_without_penalties_it_is_adagrad(package, rates):
    """Whose eps is beta: from any start, under any schedule."""
    noise = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), **DOUBLE)
    grads = [lambda w, row=row: row + w for row in noise]
    start = [3.0, -2.0, 0.0]
    seen = run(start, grads, lr=0.5, beta=0.7, rates=rates)
    other = run(start, grads, cls=package.Adagrad, lr=0.5, eps=0.7, rates=rates)
    torch.testing.assert_close(seen, other, rtol=1e-11, atol=1e-13)


def test_the_first_step_by_hand():
    # 1/η = (1 + 3) / .2 = 20: 2 − 3 / 20. With l1 the closed form's z is 3 − 20 · 2 = −37 and loses 5.
    assert run([2.0], [3.0], lr=0.2).item() == pytest.approx(1.85, rel=1e-12)
    assert run([2.0], [3.0], lr=0.2, l1=5).item() == pytest.approx(1.6, rel=1e-12)
    assert run([2.0], [3.0], lr=0.2, l1=5, l2=12).item() == pytest.approx(1.0, rel=1e-12)
    assert run([2.0], [3.0], lr=0.2, l1=37).item() == 0.0


def test_the_start_is_what_the_closed_form_gives_back():
    param = torch.nn.Parameter(torch.tensor([2.0, -0.5, 0.0], **DOUBLE))
    optimizer = lessons.FTRLProximal([param], lr=0.2, beta=0.5, l1=0.1)
    param.grad = torch.zeros_like(param)
    before = param.detach().clone()
    state = optimizer.init_state(param, optimizer.param_groups[0])
    assert set(state) == {"step", "z", "n", "lr"} and not state["n"].any()
    torch.testing.assert_close(-state["z"] * 0.2 / 0.5, before)
    optimizer.step()  # a zero gradient: only the penalty moves it
    expected = before.sign() * (before.abs() - 0.1 * 0.2 / 0.5).clamp(min=0)
    torch.testing.assert_close(param.detach(), expected)
    assert set(optimizer.state[param]) == set(state)


# --- where it settles -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(lr=3.0),
        dict(lr=3.0, start=0.0),
        dict(lr=3.0, beta=0.1, start=-2.0),
        dict(lr=3.0, maximize=True, sign=-1),
        dict(lr=6.0, decays=True, steps=2000),
    ],
    ids=str,
)
def test_settles_where_lasso_does(settings):
    _, _, optimum = regression()
    w, _ = fit_regression(lessons.FTRLProximal, **settings)
    assert torch.equal(w == 0, optimum == 0) and (w == 0).sum() == 8
    torch.testing.assert_close(w, optimum, rtol=0, atol=1e-5)
    assert abs(regression_cost(w) - regression_cost(optimum)) < 1e-9


def test_with_l2_it_is_the_elastic_net():
    """More slowly than L1 alone: the growing L2 term makes the steps as short as 1 / (l2 · step)."""
    _, _, optimum = regression(l2=0.2)
    w, _ = fit_regression(lessons.FTRLProximal, lr=3.0, l2=0.2)
    best = regression_cost(optimum, l2=0.2)
    assert abs(regression_cost(w, l2=0.2) - best) < 1e-4 * best
    assert torch.equal(w == 0, optimum == 0)
    torch.testing.assert_close(w, optimum, rtol=0, atol=1e-2)


def test_settles_where_liblinear_does():
    _, optimum = classification()
    w = fit_classification(lessons.FTRLProximal, lr=8.0, steps=2000)
    best = classification_cost(optimum)
    assert abs(classification_cost(w) - best) < 1e-4 * best
    assert torch.equal(w == 0, optimum == 0) and (w != 0).sum() == 9


def test_the_letter_of_algorithm_1_settles_elsewhere():
    """Its penalty's share shrinks: full batches lead to the unpenalised optimum, and one pass falls short."""
    X, y, optimum = regression()
    w, _ = fit_regression(lessons.FTRLProximal, lr=3.0, steps=3000, per_step=False)
    plain = torch.linalg.lstsq(X, y[:, None]).solution[:, 0]
    assert (w == 0).sum() < (optimum == 0).sum() / 2
    assert (w - plain).abs().max() < (w - optimum).abs().max() / 10
    # λ1 as large as all steps' penalties together.
    rows, best = classification()
    epochs = 2
    settings = dict(lr=0.3, per_step=False, l1=0.02 * epochs * len(rows), epochs=epochs)
    once = fit_one_row_a_step(lessons.FTRLProximal, **settings)
    each = fit_one_row_a_step(lessons.FTRLProximal, lr=0.3, epochs=epochs)
    assert (once == 0).any(1).all()  # sparse as well
    excess = [
        (classification_cost(w) - classification_cost(best)).max() for w in (once, each)
    ]
    assert excess[0] > 10 * excess[1]


# --- as an optimizer ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lr", "beta", "l1", "l2"])
def test_numbers_are_checked(name):
    label = "learning rate" if name == "lr" else f"{name} value"
    for value in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"Invalid {label}: {value}"):
            lessons.FTRLProximal([torch.zeros(1)], **{name: value})
    for value in ("0.1", None, True):
        with pytest.raises(TypeError, match=f"{name} must be a number"):
            lessons.FTRLProximal([torch.zeros(1)], **{name: value})
    if name == "beta":
        with pytest.raises(ValueError, match=r"beta must be above 0, but got 0\.0"):
            lessons.FTRLProximal([torch.zeros(1)], beta=0.0)


def test_per_step_is_a_bool():
    with pytest.raises(TypeError, match="per_step must be a bool, but got 1"):
        lessons.FTRLProximal([torch.zeros(1)], per_step=1)


def test_maximize_leaves_the_penalties_alone():
    settings, grads = dict(l1=0.2, l2=0.3), [0.3, -2.0, 1.0, 0.1]
    up = run([1.0, -1.0], [-grad for grad in grads], maximize=True, **settings)
    assert torch.equal(up, run([1.0, -1.0], grads, **settings))


def test_each_group_has_its_own_settings():
    params = [torch.nn.Parameter(torch.ones(2, **DOUBLE)) for _ in range(2)]
    groups = [{"params": params[:1], "l1": 99.0}, {"params": params[1:], "lr": 0.4}]
    optimizer = lessons.FTRLProximal(groups)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    assert not params[0].any()
    torch.testing.assert_close(params[1].detach(), torch.full((2,), 1 - 0.4 / 2, **DOUBLE))


def test_a_tensor_as_rate_that_a_schedule_changes_in_place():
    grads = [1.0, -2.0, 0.5, 0.3]
    rates = [0.4, 0.2, 0.1, 0.1]
    expected = run([1.0, -1.0], grads, rates=rates, lr=0.4, l1=0.05)
    param = torch.nn.Parameter(torch.tensor([1.0, -1.0], **DOUBLE))
    lr = torch.tensor(0.4, **DOUBLE)
    optimizer = lessons.FTRLProximal([param], lr=lr, l1=0.05)
    for row, rate, grad in zip(expected, rates, grads, strict=True):
        lr.fill_(rate)
        param.grad = torch.full_like(param, grad)
        optimizer.step()
        torch.testing.assert_close(param.detach(), row, rtol=1e-12, atol=1e-13)


def copies(checkpoint):
    """Return the checkpoint as it is, and after each way to a file and back."""
    file = io.BytesIO()
    torch.save(checkpoint, file)
    file.seek(0)
    pickled = pickle.loads(pickle.dumps(checkpoint))
    return [copy.deepcopy(checkpoint), torch.load(file), pickled]


@pytest.mark.parametrize("tensor_lr", [False, True])
def test_goes_on_from_a_checkpoint_as_if_never_stopped(tensor_lr):
    grads = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))

    def make(values):
        param = torch.nn.Parameter(values)
        lr = torch.tensor(0.3) if tensor_lr else 0.3
        return param, lessons.FTRLProximal([param], lr=lr, l1=0.05)

    def train(param, optimizer, grads):
        for grad in grads:
            optimizer.param_groups[0]["lr"] *= 0.95
            param.grad = grad.clone()
            optimizer.step()

    param, optimizer = make(torch.ones(4))
    train(param, optimizer, grads[:10])
    checkpoints = copies(optimizer.state_dict())
    half = param.detach().clone()
    train(param, optimizer, grads[10:])
    for checkpoint in checkpoints:
        other, resumed = make(half.clone())
        resumed.load_state_dict(checkpoint)
        train(other, resumed, grads[10:])
        assert torch.equal(other, param)


def test_refuses_another_optimizers_state():
    saved = lessons.Adagrad([torch.zeros(1)]).state_dict()
    with pytest.raises(ValueError, match=r"FTRLProximal cannot load another .* no beta"):
        lessons.FTRLProximal([torch.zeros(1)]).load_state_dict(saved)


def test_each_model_of_a_stack_has_its_own_settings():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 6, generator=generator, **DOUBLE)
    grads = torch.randn(20, 3, 6, generator=generator, **DOUBLE)
    each = dict(
        lr=[0.1, 0.3, 2.0], beta=[1.0, 0.5, 1.0], l1=[0, 0.3, 0.1], l2=[0.5, 0, 0.1]
    )
    columns = {
        name: torch.tensor(values, **DOUBLE)[:, None] for name, values in each.items()
    }
    together, cls = start.clone(), lessons.FTRLProximal
    state = cls.init_state(together, columns)
    for grad in grads:
        cls.rule(together, grad, state, **columns, per_step=True)
    for model in range(3):
        own = {name: values[model] for name, values in each.items()}
        alone = run(start[model].tolist(), grads[:, model], **own)[-1]
        torch.testing.assert_close(together[model], alone, rtol=1e-11, atol=1e-13)


def test_the_gradient_is_left_as_it_was():
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = lessons.FTRLProximal([param], l1=0.1)
    param.grad = torch.full_like(param, 0.3)
    for _ in range(3):
        optimizer.step()
    assert torch.equal(param.grad, torch.full((3,), 0.3))


def test_keeps_to_the_device_type_and_layout(device, dtype):
    param = torch.nn.Parameter(torch.ones(3, 2, device=device, dtype=dtype).t())
    optimizer = lessons.FTRLProximal([param], l1=0.1)
    param.grad = torch.full_like(param, 0.5)
    optimizer.step()
    assert param.dtype == dtype and param.stride() == (1, 2) and (param < 1).all()
    for name in ("z", "n"):
        value = optimizer.state[param][name]
        assert (value.dtype, value.device) == (dtype, param.device)
        assert value.stride() == param.stride()


def test_the_tracer_says_that_it_cannot():
    with pytest.raises(TypeError, match=r"Trace knows SGD, .* not <class .*FTRLProximal"):
        Trace(lessons.FTRLProximal([torch.zeros(1)]))


def test_the_penalty_is_what_it_says_at_any_scale_of_the_loss():
    """The loss, l1, l2 and beta times 8: the same weights."""
    grads = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), **DOUBLE)
    plain = run([1.0, -1.0, 0.0, 0.2], grads, lr=0.3, beta=0.5, l1=0.2, l2=0.1)
    scaled = run([1.0, -1.0, 0.0, 0.2], grads * 8, lr=0.3, beta=4.0, l1=1.6, l2=0.8)
    assert torch.equal(plain, scaled)
