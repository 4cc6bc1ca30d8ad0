"""Adam and AdamW."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import compare, product, show

import lessons

OPTIONS = product(
    weight_decay=[0, 0.1],
    amsgrad=[False, True],
    maximize=[False, True],
    eps=[1e-8, 0.0],
    betas=[(0.9, 0.999), (0.0, 0.5)],
)
OTHER = dict(lr=3e-3, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.02, amsgrad=True)


@pytest.mark.parametrize("settings", OPTIONS, ids=show)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_equals_torch_to_the_last_bit(name, device, dtype, settings):
    compare(name, device, dtype, OTHER, {"lr": 1e-2, **settings})


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_takes_a_tensor_as_learning_rate(name, device, dtype):
    lr = torch.tensor(1e-2, dtype=dtype, device=device)
    compare(name, device, dtype, dict(weight_decay=0.1), {"lr": lr})


def step(cls, weight, *grads, **settings):
    """Return the weight after one step for each of ``grads``."""
    param = torch.nn.Parameter(torch.tensor(weight, dtype=torch.float64))
    optimizer = cls([param], **settings)
    for grad in grads:
        param.grad = torch.full_like(param, grad)
        optimizer.step()
    return param.detach()


@pytest.mark.parametrize("grad", [1e6, -1.0, 1e-6])
def test_first_step_is_as_long_as_the_learning_rate(grad):
    moved = step(lessons.Adam, 0.0, grad, lr=0.1, eps=0)
    torch.testing.assert_close(
        moved.abs(), torch.tensor(0.1, dtype=torch.float64), rtol=1e-12, atol=0
    )
    assert moved.sign() == -torch.tensor(grad).sign()


def test_eps_is_outside_the_root():
    # First step: m̂ = g and √v̂ = |g|, so that the step is lr · g / (g + eps).
    assert step(lessons.Adam, 0.0, 1e-3, lr=0.1, eps=1e-3).item() == pytest.approx(
        -0.05, rel=1e-12
    )


def test_decay_in_its_two_places():
    settings = dict(lr=0.1, weight_decay=0.5, eps=0)
    assert step(lessons.AdamW, 2.0, 1e-3, **settings).item() == pytest.approx(
        2 * (1 - 0.05) - 0.1, rel=1e-12
    )
    assert step(lessons.Adam, 2.0, 1e-3, **settings).item() == pytest.approx(
        2 - 0.1, rel=1e-12
    )


def test_decoupled_decay_bypasses_the_moments():
    param = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    param.grad = torch.zeros(2)
    optimizer = lessons.AdamW([param], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert (
        not optimizer.state[param]["exp_avg"].any()
        and not optimizer.state[param]["exp_avg_sq"].any()
    )
    torch.testing.assert_close(param.detach(), torch.tensor([3.0, -2.0]) * 0.95)


@pytest.mark.parametrize("cls", [lessons.Adam, lessons.AdamW])
def test_maximize_leaves_the_decay_alone(cls):
    settings = dict(lr=0.1, weight_decay=0.5)
    assert step(cls, 2.0, 0.3, maximize=True, **settings) == step(
        cls, 2.0, -0.3, **settings
    )


def test_adamw_is_adam_with_decoupled_decay():
    assert lessons.AdamW([torch.zeros(1)]).defaults == {
        **lessons.Adam(
            [torch.zeros(1)], weight_decay=0.01, decoupled_weight_decay=True
        ).defaults
    }


def test_amsgrad_never_forgets_a_large_gradient():
    param = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = lessons.Adam([param], betas=(0.9, 0.5), amsgrad=True)
    for grad in [10.0, *[0.1] * 50]:
        param.grad = torch.full_like(param, grad)
        optimizer.step()
    state = optimizer.state[param]
    assert state["max_exp_avg_sq"] == 50.0 > state["exp_avg_sq"]


weights = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=4)
gradients = st.floats(2**-20, 2**20, width=32).flatmap(lambda g: st.sampled_from([g, -g]))


@given(
    weights,
    st.lists(gradients, min_size=1, max_size=5),
    st.integers(-20, 20),
    st.booleans(),
)
def test_adamw_does_not_see_the_scale_of_the_loss(weight, grads, power, amsgrad):
    settings = dict(lr=0.1, weight_decay=0.3, eps=0, amsgrad=amsgrad)
    plain = step(lessons.AdamW, weight, *grads, **settings)
    scaled = step(lessons.AdamW, weight, *(grad * 2.0**power for grad in grads), **settings)
    assert torch.equal(plain, scaled)


@given(weights, st.lists(gradients, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_adam_and_adamw_are_equal_without_decay(weight, grads, amsgrad, maximize):
    settings = dict(lr=0.1, weight_decay=0, amsgrad=amsgrad, maximize=maximize)
    assert torch.equal(
        step(lessons.Adam, weight, *grads, **settings),
        step(lessons.AdamW, weight, *grads, **settings),
    )
