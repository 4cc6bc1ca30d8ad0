"""RMSprop."""

import pytest
import torch
from parity import compare, product, show

import lessons

OPTIONS = product(
    weight_decay=[0, 0.1],
    momentum=[0, 0.9],
    centered=[False, True],
    eps=[1e-8, 0],
    maximize=[False, True],
)
OTHER = dict(lr=3e-3, alpha=0.8, weight_decay=0.02, momentum=0.5, eps=1e-3)


@pytest.mark.parametrize("settings", OPTIONS, ids=show)
def test_equals_torch_to_the_last_bit(device, dtype, settings):
    compare("RMSprop", device, dtype, OTHER, {"lr": 1e-3, **settings})


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_takes_a_tensor_as_learning_rate(device, dtype, momentum):
    lr = torch.tensor(1e-3, dtype=dtype, device=device)
    compare(
        "RMSprop", device, dtype, dict(weight_decay=0.1), {"lr": lr, "momentum": momentum}
    )


def first_step(grad, **settings):
    """Return by how much the first step moves a weight, and the state that it leaves."""
    param = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    param.grad = torch.full_like(param, grad)
    optimizer = lessons.RMSprop([param], **settings)
    optimizer.step()
    return param.item(), optimizer.state[param]


def test_eps_is_outside_the_root():
    # First step: the mean square is (1 − alpha) · g², here 1e-4.
    moved, _ = first_step(0.1, lr=0.1, alpha=0.99, eps=0.01)
    assert moved == pytest.approx(-0.1 * 0.1 / (0.01 + 0.01), rel=1e-12)


def test_centered_divides_by_the_standard_deviation():
    moved, state = first_step(2.0, lr=0.1, alpha=0.5, eps=0, centered=True)
    assert state["grad_avg"] == 1.0 and state["square_avg"] == 2.0
    assert moved == pytest.approx(-0.1 * 2 / (2 - 1**2) ** 0.5, rel=1e-12)


def test_is_adam_without_momentum_and_bias_correction():
    params = [torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2)]
    adam = lessons.Adam(params[:1], lr=0.1, betas=(0.0, 0.9), eps=0)
    rmsprop = lessons.RMSprop(params[1:], lr=0.1, alpha=0.9, eps=0)
    generator = torch.Generator().manual_seed(0)
    for count in range(1, 101):
        rmsprop.param_groups[0]["lr"] = (
            0.1 * (1 - 0.9**count) ** 0.5
        )  # Adam's correction of the second moment
        params[0].grad = params[1].grad = torch.randn(
            3, generator=generator, dtype=torch.float64
        )
        adam.step()
        rmsprop.step()
    torch.testing.assert_close(*params, rtol=1e-12, atol=1e-13)
