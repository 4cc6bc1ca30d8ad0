"""RMSprop: the gradient divided by the running root mean square of its past."""

from typing import ClassVar

import torch

from lessons.optim.base import (
    Optimizer,
    add,
    add_,
    add_quotient_,
    add_square_,
    check_flag,
    check_number,
    is_zero,
    new_step,
    next_step,
)


def rmsprop(param, grad, state, *, lr, alpha, eps, weight_decay, momentum, centered):
    """Update ``param`` in place by one step of RMSprop.

    State: ``step`` (a count); ``square_avg``, and as asked for ``grad_avg`` and ``momentum_buffer``, each
    like ``param``.

    Source: Tieleman and Hinton (2012), lecture 6.5; ``centered`` subtracts the mean's square: a variance.
    """
    next_step(state)
    grad = add(grad, param, weight_decay)  # L2: the penalty's gradient, λ·w
    square_avg = add_square_(state["square_avg"].mul_(alpha), grad, 1 - alpha)
    if centered:
        mean = state["grad_avg"].lerp_(grad, 1 - alpha)
        root = square_avg.addcmul(mean, mean, value=-1).sqrt_()
    else:
        root = square_avg.sqrt()
    root.add_(eps)
    if is_zero(momentum):
        add_quotient_(param, grad, root, -lr)
    else:
        add_(param, state["momentum_buffer"].mul_(momentum).addcdiv_(grad, root), -lr)


class RMSprop(Optimizer):
    """RMSprop, as ``torch.optim.RMSprop``.

    Args:
        params: parameters, named parameters, or parameter groups, as for any torch optimizer.
        lr: the learning rate.
        alpha: the part of the mean square that is kept at each step, in [0, 1).
        eps: added to the root, against division by zero.
        weight_decay: λ; adds λ·w to the gradient (L2), and so to the mean square.
        momentum: how much of the last step's direction is kept.
        centered: divide by the running standard deviation instead of the root mean square.
        maximize: climb instead of descending. The decay still shrinks the weights.

    Raises:
        ValueError: a number is negative, infinite or NaN, or ``alpha`` is not below 1.
        TypeError: a number is none, or a flag no bool.

    Source: Tieleman and Hinton (2012), Coursera lecture 6.5.
    """

    rule = staticmethod(rmsprop)
    no_sparse = "RMSprop does not support sparse gradients"
    older: ClassVar = {"momentum": 0, "centered": False, "maximize": False}
    wanted: ClassVar = {"momentum": "momentum_buffer", "centered": "grad_avg"}

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        *,
        maximize=False,
    ):
        defaults = dict(
            lr=lr,
            momentum=momentum,
            alpha=alpha,
            eps=eps,
            centered=centered,
            weight_decay=weight_decay,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    @staticmethod
    def check(group):
        check_number("lr", group["lr"], label="learning rate")
        check_number("eps", group["eps"], label="epsilon value")
        check_number("momentum", group["momentum"])
        check_number("weight_decay", group["weight_decay"])
        check_number("alpha", group["alpha"], below=1)
        check_flag("centered", group["centered"])
        check_flag("maximize", group["maximize"])

    @staticmethod
    def init_state(param, group):
        state = {"step": new_step(), "square_avg": torch.zeros_like(param)}
        if not is_zero(group["momentum"]):
            state["momentum_buffer"] = torch.zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(param)
        return state
