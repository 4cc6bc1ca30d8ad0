"""Adagrad: every parameter has its own rate, which only shrinks."""

import torch

from lessons.optim.base import (
    Optimizer,
    add,
    add_quotient_,
    add_square_,
    check_flag,
    check_number,
    is_zero,
    new_step,
    next_step,
)
from lessons.optim.prox import soft_threshold_


def adagrad(param, grad, state, *, lr, lr_decay, weight_decay, eps, l1):
    """Update ``param`` in place by one step of Adagrad.

    State: ``step`` (a count), ``sum`` (like ``param``): the sum of all squared gradients so far.

    Source: Duchi, Hazan and Singer (2011), the diagonal case; for L1 its composite mirror descent.
    """
    step = next_step(state)
    grad = add(grad, param, weight_decay)  # L2: the penalty's gradient, λ·w
    total = add_square_(state["sum"], grad, 1)
    lr, root = lr / (1 + (step - 1) * lr_decay), total.sqrt().add_(eps)
    add_quotient_(param, grad, root, -lr)
    if not is_zero(l1):
        soft_threshold_(param, lr * l1 / root)  # each weight by its own rate


class Adagrad(Optimizer):
    """Adagrad, as ``torch.optim.Adagrad``.

    Args:
        params: parameters, named parameters, or parameter groups, as for any torch optimizer.
        lr: the learning rate: the size of a parameter's first step.
        lr_decay: divides the rate by 1 + (step − 1) · lr_decay.
        weight_decay: λ; adds λ·w to the gradient (L2), and so to the sum of squares.
        initial_accumulator_value: where the sum of squares starts; torch ignores it when it is set for one
            group, here each group's own value counts.
        eps: added to the root, against division by zero.
        maximize: climb instead of descending. The decay and ``l1`` still shrink the weights.
        l1: the weight of the penalty l1 · ‖w‖₁, a soft threshold after the step. Each weight's threshold is
            its own rate times l1, so that it comes to rest where loss + l1 · ‖w‖₁ is least. A weight whose
            sum of squares is still 0, as in an embedding the row of a word still to come, has the rate
            lr / eps and goes to 0 at once; an ``initial_accumulator_value`` spares it.

    Raises:
        ValueError: a number is negative, infinite or NaN.
        TypeError: a number is none, or ``maximize`` no bool.
        RuntimeError: in ``step``: a gradient is sparse and ``weight_decay`` or ``l1`` is asked for, or it is
            complex too.

    Source: Duchi, Hazan and Singer (2011), JMLR 12.
    """

    rule = staticmethod(adagrad)
    no_sparse = None
    kept = (
        "initial_accumulator_value",
        "l1",
    )  # torch asks for the former at the start alone

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        *,
        maximize=False,
        l1=0,
    ):
        defaults = dict(
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            maximize=maximize,
            l1=l1,
        )
        super().__init__(params, defaults)

    @staticmethod
    def check(group):
        check_number("lr", group["lr"], label="learning rate")
        check_number("lr_decay", group["lr_decay"])
        check_number("weight_decay", group["weight_decay"])
        check_number("initial_accumulator_value", group["initial_accumulator_value"])
        check_number("eps", group["eps"], label="epsilon value")
        check_number("l1", group["l1"])
        check_flag("maximize", group["maximize"])

    @staticmethod
    def init_state(param, group):
        return {
            "step": new_step(),
            "sum": torch.full_like(param, group["initial_accumulator_value"]),
        }

    def check_gradient(self, param, group):
        super().check_gradient(param, group)
        if group["l1"] > 0:  # sparse, then: complex with l1 is refused already
            raise RuntimeError("l1 is not compatible with sparse gradients in Adagrad")
