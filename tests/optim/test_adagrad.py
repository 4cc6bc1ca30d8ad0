"""Adagrad."""

import pytest
import torch
from parity import compare, product, show

import lessons

OPTIONS = product(
    lr_decay=[0, 0.01],
    weight_decay=[0, 0.1],
    initial_accumulator_value=[0, 0.5],
    eps=[1e-10, 0],
    maximize=[False, True],
)
OTHER = dict(lr=0.03, lr_decay=0.002, weight_decay=0.02, eps=1e-3)


@pytest.mark.parametrize("settings", OPTIONS, ids=show)
def test_equals_torch_to_the_last_bit(device, dtype, settings):
    compare("Adagrad", device, dtype, OTHER, {"lr": 0.1, **settings})


def test_takes_a_tensor_as_learning_rate(device, dtype):
    lr = torch.tensor(1e-2, dtype=dtype, device=device)
    compare("Adagrad", device, dtype, dict(weight_decay=0.1), {"lr": lr})


def steps(grads, **settings):
    """Return the lengths of the steps that one weight takes from 0 under ``grads``."""
    param = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = lessons.Adagrad([param], **settings)
    seen = [param.item()]
    for grad in grads:
        param.grad = torch.full_like(param, grad)
        optimizer.step()
        seen.append(param.item())
    return torch.tensor(seen, dtype=torch.float64).diff().abs()


def test_steps_shrink_with_the_root_of_the_count():
    # A constant gradient g: the sum after t steps is t·g², so that the step is lr / √t.
    counts = torch.arange(1, 101, dtype=torch.float64)
    torch.testing.assert_close(
        steps([7.0] * 100, lr=0.1, eps=0), 0.1 / counts.sqrt(), rtol=1e-12, atol=1e-14
    )


def test_lr_decay_spares_the_first_step():
    counts = torch.arange(1, 11, dtype=torch.float64)
    expected = 0.1 / counts.sqrt() / (1 + (counts - 1) * 0.5)
    seen = steps([7.0] * 10, lr=0.1, lr_decay=0.5, eps=0)
    torch.testing.assert_close(seen, expected, rtol=1e-12, atol=1e-14)


def test_eps_is_outside_the_root():
    assert steps([1e-3], lr=0.1, eps=1e-3).item() == pytest.approx(0.05, rel=1e-12)


def test_each_group_has_its_own_start():
    params = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    groups = [
        {"params": params[:1]},
        {"params": params[1:], "initial_accumulator_value": 3.0},
    ]
    optimizer = lessons.Adagrad(groups, initial_accumulator_value=1.0)
    for param in params:
        param.grad = torch.zeros(2)
    optimizer.step()
    assert [optimizer.state[param]["sum"].tolist() for param in params] == [
        [1.0, 1.0],
        [3.0, 3.0],
    ]
