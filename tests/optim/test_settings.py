"""Settings of every kind, at the start and in mid-training: taken, or refused by name before all else."""

import copy
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

import lessons
from lessons.optim import base
from lessons.optim.base import check_number

FLAGS = {
    "SGD": ["maximize", "nesterov"],
    "Adagrad": ["maximize"],
    "Adam": ["maximize", "amsgrad", "decoupled_weight_decay"],
    "AdamW": ["maximize", "amsgrad"],
    "RMSprop": ["maximize", "centered"],
    "FTRLProximal": ["maximize", "per_step"],
}
EVERY = list(FLAGS)
DOUBLE = dict(dtype=torch.float64)


def one_param(name, *values, **settings):
    """Return a parameter (default: three weights) with a gradient, and an optimizer for it."""
    param = torch.nn.Parameter(torch.tensor(values or [1.0, -2.0, 0.5], **DOUBLE))
    param.grad = torch.ones_like(param)
    return param, getattr(lessons, name)([param], **settings)


# --- kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, flag", [(n, flag) for n, flags in FLAGS.items() for flag in flags]
)
def test_a_flag_is_a_bool(name, flag):
    settings = {"momentum": 0.9} if name == "SGD" else {}
    for value in (True, False, np.True_, np.False_):
        _, optimizer = one_param(name, **settings, **{flag: value})
        optimizer.step()
    for value in ("False", "True", "", 0, 1, 1.0, None, torch.tensor(True)):
        with pytest.raises(TypeError) as error:
            one_param(name, **settings, **{flag: value})
        assert str(error.value) == f"{flag} must be a bool, but got {value!r}"


def test_numpys_flag_counts_like_pythons():
    for value in (True, False):
        ends = [one_param("Adam", amsgrad=v, maximize=v) for v in (value, np.bool_(value))]
        for _, optimizer in ends:
            optimizer.step()
        assert torch.equal(ends[0][0], ends[1][0])


@pytest.mark.parametrize("name", EVERY)
def test_a_number_is_an_int_or_a_float(name):
    for value in (Fraction(1, 10), Decimal("0.1"), 0.1 + 0j, [0.1], {0.1}, np.complex64(1)):
        with pytest.raises(TypeError, match="lr must be a number, but got"):
            one_param(name, lr=value)
    for value in (torch.tensor(True), torch.tensor(1j), torch.tensor([1 + 0j])):
        with pytest.raises(TypeError, match="lr must be a number, but got Tensor"):
            one_param(name, lr=value)


@pytest.mark.parametrize("kind", [np.uint8, np.uint64, np.int8, np.int64])
@pytest.mark.parametrize("name", EVERY)
def test_an_integer_of_numpy_is_a_number(name, kind):
    """Also an unsigned one: −np.uint8(1) is 255."""
    ends = [one_param(name, lr=lr) for lr in (1, kind(1))]
    for _, optimizer in ends:
        for _ in range(3):
            optimizer.step()
    assert torch.equal(ends[0][0], ends[1][0]) and ends[0][0].isfinite().all()


@pytest.mark.parametrize("value", [None, 1, True, ["prox"], b"prox"])
def test_l1_method_is_text(value):
    with pytest.raises(TypeError) as error:
        one_param("SGD", l1_method=value)
    expected = f"l1_method must be text, but got {type(value).__name__}: {value!r}"
    assert str(error.value) == expected


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_a_tensor_beta_beside_a_number_is_refused_as_in_torch(name):
    for betas in [(torch.tensor(0.9), 0.99), (0.9, torch.tensor(0.99))]:
        for package in (lessons, torch.optim):
            with pytest.raises(
                ValueError, match=r"^betas must be either both floats or both"
            ):
                getattr(package, name)([torch.zeros(1)], betas=betas)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_tensor_of_one_element_suits_every_shape(shape):
    """The weight is 0-d: a setting of shape (1,) must not give the state its own shape."""
    for settings in (dict(lr=0.1), dict(beta=0.5), dict(l1=0.1), dict(l2=0.2)):
        ends = []
        for kind in (float, lambda value: torch.full(shape, value, **DOUBLE)):
            param = torch.nn.Parameter(torch.tensor(2.0, **DOUBLE))
            own = {name: kind(value) for name, value in settings.items()}
            optimizer = lessons.FTRLProximal([param], **own)
            for _ in range(3):
                param.grad = torch.ones_like(param)
                optimizer.step()
            assert optimizer.state[param]["z"].shape == ()
            ends.append(param.detach())
        torch.testing.assert_close(*ends, rtol=1e-14, atol=0)


# --- in mid-training ------------------------------------------------------------------------------------

BAD = [
    *[
        (EVERY, "lr", value, ValueError, "Invalid learning rate")
        for value in (math.nan, -1, math.inf)
    ],
    *[
        (EVERY, "lr", value, TypeError, "lr must be a number")
        for value in ("0.1", None, True)
    ],
    (EVERY, "maximize", "False", TypeError, "maximize must be a bool, but got 'False'"),
    (
        ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop"],
        "weight_decay",
        math.nan,
        ValueError,
        "Invalid weight_decay value: nan",
    ),
    (
        ["SGD", "Adagrad", "Adam", "AdamW", "FTRLProximal"],
        "l1",
        -1.0,
        ValueError,
        r"Invalid l1 value: -1\.0",
    ),
    (
        ["Adam", "AdamW"],
        "betas",
        (0.9, 1.0),
        ValueError,
        r"beta parameter at index 1: 1\.0",
    ),
    (["Adam", "AdamW"], "betas", (0.9, "0.9"), TypeError, r"betas\[1\] must be a number"),
    (
        ["Adam", "AdamW"],
        "amsgrad",
        True,
        ValueError,
        "amsgrad became True in mid-training, but the state has no max_exp_avg_sq",
    ),
    (["SGD"], "nesterov", True, ValueError, "Nesterov momentum requires"),
    (["SGD"], "l1_method", "clip", ValueError, "Invalid l1_method: 'clip'"),
    (["RMSprop"], "alpha", 1.0, ValueError, "Invalid alpha value"),
    (
        ["RMSprop"],
        "momentum",
        0.9,
        ValueError,
        "momentum became 0.9 in mid-training, but the state has no momentum_buffer",
    ),
    (
        ["RMSprop"],
        "centered",
        True,
        ValueError,
        "centered became True in mid-training, but the state has no grad_avg",
    ),
    (["FTRLProximal"], "beta", 0, ValueError, "beta must be above 0, but got 0"),
]


@pytest.mark.parametrize(
    "name, setting, value, error, message",
    [(n, *rest) for names, *rest in BAD for n in names],
)
def test_a_setting_made_bad_is_refused_before_anything_changes(
    name, setting, value, error, message
):
    """In the second of two groups: the first must not have stepped either."""
    params = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = getattr(lessons, name)([{"params": [param]} for param in params])
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    group = optimizer.param_groups[1]
    good = group[setting]
    before = copy.deepcopy((params, list(optimizer.state.values())))
    group[setting] = value
    for _ in range(2):  # not the first time alone
        with pytest.raises(error, match=message):
            optimizer.step()
        assert str((params, list(optimizer.state.values()))) == str(before)
    group[setting] = good
    optimizer.step()
    assert str(params) != str(before[0])


@pytest.mark.parametrize("name", EVERY)
def test_a_tensor_made_bad_in_place_is_refused(name):
    lr = torch.tensor(0.1)
    param, optimizer = one_param(name, lr=lr)
    optimizer.step()
    before = param.detach().clone()
    for value in (math.nan, -0.1):
        lr.data.fill_(value)
        with pytest.raises(ValueError, match="Invalid learning rate"):
            optimizer.step()
        assert torch.equal(param, before)


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_a_list_of_betas_made_bad_in_place_is_refused(kind):
    betas = [kind(0.9), kind(0.99)]
    _, optimizer = one_param("Adam", betas=betas)
    optimizer.step()
    betas[1] = kind(1.5)
    with pytest.raises(ValueError, match="beta parameter at index 1"):
        optimizer.step()
    if kind is torch.tensor:
        _, optimizer = one_param("Adam", betas=(kind(0.9), second := kind(0.99)))
        optimizer.step()
        second.fill_(1.5)
        with pytest.raises(ValueError, match="beta parameter at index 1"):
            optimizer.step()


@pytest.mark.parametrize("name", EVERY)
def test_settings_that_stay_are_checked_once(name, monkeypatch):
    cls, seen = getattr(lessons, name), []
    check = cls.check
    monkeypatch.setattr(cls, "check", staticmethod(lambda group: seen.append(check(group))))
    _, optimizer = one_param(name)
    seen.clear()
    for _ in range(5):
        optimizer.step()
    assert len(seen) == 1
    optimizer.param_groups[0]["lr"] = 0.25
    for _ in range(5):
        optimizer.step()
    assert len(seen) == 2
    optimizer.add_param_group({"params": [torch.zeros(1)]})
    seen.clear()
    for _ in range(5):
        optimizer.step()
    assert len(seen) == 2  # both groups, once


@pytest.mark.parametrize("name", ["Adam", "RMSprop"])
def test_what_is_on_from_the_start_stays_on(name):
    """A schedule changes lr, and a second parameter has its first gradient late."""
    full = dict(amsgrad=True) if name == "Adam" else dict(momentum=0.9, centered=True)
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = getattr(lessons, name)(params, **full)
    for step in range(4):
        params[0].grad = torch.ones(1)
        params[1].grad = torch.ones(1) if step > 1 else None
        optimizer.param_groups[0]["lr"] /= 2
        optimizer.step()
    assert (params[1] < 1).all()


# --- a learning rate of 0 -------------------------------------------------------------------------------

SCHEDULES = {
    "warm-up": lambda o: LambdaLR(o, lambda t: min(1.0, t / 3)),
    "cosine": lambda o: CosineAnnealingLR(o, 3),
    "always": lambda o: LambdaLR(o, lambda t: 0.0),
}
L1 = [(name, dict(l1=0.1)) for name in EVERY if name != "RMSprop"]
L1 += [
    ("SGD", dict(l1=0.1, l1_method="cumulative")),
    ("FTRLProximal", dict(l1=0.1, l2=0.2)),
]
L1 += [("FTRLProximal", dict(l1=0.1, l2=0.2, per_step=False))]


@pytest.mark.parametrize("tensor", [None, (), (1,)], ids=["number", "0-d", "1-d"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name, settings", [*[(name, {}) for name in EVERY], *L1])
def test_a_step_with_lr_0_has_length_0(name, settings, schedule, tensor):
    lr = 0.1 if tensor is None else torch.full(tensor, 0.1)
    param, optimizer = one_param(name, 1.0, -2.0, 0.3, 0.0, lr=lr, **settings)
    rule, stood = SCHEDULES[schedule](optimizer), 0
    for step in range(8):
        param.grad = torch.tensor([1.0, -1.0, 0.0, 0.5], **DOUBLE) * (step + 1)
        before = param.detach().clone()
        optimizer.step()
        assert param.isfinite().all()
        assert all(
            torch.as_tensor(v).isfinite().all() for v in optimizer.state[param].values()
        )
        stays = float(optimizer.param_groups[0]["lr"]) == 0
        assert torch.equal(param, before) == stays
        stood += stays
        rule.step()
    assert stood == {"warm-up": 1, "cosine": 1, "always": 8}[schedule]


@pytest.mark.parametrize("name, settings", [*[(name, {}) for name in EVERY], *L1])
def test_lr_0_from_the_start(name, settings):
    param, optimizer = one_param(name, lr=0, **settings)
    before = param.detach().clone()
    for _ in range(3):
        optimizer.step()
    assert torch.equal(param, before)
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert param.isfinite().all() and (param != before).all()


@pytest.mark.parametrize("name, settings", [*[(name, {}) for name in EVERY], *L1])
def test_lr_0_in_a_stack(name, settings):
    """Each model with a rate of its own, one of them 0, and a schedule that is 0 for all at its ends."""
    cls = getattr(lessons, name)
    rates, factors = [0.1, 0.0, 0.5], [0.0, 0.5, 1.0, 0.0]
    start = torch.tensor([[1.0, -2.0, 0.0, 0.3]], **DOUBLE).repeat(3, 1)
    grads = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), **DOUBLE)
    group = cls([torch.zeros(1)], **settings).param_groups[0]
    hyper = {key: group[key] for key in cls.hyperparameters}
    column = torch.tensor(rates, **DOUBLE)[:, None]
    together, state = start.clone(), cls.init_state(start, group | {"lr": column})
    for grad, factor in zip(grads, factors, strict=True):
        cls.rule(
            together, grad.expand(3, 4).clone(), state, **hyper | {"lr": column * factor}
        )
    for row, rate in enumerate(rates):
        param, optimizer = one_param(name, *start[row].tolist(), **settings, lr=rate)
        for grad, factor in zip(grads, factors, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
            param.grad = grad.clone()
            optimizer.step()
        torch.testing.assert_close(together[row], param.detach(), rtol=1e-12, atol=1e-14)
    assert torch.equal(together[1], start[1]) and not torch.equal(together[2], start[2])


RATES = [0.0, 0.5, 0.3, 0.0, 0.0, 0.4, 0.1, 0.0]


def ftrl(rates, grads, start, **settings):
    param, optimizer = one_param("FTRLProximal", *start, beta=0.7, **settings)
    seen = []
    for rate, grad in zip(rates, grads, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        param.grad = grad + param.detach()
        optimizer.step()
        seen.append(param.detach().clone())
    return torch.stack(seen)


GRADS = torch.randn(len(RATES), 4, generator=torch.Generator().manual_seed(0), **DOUBLE)
START = [3.0, -2.0, 0.0, 0.4]


def test_ftrl_without_penalties_is_adagrad_through_lr_0():
    param, optimizer = one_param("Adagrad", *START, eps=0.7)
    for rate, grad, row in zip(RATES, GRADS, ftrl(RATES, GRADS, START), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        param.grad = grad + param.detach()
        optimizer.step()
        torch.testing.assert_close(row, param.detach(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("l1, l2", [(0.6, 0.0), (0.0, 0.5), (0.6, 0.5), (3.0, 0.1)])
def test_ftrls_lr_0_is_the_limit_of_small_rates(l1, l2, per_step):
    settings = dict(l1=l1, l2=l2, per_step=per_step)
    ends = {}
    for small in (0.0, 1e-7, 1e-6):
        rates = [rate or small for rate in RATES]
        ends[small] = ftrl(rates, GRADS, START, **settings)
    errors = [(ends[small] - ends[0.0]).abs().max() for small in (1e-6, 1e-7)]
    assert errors[0] < 1e-4 and errors[1] < errors[0] / 5
    if l1 > 1:
        assert (ends[0.0] == 0).any()


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_ftrl_keeps_its_last_rate_above_0(kind):
    param, optimizer = one_param("FTRLProximal", lr=kind(0.25))
    for rate in (0.25, 0.0, 0.0):
        optimizer.param_groups[0]["lr"] = kind(rate)
        optimizer.step()
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert optimizer.state[param]["lr"] == 0.25


# --- one value a model, on a GPU that is not there ------------------------------------------------------


@pytest.mark.parametrize("name, settings", [*[(name, {}) for name in EVERY], *L1])
def test_a_column_of_rates_on_the_gpu_is_never_read(name, settings, monkeypatch):
    """Fake tensors are of a class of their own; they have shapes and devices, and reading one raises."""
    cls = getattr(lessons, name)
    monkeypatch.setattr(
        torch.Tensor, "copy_", lambda self, x: torch.ops.aten.copy_(self, x)
    )
    group = cls([torch.zeros(1)], **settings).param_groups[0]
    hyper = {key: group[key] for key in cls.hyperparameters}
    with FakeTensorMode():
        weights = torch.randn(3, 5, device="cuda")
        grad = torch.randn(3, 5, device="cuda")
        hyper["lr"] = torch.rand(3, 1, device="cuda")
    assert base.varies(hyper["lr"]) and not base.is_zero(hyper["lr"])
    state = cls.init_state(weights, group | {"lr": hyper["lr"]})
    for _ in range(2):
        cls.rule(weights, grad, state, **hyper)
    assert weights.shape == (3, 5) and weights.device.type == "cuda"


def test_what_counts_as_one_number():
    assert base.is_zero(0) and base.is_zero(0.0) and base.is_zero(torch.tensor(0.0))
    assert base.is_zero(np.float64(0)) and not base.is_zero(1e-300)
    assert not base.is_zero(torch.zeros(2, 1)) and base.varies(torch.zeros(2, 1))
    assert base.varies(torch.zeros(2)) and not base.varies(0.5) and not base.varies(torch.tensor(0.5))
    assert not base.varies(np.float32(0.5))
    check_number("x", 0.0)
