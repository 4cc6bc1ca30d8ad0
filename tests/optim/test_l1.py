"""L1 in Adagrad's and Adam's own metric, and which methods reach zeros when each step sees one row."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import show
from penalized import (
    DOUBLE,
    L1,
    classification,
    classification_cost,
    fit_classification,
    fit_one_row_a_step,
    fit_regression,
    regression,
    regression_cost,
)

import lessons
from lessons.sweep import sweep

NAMES = ["Adagrad", "Adam", "AdamW"]
CLASSES = [getattr(lessons, name) for name in NAMES]


def run(cls, weight, grads, **settings):
    """Return the weights after each step: (steps, weights)."""
    param = torch.nn.Parameter(torch.tensor(weight, **DOUBLE))
    optimizer = cls([param], **settings)
    seen = []
    for grad in grads:
        param.grad = torch.as_tensor(grad, **DOUBLE).expand_as(param)
        optimizer.step()
        seen.append(param.detach().clone())
    return torch.stack(seen)


# --- where it settles -----------------------------------------------------------------------------

SETTLES = [
    ("Adagrad", dict(lr=1.0)),
    ("Adagrad", dict(lr=1.0, initial_accumulator_value=1.0, eps=0.1)),
    ("Adagrad", dict(lr=2.0, lr_decay=1e-3)),
    ("Adam", dict(lr=0.1, decays=True)),
    ("Adam", dict(lr=0.1, decays=True, betas=(0.5, 0.9), eps=0.01, steps=2000)),
    ("Adam", dict(lr=0.1, decays=True, amsgrad=True)),
    ("Adam", dict(lr=0.1, decays=True, maximize=True, sign=-1)),
    ("AdamW", dict(lr=0.1, decays=True, weight_decay=0)),
]


@pytest.mark.parametrize(
    "name, settings",
    SETTLES,
    ids=lambda value: value if isinstance(value, str) else show(value),
)
def test_settles_where_lasso_does(name, settings):
    _, _, optimum = regression()
    assert (optimum == 0).sum() == 8
    w, _ = fit_regression(getattr(lessons, name), **settings)
    assert torch.equal(w == 0, optimum == 0)
    torch.testing.assert_close(w, optimum, rtol=0, atol=1e-5)
    assert abs(regression_cost(w) - regression_cost(optimum)) < 1e-9


@pytest.mark.parametrize("name", ["Adagrad", "Adam"])
def test_with_coupled_decay_it_is_the_elastic_net(name):
    _, _, optimum = regression(l2=0.2)
    lr = dict(Adagrad=1.0, Adam=0.1)[name]
    w, _ = fit_regression(
        getattr(lessons, name), lr=lr, weight_decay=0.2, decays=name == "Adam"
    )
    assert torch.equal(w == 0, optimum == 0)
    torch.testing.assert_close(w, optimum, rtol=0, atol=1e-5)


@pytest.mark.parametrize("decay", [0.1, 1.0])
def test_with_adamw_s_decay_it_rests_where_the_docstring_says(decay):
    """The gradient is −l1 · sign(w) − λ · (√v̂ + eps) · w; where w is 0, it is at most l1 long."""
    settings = dict(lr=0.01, betas=(0.9, 0.99), eps=1e-3, weight_decay=decay)
    w, optimizer = fit_regression(lessons.AdamW, steps=4000, **settings)
    (state,) = optimizer.state.values()
    root = (state["exp_avg_sq"] / (1 - 0.99 ** state["step"])).sqrt() + 1e-3
    X, y, optimum = regression()
    grad = X.T @ (X @ w - y) / len(y)
    rests = -L1 * w.sign() - decay * root * w
    off = w == 0
    assert 0 < off.sum() < 20
    torch.testing.assert_close(grad[~off], rests[~off], rtol=0, atol=1e-6)
    assert (grad[off].abs() <= L1).all()
    assert (w - optimum).abs().max() > 1e-3  # so it is not the lasso's


@pytest.mark.parametrize(
    "name, settings", [("Adagrad", dict(lr=3.0)), ("Adam", dict(lr=0.1))]
)
def test_settles_where_liblinear_does(name, settings):
    _, optimum = classification()
    w = fit_classification(getattr(lessons, name), steps=2000, **settings)
    best = classification_cost(optimum)
    assert abs(classification_cost(w) - best) < 1e-4 * best
    assert torch.equal(w == 0, optimum == 0) and (w != 0).sum() == 9


# --- what gives zeros when each step sees one row ----------------------------------------------------


@pytest.mark.parametrize(
    "name, settings",
    [
        ("SGD", dict(lr=0.01, l1_method="subgradient")),
        ("SGD", dict(lr=0.01, l1_method="prox")),
        ("Adagrad", dict(lr=0.1)),
        ("Adam", dict(lr=0.003)),
    ],
    ids=lambda value: value if isinstance(value, str) else show(value),
)
def test_no_threshold_after_the_step_is_sparse_under_noise(name, settings):
    """The optimum has 9 weights of 100, and none of the 70 in front of noise."""
    w = fit_one_row_a_step(getattr(lessons, name), **settings)
    assert ((w != 0).sum(1) > 60).all()
    assert ((w[:, 30:] != 0).sum(1) > 35).all()


@pytest.mark.parametrize(
    "name, settings, excess",
    [
        ("SGD", dict(lr=0.01, l1_method="cumulative"), 0.02),
        ("FTRLProximal", dict(lr=0.3), 0.005),
    ],
)
def test_the_methods_that_keep_an_account_are_sparse_under_noise(name, settings, excess):
    w = fit_one_row_a_step(getattr(lessons, name), **settings)
    _, optimum = classification()
    assert ((w != 0).sum(1) < 30).all()
    assert ((w[:, 30:] != 0).sum(1) < 5).all()
    assert (w[:, optimum.abs() > 0.1] != 0).all()
    assert (classification_cost(w) < classification_cost(optimum) + excess).all()


# --- one step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
@pytest.mark.parametrize("cls", [lessons.Adam, lessons.AdamW])
def test_adams_threshold_by_hand(cls, betas):
    """A constant gradient of .01 makes m̂ and √v̂ .01 at every step: l1 = .004 takes .4 · lr off each weight."""
    grads = [0.01] * 10
    settings = dict(lr=0.1, betas=betas, eps=0, weight_decay=0, l1=0.004)
    seen = run(cls, [2.0, -2.0], grads, **settings)
    count = torch.arange(1, 11, **DOUBLE)
    torch.testing.assert_close(seen[:, 0], 2 - 0.14 * count)  # both pull it to 0
    torch.testing.assert_close(seen[:, 1], -2 - 0.06 * count)  # the penalty pulls it back


def test_eps_is_in_adams_threshold():
    seen = run(lessons.Adam, [2.0], [0.01], lr=0.1, eps=0.03, l1=0.004)
    assert seen.item() == pytest.approx(2 - 0.1 * 0.014 / 0.04, rel=1e-12)


def test_amsgrad_thresholds_by_the_largest_root():
    settings = dict(lr=0.1, betas=(0.0, 0.5), eps=0, l1=0.3, amsgrad=True)
    before, after = run(lessons.Adam, [50.0], [8.0, 0.0], **settings)
    root = math.sqrt(0.5 * 64 / 0.75)  # the largest uncorrected square, after correction
    assert (before - after).item() == pytest.approx(0.1 * 0.3 / root, rel=1e-9)


def test_adamw_decays_then_steps_then_thresholds():
    settings = dict(lr=0.1, eps=0, weight_decay=0.5, l1=0.004)
    assert run(lessons.AdamW, [2.0], [0.01], **settings).item() == pytest.approx(
        2 * (1 - 0.05) - 0.1 - 0.04, rel=1e-12
    )
    # The threshold sees the weight after decay and step: .101 · .95 − .1 is within .04 of 0.
    assert run(lessons.AdamW, [0.101], [0.01], **settings).item() == 0.0


def test_adagrads_threshold_by_hand():
    """The sum after t steps is t·g², so that the threshold is lr · l1 / (|g|·√t + eps), lr after its decay."""
    settings = dict(lr=0.1, lr_decay=0.5, eps=0.02, l1=0.004)
    seen = run(lessons.Adagrad, [2.0, -2.0], [0.01] * 10, **settings)
    count = torch.arange(1, 11, **DOUBLE)
    rates = 0.1 / (1 + (count - 1) * 0.5) / (0.01 * count.sqrt() + 0.02)
    torch.testing.assert_close(seen[:, 0], 2 - (rates * 0.014).cumsum(0))
    torch.testing.assert_close(seen[:, 1], -2 - (rates * 0.006).cumsum(0))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_weight_that_never_had_a_gradient_goes_to_zero(cls):
    seen = run(cls, [5.0, 5.0], [[0.0, 0.3]], lr=0.1, l1=0.1)
    assert seen[0, 0] == 0 and seen[0, 1] > 4


def test_a_nan_shows():
    for cls in CLASSES:
        assert run(cls, [1.0], [math.nan], l1=0.1).isnan().all()


numbers = st.floats(-10, 10)
gradient = st.floats(0.01, 10).flatmap(lambda g: st.sampled_from([g, -g]))


@given(
    st.lists(numbers, min_size=3, max_size=3),
    st.lists(st.lists(gradient, min_size=3, max_size=3), min_size=1, max_size=4),
    st.floats(0.001, 2),
    numbers,
    st.sampled_from(NAMES),
)
def test_a_step_minimises_its_objective(weight, grads, l1, other, name):
    """d·x + ½ Σ (x − w)² / rate + l1 · ‖x‖₁, with d the gradient or m̂, and w after the decay."""
    cls, lr = getattr(lessons, name), 0.2
    param = torch.nn.Parameter(torch.tensor(weight, **DOUBLE))
    optimizer = cls([param], lr=lr, l1=l1)
    for grad in grads:
        w = param.detach().clone()
        param.grad = torch.tensor(grad, **DOUBLE)
        optimizer.step()
    state, t = optimizer.state[param], len(grads)
    if name == "Adagrad":
        direction, rate = param.grad, lr / (state["sum"].sqrt() + 1e-10)
    else:
        direction = state["exp_avg"] / (1 - 0.9**t)
        rate = lr / ((state["exp_avg_sq"] / (1 - 0.999**t)).sqrt() + 1e-8)
        w *= 1 - lr * optimizer.defaults["weight_decay"]
    x = param.detach()

    def cost(x):
        return direction * x + (x - w).square() / rate / 2 + l1 * x.abs()

    slope = direction + (x - w) / rate  # of the smooth part: its opposite is the penalty's
    wanted = torch.where(x == 0, slope.clamp(-l1, l1), -l1 * x.sign())
    scale = direction.abs() + (x.abs() + w.abs()) / rate + l1
    assert ((slope - wanted).abs() <= 1e-12 * scale).all()
    assert (cost(x) <= cost(torch.full_like(x, other)) + 1e-12 * scale * 20).all()


@pytest.mark.parametrize("cls", CLASSES)
def test_maximize_leaves_the_penalty_alone(cls):
    settings, grads = dict(lr=0.1, l1=0.2, weight_decay=0.1), [0.3, -2.0, 1.0, 0.1]
    up = run(cls, [1.0, -1.0], [-grad for grad in grads], maximize=True, **settings)
    assert torch.equal(up, run(cls, [1.0, -1.0], grads, **settings))


# --- as a setting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [0, 0.0, torch.tensor(0.0)], ids=str)
@pytest.mark.parametrize("cls", CLASSES)
def test_no_penalty_leaves_the_step_as_it_was(cls, zero, monkeypatch):
    monkeypatch.setattr(f"{cls.rule.__module__}.soft_threshold_", None)  # not even called
    grads = [0.0, 0.3, -2.0]
    assert torch.equal(run(cls, [1.0, -1.0], grads, l1=zero), run(cls, [1.0, -1.0], grads))
    assert run(cls, [1.0, -1.0], [0.0], l1=zero).all()  # no division by the root of 0


@pytest.mark.parametrize("cls", CLASSES)
def test_each_group_has_its_own(cls):
    params = [torch.nn.Parameter(torch.ones(2, **DOUBLE)) for _ in range(2)]
    optimizer = cls([{"params": params[:1], "l1": 50.0}, {"params": params[1:]}], lr=0.1)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    assert not params[0].any() and params[1].all()


@pytest.mark.parametrize("cls", CLASSES)
def test_it_is_checked(cls):
    for value in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"Invalid l1 value: {value}"):
            cls([torch.zeros(1)], l1=value)
    for value in ("0.1", None, True):
        with pytest.raises(TypeError, match="l1 must be a number"):
            cls([torch.zeros(1)], l1=value)
    with pytest.raises(TypeError, match="positional"):
        cls([torch.zeros(1)], *[0] * 7)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_torch_leaves_it_as_it_is(name):
    params = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    ours, theirs = getattr(lessons, name), getattr(torch.optim, name)
    saved = theirs(params[:1], lr=0.5).state_dict()
    optimizer = ours(params[1:], l1=0.3)
    optimizer.load_state_dict(saved)
    assert [optimizer.param_groups[0][key] for key in ("lr", "l1")] == [0.5, 0.3]
    own = ours(params[:1], l1=0.7).state_dict()
    optimizer.load_state_dict(own)
    assert optimizer.param_groups[0]["l1"] == 0.7


@pytest.mark.parametrize("cls", CLASSES)
def test_each_model_of_a_stack_has_its_own(cls):
    """A column of l1 and of lr, as a sweep gives them, against each model alone."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 6, generator=generator, **DOUBLE)
    grads = torch.randn(20, 3, 6, generator=generator, **DOUBLE)
    each = dict(l1=[0.0, 0.05, 1.0], lr=[0.3, 0.1, 0.1])
    group = cls([torch.zeros(1)]).param_groups[0]
    hyper = {name: group[name] for name in cls.hyperparameters}
    columns = {
        name: torch.tensor(values, **DOUBLE)[:, None] for name, values in each.items()
    }
    together, state = start.clone(), cls.init_state(start, group)
    for grad in grads:
        cls.rule(together, grad, state, **hyper | columns)
    for model in range(3):
        own = {name: values[model] for name, values in each.items()}
        alone = run(cls, start[model].tolist(), grads[:, model], **own)[-1]
        torch.testing.assert_close(together[model], alone, rtol=1e-12, atol=1e-13)
        assert torch.equal(together[model] == 0, alone == 0)
    assert (together[2] == 0).any() and together[0].all()


@pytest.mark.parametrize("name", [*NAMES, "FTRLProximal"])
def test_it_can_be_swept(name):
    cls = getattr(lessons, name)

    def data(seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(40, 5, generator=generator, **DOUBLE)
        return {"train": (x, (x[:, :1] > 0).double())}

    def measure(axes, **settings):
        result = sweep(
            cls,
            lambda: torch.nn.Linear(5, 1),
            data,
            axes,
            (0, 1),
            steps=30,
            batch_size=10,
            settings=dict(lr=0.1) | settings,
            schedule=lambda fraction: 1 - fraction / 2,
            loss=torch.nn.functional.mse_loss,
            dtype=torch.float64,
        )
        return result.metrics["train_loss"]

    together = measure({"l1": (0.0, 0.1)})
    assert together.shape == (2, 2) and (together[0] != together[1]).all()
    for cell, l1 in enumerate((0.0, 0.1)):
        alone = measure({}, l1=l1)
        assert together[cell] == pytest.approx(alone, rel=1e-10)


@pytest.mark.parametrize("cls", CLASSES)
def test_keeps_to_the_device_and_type(cls, device, dtype):
    param = torch.nn.Parameter(torch.ones(3, device=device, dtype=dtype))
    optimizer = cls([param], l1=torch.tensor(0.1, device=device, dtype=dtype))
    before = copy.deepcopy(optimizer.param_groups[0]["l1"])
    param.grad = torch.full_like(param, 0.5)
    optimizer.step()
    assert param.dtype == dtype and (param < 1).all()
    assert torch.equal(optimizer.param_groups[0]["l1"], before)
