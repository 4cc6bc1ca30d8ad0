"""The soft threshold and the cumulative penalty."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lessons.optim.prox import cumulative_penalty_, soft_threshold_

numbers = st.floats(-1e3, 1e3)
thresholds = st.floats(0, 1e3)


def test_soft_threshold_by_hand():
    param = torch.tensor([3.0, -3.0, 0.5, -0.5, 1.0, -1.0, 0.0])
    assert soft_threshold_(param, 1.0) is param
    assert param.tolist() == [2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0]


@given(st.lists(numbers, min_size=1, max_size=5), thresholds, numbers)
def test_soft_threshold_is_the_proximal_operator(values, threshold, other):
    """It minimises ½(x − v)² + threshold · |x|: 0 is in the subdifferential, and no other point is better."""
    v = torch.tensor(values, dtype=torch.float64)
    x = soft_threshold_(v.clone(), threshold)
    wanted = torch.where(x == 0, v.clamp(-threshold, threshold), threshold * x.sign())
    torch.testing.assert_close(
        v - x, wanted, rtol=0, atol=1e-12
    )  # values up to 1e3, so rounding up to 1e-13
    assert (
        cost(x, v, threshold) <= cost(torch.full_like(v, other), v, threshold) + 1e-8
    ).all()


def cost(x, v, threshold):
    return (x - v).square() / 2 + threshold * x.abs()


@given(st.lists(numbers, min_size=1, max_size=5), thresholds)
def test_soft_threshold_keeps_signs_and_never_grows(values, threshold):
    v = torch.tensor(values, dtype=torch.float64)
    x = soft_threshold_(v.clone(), threshold)
    assert (x.abs() <= v.abs()).all() and (x * v >= 0).all()
    assert torch.equal(soft_threshold_(v.clone(), 0.0), v)


def test_thresholds_broadcast():
    param = torch.full((2, 3), 2.0)
    soft_threshold_(param, torch.tensor([[0.5], [3.0]]))
    assert param.tolist() == [[1.5] * 3, [0.0] * 3]


def test_soft_threshold_keeps_nan():
    """A diverged weight must show, not turn into a zero."""
    assert soft_threshold_(torch.tensor([float("nan")]), 1.0).isnan().all()


def test_cumulative_penalty_by_hand():
    param = torch.tensor([1.0, -1.0, 0.1, 0.0])
    received = torch.zeros(4)
    assert cumulative_penalty_(param, received, 0.25) is param
    assert param.tolist() == [0.75, -0.75, 0.0, 0.0]
    assert received.tolist() == pytest.approx([-0.25, 0.25, -0.1, 0.0])


def test_cumulative_penalty_collects_what_was_skipped():
    param, received = torch.tensor([0.0, 0.0]), torch.zeros(2)
    for due in (1.0, 2.0, 3.0):  # at zero a weight pays nothing, and goes on owing
        cumulative_penalty_(param, received, due)
    param.add_(torch.tensor([5.0, -5.0]))
    cumulative_penalty_(param, received, 4.0)
    assert param.tolist() == [1.0, -1.0] and received.tolist() == [-4.0, 4.0]


def test_cumulative_penalty_leaves_a_zero_that_rounding_has_charged_too_much():
    param, received = torch.zeros(2), torch.tensor([-1.0, 1.0])
    assert cumulative_penalty_(param, received, 0.75).tolist() == [0.0, 0.0]
    assert received.tolist() == [-1.0, 1.0]


def test_cumulative_penalty_takes_a_due_for_each_model():
    param, received = torch.full((2, 3), 2.0), torch.zeros(2, 3)
    cumulative_penalty_(param, received, torch.tensor([[0.5], [3.0]]))
    assert param.tolist() == [[1.5] * 3, [0.0] * 3]


@given(st.lists(numbers, min_size=1, max_size=10), st.floats(0, 10))
def test_cumulative_penalty_never_crosses_zero_and_is_the_same_on_both_sides(moves, rate):
    param, received = torch.zeros(2, 2, dtype=torch.float64)
    for count, move in enumerate(moves, start=1):
        before = param.add_(torch.tensor([move, -move])).clone()
        cumulative_penalty_(param, received, count * rate)
        assert (before * param >= 0).all()
        assert (received.abs() <= count * rate + before.abs()).all()
        assert param[0] == -param[1] and received[0] == -received[1]
