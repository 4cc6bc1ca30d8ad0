"""Checks of arguments that many functions take: counts and parts.

Numbers ≥ 0 have :func:`lessons.optim.base.check_number`, which the optimizers use.
"""

from numbers import Integral

from lessons.optim.base import check_number


def check_count(name: str, value, least: int = 1) -> int:
    """Return ``value`` as an int, if it is a whole number ≥ ``least``.

    Args:
        name: the argument's name, for the message.
        value: an integer of Python or NumPy. True, 3.0 and a tensor are none.
        least: the smallest that is taken. A seed is a count from 0 on.

    Raises:
        TypeError: the value is not an integer.
        ValueError: it is below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"{name} must be a whole number, but got {type(value).__name__}: {value!r}"
        )
    if value < least:
        raise ValueError(f"{name} must be ≥ {least}, but got {value}")
    return int(value)  # NumPy's small integers overflow in sums


def check_part(name: str, value) -> float:
    """Return ``value`` as a float, if it is a part of a whole: a number from 0 to 1.

    Raises:
        TypeError: the value is not a number.
        ValueError: it is not from 0 to 1; NaN is not.
    """
    check_number(name, value)
    if value > 1:
        raise ValueError(f"{name} must be from 0 to 1, but got {value}")
    return float(value)
