import numpy as np
import pytest
import torch

from lessons.arguments import check_count, check_part


@pytest.mark.parametrize("value", [1, 200, np.int8(1), np.int64(3), np.uint16(5)])
def test_integers_of_python_and_numpy_are_counts(value):
    count = check_count("steps", value)
    assert type(count) is int and count == value


@pytest.mark.parametrize(
    "value",
    [True, np.True_, 1.0, 2.5, np.float64(3), float("nan"), "3", None, [3], torch.tensor(3)],
    ids=repr,
)
def test_what_is_no_whole_number_is_refused_by_name_and_value(value):
    with pytest.raises(TypeError, match="steps must be a whole number, but got") as raised:
        check_count("steps", value)
    assert type(value).__name__ in str(raised.value)
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize(("value", "least"), [(0, 1), (-1, 0), (np.int8(-5), -4), (1, 2)])
def test_a_count_below_the_least_is_refused(value, least):
    with pytest.raises(ValueError, match=f"seed must be ≥ {least}, but got {value}$"):
        check_count("seed", value, least)
    assert check_count("seed", least, least) == least


@pytest.mark.parametrize("value", [0, 1, 0.3, np.float32(0.5), np.int64(1)])
def test_parts_go_from_0_to_1(value):
    part = check_part("noise", value)
    assert type(part) is float and part == value


@pytest.mark.parametrize("value", [-0.1, 1.001, float("nan"), float("inf"), -1])
def test_a_part_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=f"noise .*{value}"):
        check_part("noise", value)


@pytest.mark.parametrize("value", [True, "0.3", None, [0.3], 1j], ids=repr)
def test_a_part_that_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="noise must be a number, but got"):
        check_part("noise", value)
