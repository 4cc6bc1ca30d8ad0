"""The tracer: that its terms add up, that it names things rightly, and that it leaves no trace of itself."""

import copy
import itertools

import pytest
import torch

import lessons
from lessons.trace import Trace

PACKAGES = [lessons, torch.optim]
SETTINGS = [
    ("SGD", dict()),
    ("SGD", dict(momentum=0.9, dampening=0.3)),
    ("SGD", dict(momentum=0.9, nesterov=True)),
    ("Adagrad", dict(lr_decay=0.1, eps=1e-3)),
    ("Adam", dict(eps=1e-3)),
    ("Adam", dict(amsgrad=True, betas=(0.5, 0.6))),
    ("AdamW", dict(eps=1e-3)),
    ("AdamW", dict(amsgrad=True, betas=(0.5, 0.6))),
    ("RMSprop", dict(alpha=0.9)),
    ("RMSprop", dict(alpha=0.9, momentum=0.9, eps=1e-3)),
    ("RMSprop", dict(alpha=0.9, centered=True, eps=1e-3)),
]
CASES = [
    (package, name, dict(lr=0.1, weight_decay=decay, maximize=maximize, **settings))
    for package, (name, settings), decay, maximize in itertools.product(
        PACKAGES, SETTINGS, [0, 0.3], [False, True]
    )
]
CASES += [
    (lessons, "SGD", dict(lr=0.1, weight_decay=0.1, l1=0.2, l1_method=method, **momentum))
    for method in ("subgradient", "prox", "cumulative")
    for momentum in [
        {},
        dict(momentum=0.5, dampening=0.2),
        dict(momentum=0.5, nesterov=True),
    ]
]
CASES += [
    (lessons, name, dict(lr=0.1, weight_decay=0.3, maximize=maximize, l1=2.0, **settings))
    for name, settings in [
        ("Adagrad", dict(lr_decay=0.1, eps=1e-3)),
        ("Adam", dict(eps=1e-3)),
        ("Adam", dict(amsgrad=True, betas=(0.5, 0.6))),
        ("AdamW", dict(amsgrad=True, betas=(0.5, 0.6), eps=1e-3)),
    ]
    for maximize in (False, True)
]


def record(package, name, settings, steps=30, shape=(4,)):
    """Return the trace of a few steps under random gradients, and these gradients."""
    generator = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
    grads = torch.randn(steps, *shape, generator=generator, dtype=torch.float64)
    optimizer = getattr(package, name)([param], **copy.deepcopy(settings))
    with Trace(optimizer) as trace:
        for grad in grads:
            param.grad = grad.clone()
            optimizer.step()
    return trace, grads


@pytest.mark.parametrize("package, name, settings", CASES)
def test_the_terms_add_up(package, name, settings):
    trace, grads = record(package, name, settings)
    before, after = trace["before"], trace["after"]
    assert before.shape == (30, 4) and torch.equal(before[1:], after[:-1])
    assert (before != after).all(1).any()
    total = before + trace["update"] + trace["decay"] + trace["l1"]
    torch.testing.assert_close(total, after, rtol=1e-13, atol=1e-13)
    assert torch.equal(trace["grad"], grads)
    decoupled = name == "AdamW" and settings["weight_decay"]
    assert trace["decay"].any() == bool(decoupled)
    if decoupled:
        torch.testing.assert_close(trace["decay"], -0.1 * 0.3 * before)
    subgradient = settings.get("l1_method") == "subgradient"
    after_the_step = "l1" in settings and not subgradient
    assert trace["l1"].any() == after_the_step
    coupled = settings["weight_decay"] * before * (name != "AdamW")
    coupled += 0.2 * before.sign() * subgradient
    sign = -1 if settings.get("maximize") else 1
    torch.testing.assert_close(trace["total_grad"], sign * grads + coupled)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_moments_before_and_after_bias_correction(package, name):
    trace, _ = record(package, name, dict(lr=0.1, betas=(0.9, 0.99), weight_decay=0.3))
    g, m, v = trace["total_grad"], torch.zeros(4), torch.zeros(4)
    for t in range(1, 31):
        m, v = 0.9 * m + 0.1 * g[t - 1], 0.99 * v + 0.01 * g[t - 1] ** 2
        assert trace["step"][t - 1] == t
        torch.testing.assert_close(trace["exp_avg"][t - 1], m)
        torch.testing.assert_close(trace["exp_avg_sq"][t - 1], v)
        torch.testing.assert_close(trace["exp_avg_hat"][t - 1], m / (1 - 0.9**t))
        torch.testing.assert_close(trace["exp_avg_sq_hat"][t - 1], v / (1 - 0.99**t))
    torch.testing.assert_close(trace["update"], -trace["rate"] * trace["exp_avg_hat"])


@pytest.mark.parametrize("package", PACKAGES)
def test_effective_rates(package):
    trace, _ = record(package, "SGD", dict(lr=0.1, momentum=0.9))
    assert (trace["rate"] == 0.1).all() and trace["rate"].shape == (30, 4)
    torch.testing.assert_close(trace["update"], -trace["rate"] * trace["momentum_buffer"])
    trace, _ = record(package, "Adagrad", dict(lr=0.1, eps=0))
    torch.testing.assert_close(trace["rate"], 0.1 / trace["grad"].square().cumsum(0).sqrt())
    torch.testing.assert_close(trace["update"], -trace["rate"] * trace["total_grad"])
    trace, _ = record(package, "RMSprop", dict(lr=0.1, eps=0))
    torch.testing.assert_close(trace["rate"], 0.1 / trace["square_avg"].sqrt())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_rate_that_a_schedule_changes(package):
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = package.SGD([param], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    with Trace(optimizer) as trace:
        for _ in range(3):
            param.grad = torch.ones(2)
            optimizer.step()
            scheduler.step()
    assert trace["rate"][:, 0].tolist() == [1.0, 0.5, 0.25]


def test_the_gradient_that_a_closure_computes():
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = lessons.SGD([param], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = param.square().sum()
        loss.backward()
        return loss

    with Trace(optimizer) as trace:
        optimizer.step(closure)
    assert trace["grad"].tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("package", PACKAGES)
def test_several_parameters_by_name_and_place(package):
    model = torch.nn.Linear(3, 2)
    named = list(model.named_parameters())
    optimizer = package.AdamW(
        [
            {"params": named[:1], "weight_decay": 0.5},
            {"params": named[1:], "weight_decay": 0},
        ]
    )
    with Trace(optimizer) as trace:
        for step in range(4):
            model.weight.grad = torch.ones_like(model.weight)
            model.bias.grad = torch.ones_like(model.bias) if step != 1 else None
            optimizer.step()
    assert trace["exp_avg", "weight"].shape == (4, 2, 3)
    assert trace["exp_avg", "bias"].shape == (3, 2)  # it had no gradient at one step
    assert torch.equal(trace["exp_avg", "weight"], trace["exp_avg", 0])
    assert trace["decay", "weight"].all() and not trace["decay", 1].any()
    for which in [(), ("scale",), (2,)]:
        with pytest.raises(KeyError, match="not one of 0, 1, weight, bias"):
            trace[("exp_avg", *which) if which else "exp_avg"]


def test_an_unknown_variable():
    trace, _ = record(lessons, "Adam", dict())
    with pytest.raises(
        KeyError, match=r"'max_exp_avg_sq' is not in every .*: before, after, grad"
    ):
        trace["max_exp_avg_sq"]
    with pytest.raises(KeyError, match="nothing yet"):
        Trace(trace.optimizer)["exp_avg"]


def test_an_unknown_optimizer():
    class Mine(lessons.SGD):
        pass

    for optimizer in (
        torch.optim.NAdam([torch.zeros(1)]),
        lessons.FTRLProximal([torch.zeros(1)]),
        Mine([torch.zeros(1)]),
        None,
    ):
        with pytest.raises(TypeError, match=r"Trace knows SGD, Adagrad, .* not <class"):
            Trace(optimizer)


def test_the_trace_is_a_copy_and_ends_with_the_block():
    param = torch.nn.Parameter(torch.zeros(2))
    optimizer = lessons.Adam([param])
    param.grad = torch.ones(2)
    trace = Trace(optimizer)
    for recorded in (False, True, False, True):
        if recorded:
            with trace:
                optimizer.step()
        else:
            optimizer.step()
    assert trace["step"].tolist() == [2.0, 4.0]
    assert not trace["before"].requires_grad
    assert trace["before"][0, 0] != trace["before"][1, 0]
    with pytest.raises(RuntimeError, match="stop"), trace:
        raise RuntimeError("stop")
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("package, name, settings", CASES)
def test_training_does_not_notice(package, name, settings):
    trace, grads = record(package, name, settings)
    param = torch.nn.Parameter(trace["before"][0].clone())
    optimizer = getattr(package, name)([param], **settings)
    for grad in grads:
        param.grad = grad
        optimizer.step()
    assert torch.equal(param, trace["after"][-1])


def test_keeps_to_the_device_and_type(device, dtype):
    param = torch.nn.Parameter(torch.ones(2, device=device, dtype=dtype))
    optimizer = lessons.AdamW([param])
    with Trace(optimizer) as trace:
        param.grad = torch.ones_like(param)
        optimizer.step()
    for name in ("before", "exp_avg", "rate", "decay", "l1"):
        assert trace[name].device == param.device and trace[name].dtype == dtype
        assert trace[name].shape == (1, 2)
