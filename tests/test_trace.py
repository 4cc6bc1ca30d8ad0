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
    trace.rows[0][-1]["late"] = trace.rows[0][-1]["grad"]  # it tells what the last step has
    with pytest.raises(KeyError, match=r"'new' is not in every .*: before, .*, late\W"):
        trace["new"]
    with pytest.raises(KeyError, match=r"nothing yet\W$"):
        Trace(trace.optimizer)["exp_avg"]
    with pytest.raises(KeyError, match=r"Got 1, not one of 0\W$"):
        trace["exp_avg", 1]


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


def test_keeps_to_a_device_that_is_not_the_default():
    param = torch.nn.Parameter(torch.ones(2, device="meta"))  # which has no values
    optimizer = lessons.AdamW([param])
    with Trace(optimizer) as trace:
        param.grad = torch.ones_like(param)
        optimizer.step()
    assert all(trace[name].is_meta for name in ("before", "rate", "decay", "l1"))


# --- what makes other tracers lie: kinds from public reports ---------------------------------------

EVERY = [
    ("SGD", dict(momentum=0.9, weight_decay=0.1)),
    ("SGD", dict()),
    ("Adagrad", dict(weight_decay=0.1)),
    ("RMSprop", dict(weight_decay=0.1, centered=True, momentum=0.5)),
    ("RMSprop", dict()),
    ("Adam", dict(weight_decay=0.1, amsgrad=True)),
    ("AdamW", dict(weight_decay=0.1)),
]
every_rule = pytest.mark.parametrize("name, settings", EVERY)
both = pytest.mark.parametrize("package", PACKAGES, ids=["lessons", "torch"])


def adds_up(trace, which=0):
    """Compare the weights after each step with the sum of the terms, to the last bits of the type."""
    names = ("before", "update", "decay", "l1")
    total = sum(trace[name, which] for name in names)
    param = trace._params()[which][0]
    size = sum(trace[name, which].abs().nan_to_num(0, 0, 0) for name in names)
    bound = 16 * torch.finfo(param.dtype).eps * size
    after = trace["after", which]
    near = (total - after).abs() <= bound + 1e-300
    return bool((near | (total == after) | (total.isnan() & after.isnan())).all())


def steps(optimizer, grads, before_step=lambda t: None):
    (param,) = optimizer.param_groups[0]["params"]
    for t, grad in enumerate(grads):
        param.grad = grad
        before_step(t)
        optimizer.step()


@both
@every_rule
def test_a_complex_weight_is_refused_before_any_step(name, settings, package):
    start = torch.tensor([1 + 2j, -0.5j])
    w = torch.nn.Parameter(start.clone())
    real = torch.nn.Parameter(torch.ones(2))
    optimizer = getattr(package, name)([real, w], lr=0.1, **settings)
    refused = pytest.raises(TypeError, match=r"parameter 1 is of torch\.complex64")
    with refused, Trace(optimizer):
        raise AssertionError("the block was entered")
    assert not optimizer._optimizer_step_pre_hooks
    optimizer = getattr(package, name)([real], lr=0.1, **settings)
    trace = Trace(optimizer)
    with trace:
        optimizer.add_param_group({"params": [w]})
        w.grad, real.grad = torch.ones_like(w), torch.ones_like(real)
        with pytest.raises(TypeError, match=r"parameter 1 is of torch\.complex64"):
            optimizer.step()
    assert torch.equal(w, start) and torch.equal(real, torch.ones(2)) and not trace.rows


@both
@every_rule
@pytest.mark.parametrize("lr", [torch.tensor([0.1]), torch.tensor(0.1)], ids=["1", "0-d"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)], ids=str)
def test_a_tensor_as_the_rate(name, settings, package, lr, shape):
    w = torch.nn.Parameter(torch.ones(shape, dtype=torch.float64))
    optimizer = getattr(package, name)([w], lr=lr, **settings)
    with Trace(optimizer) as trace:
        if package is torch.optim and lr.dim() and not shape:
            return  # torch's own step cannot broadcast it
        steps(optimizer, torch.randn(5, *shape, dtype=torch.float64))
    assert trace["after"].shape == (5, *shape)
    assert torch.allclose(
        trace["before"] + trace["update"] + trace["decay"], trace["after"]
    )


def test_a_rate_of_several_numbers_is_refused_before_the_step():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = lessons.SGD([w], lr=0.1)
    with Trace(optimizer) as trace:
        optimizer.param_groups[0]["lr"] = torch.tensor([0.1, 0.2])
        w.grad = torch.ones(2)
        with pytest.raises(ValueError, match=r"one number as lr, but got tensor\(\[0\.1"):
            optimizer.step()
    assert torch.equal(w, torch.ones(2)) and not trace.rows


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torch's own
@both
@pytest.mark.parametrize(
    "name, settings",
    [
        ("SGD", dict()),
        ("SGD", dict(momentum=0.9)),
        ("SGD", dict(maximize=True)),
        ("Adagrad", dict()),
        ("Adagrad", dict(eps=0)),
    ],
)
def test_sparse_gradients(name, settings, package):
    w = torch.nn.Parameter(torch.ones(3, 2, dtype=torch.float64))
    optimizer = getattr(package, name)([w], lr=0.1, **settings)
    where = torch.tensor([[0, 2, 0]])  # a row twice: its entries add up
    grads = [
        torch.sparse_coo_tensor(
            where, torch.randn(3, 2, dtype=torch.float64), (3, 2), check_invariants=True
        )
        for _ in range(4)
    ]
    dense = torch.stack([grad.to_dense() for grad in grads])
    with Trace(optimizer) as trace:
        steps(optimizer, grads)
    assert torch.equal(trace["grad"], dense)
    assert adds_up(trace) and not trace["update"][:, 1].any()
    assert (trace["update"][:, 0] != 0).all()


@both
@every_rule
def test_settings_that_change_at_each_step(name, settings, package):
    w = torch.nn.Parameter(torch.randn(3, dtype=torch.float64))
    optimizer = getattr(package, name)([w], lr=0.4, **settings)
    group = optimizer.param_groups[0]

    def change(t):
        group["lr"] /= 2
        group["maximize"] = t % 2 == 1
        if settings.get("weight_decay"):
            group["weight_decay"] = 0.1 * t
        if "betas" in group:
            group["betas"] = (0.5 + 0.1 * t, 0.6 + 0.05 * t)

    with Trace(optimizer) as trace:
        steps(optimizer, torch.randn(4, 3, dtype=torch.float64), change)
    assert adds_up(trace)
    assert [start["lr"] for start, _ in trace.starts[0]] == [0.2, 0.1, 0.05, 0.025]


@both
def test_other_hooks_do_not_change_what_is_recorded(package):
    """A schedule, a bound on the weights and a zero_grad after each step, hooked in before the trace."""
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = package.SGD([w], lr=1.0)

    def afterwards(optimizer, args, kwargs):
        optimizer.param_groups[0]["lr"] /= 2
        with torch.no_grad():
            w.clamp_(min=0.5)
        optimizer.zero_grad()

    optimizer.register_step_post_hook(afterwards)
    with Trace(optimizer) as trace:
        steps(optimizer, torch.ones(3, 2))
    assert trace["rate"][:, 0].tolist() == [1.0, 0.5, 0.25]
    assert trace["after"][:, 0].tolist() == [0.0, 0.0, 0.25] and adds_up(trace)


@both
@every_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_run_that_diverges(name, settings, package, dtype):
    w = torch.nn.Parameter(torch.ones(1, dtype=dtype))
    optimizer = getattr(package, name)([w], lr=1e3, **settings)
    top = torch.finfo(dtype).max
    grads = [[g] for g in (1.0, top**0.25, top**0.52, top / 2, float("inf"), float("nan"))]
    with Trace(optimizer) as trace:
        steps(optimizer, torch.tensor(grads, dtype=dtype))
    assert adds_up(trace)
    assert trace["after"][:2].isfinite().all() and trace["after"][-1].isnan()


@pytest.mark.parametrize("decay", [0, 0.1])
def test_an_infinite_weight_does_not_spoil_terms_that_are_off(decay):
    w = torch.nn.Parameter(torch.tensor([float("inf"), 1.0]))
    optimizer = lessons.AdamW([w], lr=0.1, weight_decay=decay)
    with Trace(optimizer) as trace:
        steps(optimizer, torch.ones(2, 2))
    assert trace["update"].isfinite().all() and trace["grad"].isfinite().all()
    assert adds_up(trace) and not trace["decay"][:, 0].any()
    assert trace["decay"][:, 1].all() == bool(decay)


def test_the_penalty_of_a_weight_of_0_has_no_slope():
    w = torch.nn.Parameter(torch.tensor([0.0, 2.0]))
    optimizer = lessons.SGD([w], lr=0.1, l1=0.5, l1_method="subgradient")
    with Trace(optimizer) as trace:
        steps(optimizer, torch.ones(1, 2))
    assert trace["total_grad"].tolist() == [[1.0, 1.5]]


def test_a_state_that_is_none_is_left_out():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    optimizer.state[w]["momentum_buffer"] = None  # as some checkpoints of torch have it
    with Trace(optimizer) as trace:
        steps(optimizer, torch.ones(2, 2))
    assert adds_up(trace)
    torch.testing.assert_close(trace["momentum_buffer"][:, 0], torch.tensor([1.0, 1.9]))


@both
@every_rule
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_of_half_precision(name, settings, package, dtype):
    w = torch.nn.Parameter(torch.tensor([1.0, -0.5, 2.0, 1e-3], dtype=dtype))
    optimizer = getattr(package, name)([w], lr=0.01, **settings)
    # The last gradient is so small that its square is 0 in float16, and so is eps.
    grads = torch.tensor([[1.0, -2, 300, 1e-4], [0.5, 0.1, -300, 1e-4]] * 3, dtype=dtype)
    with Trace(optimizer) as trace:
        steps(optimizer, grads)
    assert trace["update"].dtype == torch.float32
    assert adds_up(trace)


@both
@every_rule
def test_a_parameter_without_gradient_at_some_steps(name, settings, package):
    a, b = (torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    optimizer = getattr(package, name)(
        [{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.3}], **settings
    )
    with Trace(optimizer) as trace:
        for t in range(5):
            a.grad = torch.randn(2, dtype=torch.float64) if t else None
            b.grad = torch.randn(2, dtype=torch.float64) if t % 2 == 0 else None
            optimizer.step()
    assert len(trace["before", 0]) == 4 and len(trace["before", 1]) == 3
    assert adds_up(trace, 0) and adds_up(trace, 1)
    assert {start["lr"] for start, _ in trace.starts[1]} == {0.3}


def test_a_trace_is_entered_once_at_a_time():
    w = torch.nn.Parameter(torch.zeros(2))
    optimizer = lessons.Adam([w])
    w.grad = torch.ones(2)
    with Trace(optimizer) as trace:
        optimizer.step()
        with pytest.raises(RuntimeError, match="twice"), trace:
            raise AssertionError("the block was entered")
        optimizer.step()
        with Trace(optimizer) as other:  # another one may
            optimizer.step()
    assert trace["step"].tolist() == [1, 2, 3] and other["step"].tolist() == [3]
    optimizer.step()
    with trace:
        optimizer.step()
    assert trace["step"].tolist() == [1, 2, 3, 5]
    assert not optimizer._optimizer_step_pre_hooks


def test_a_step_that_raises_leaves_no_row_and_the_next_is_right():
    w = torch.nn.Parameter(torch.zeros(2))
    optimizer = lessons.Adam([w])

    def fails():
        w.grad = torch.ones(2)
        raise ValueError("no loss")

    trace = Trace(optimizer)
    with pytest.raises(ValueError, match="no loss"), trace:
        optimizer.step(fails)
    assert not trace.rows
    with trace:
        steps(optimizer, torch.ones(1, 2))
    assert trace["step"].tolist() == [1] and adds_up(trace)


def test_a_step_that_a_gradient_scaler_skips_leaves_no_row():
    for fused in (False, True):
        w = torch.nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.Adam([w], fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        with Trace(optimizer) as trace:
            for factor in (1.0, float("inf"), 2.0):
                optimizer.zero_grad()
                scaler.scale((w * factor).sum()).backward()
                scaler.step(optimizer)
                scaler.update()
        assert trace["step"].tolist() == [1, 2]
        assert trace["grad"][:, 0].tolist() == [1, 2]
        assert torch.allclose(trace["before"] + trace["update"], trace["after"])


def test_what_a_step_found_stands_beside_it():
    w = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = lessons.Adam([w], lr=torch.tensor([0.1]))
    with Trace(optimizer) as trace:
        steps(optimizer, torch.ones(3, 2, dtype=torch.float64))
    settings, found = trace.starts[0][0]
    assert settings["lr"] == pytest.approx(0.1) and type(settings["lr"]) is float
    assert "params" not in settings and not found.get("exp_avg", torch.zeros(1)).any()
    for (_, found), row in zip(trace.starts[0][1:], trace.rows[0], strict=False):
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(found[name], row[name])
