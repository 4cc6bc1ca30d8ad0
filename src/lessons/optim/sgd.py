"""Stochastic gradient descent, with momentum, L2 and three ways to apply an L1 penalty."""

from typing import ClassVar

import torch
from torch import Tensor

from lessons.optim.base import (
    Optimizer,
    add,
    add_,
    check_choice,
    check_flag,
    check_number,
    is_zero,
)
from lessons.optim.prox import cumulative_penalty_, soft_threshold_

L1_METHODS = ("subgradient", "prox", "cumulative")


def sgd(
    param, grad, state, *, lr, momentum, dampening, weight_decay, nesterov, l1, l1_method
):
    """Update ``param`` in place by one step of SGD.

    State: ``momentum_buffer`` (like ``param``), from the first step with momentum on;
    ``l1_due`` (a number) and ``l1_received`` (like ``param``) for the cumulative penalty.

    Source: Polyak (1964) for momentum, in the form that torch.optim.SGD uses.
    """
    grad = add(grad, param, weight_decay)  # L2: the penalty's gradient, λ·w
    if l1_method == "subgradient" and not is_zero(l1):
        grad = add(grad, param.sign(), l1)  # as l1·‖w‖₁ in the loss does
    if not is_zero(momentum):
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = grad.clone()  # without dampening
        else:
            add_(state["momentum_buffer"].mul_(momentum), grad, 1 - dampening)
        buffer = state["momentum_buffer"]
        grad = add(grad, buffer, momentum) if nesterov else buffer
    add_(param, grad, -lr)
    if l1_method != "subgradient" and not is_zero(l1):
        amount = lr * l1
        if not is_zero(momentum):
            # It lengthens lasting gradients; the penalty has to keep up.
            amount = amount * (1 - dampening) / (1 - momentum)
        shrink_(param, state, amount, l1_method)


def shrink_(param: Tensor, state: dict, amount, l1_method: str) -> None:
    """Apply the L1 penalty after the gradient step, by ``amount`` in the weights' units.

    With momentum, a lasting gradient g moves the weight by lr · g · (1 − dampening) / (1 − momentum) a step.
    The rule scales the penalty alike: then the two balance where loss + l1 · ‖w‖₁ is least.
    """
    if l1_method == "prox":
        soft_threshold_(param, amount)
    else:
        if "l1_due" not in state:
            state.update(l1_due=0.0, l1_received=torch.zeros_like(param))
        state["l1_due"] = state["l1_due"] + amount
        cumulative_penalty_(param, state["l1_received"], state["l1_due"])


class SGD(Optimizer):
    """Stochastic gradient descent: ``torch.optim.SGD`` and an L1 penalty.

    Args:
        params: parameters, named parameters, or parameter groups, as for any torch optimizer.
        lr: the learning rate.
        momentum: how much of the last step's direction is kept, in [0, 1) where ``l1`` is used.
        dampening: the part of the gradient that momentum leaves out.
        weight_decay: λ; adds λ·w to the gradient (L2).
        nesterov: Nesterov's momentum; wants ``momentum`` > 0 and no dampening.
        maximize: climb instead of descending. The penalties still shrink the weights.
        l1: the weight of the penalty l1 · ‖w‖₁.
        l1_method: ``"subgradient"`` adds l1 · sign(w) to the gradient and gives no exact zeros;
            ``"prox"`` soft-thresholds after the step; ``"cumulative"`` keeps each weight's account, and
            stays sparse under gradient noise.

    Raises:
        ValueError: a number is negative, infinite or NaN, or ``l1_method`` is unknown.
        TypeError: a number is none, a flag no bool, or ``l1_method`` no text.
        RuntimeError: in ``step``: a gradient is sparse and ``weight_decay`` or the subgradient of ``l1`` is
            asked for, or a parameter is complex and ``l1`` is.

    Sources: Polyak (1964); Duchi and Singer (2009); Tsuruoka, Tsujii and Ananiadou (2009).
    """

    rule = staticmethod(sgd)
    linear = True
    no_sparse = None
    older: ClassVar = {"nesterov": False, "maximize": False}
    kept = ("l1", "l1_method")
    numbers = ("l1_due",)
    later = (("momentum_buffer",), ("l1_due", "l1_received"))

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
        l1=0,
        l1_method="prox",
    ):
        defaults = dict(
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
            l1=l1,
            l1_method=l1_method,
        )
        super().__init__(params, defaults)

    @staticmethod
    def check(group):
        check_number("lr", group["lr"], label="learning rate")
        check_number("momentum", group["momentum"])
        check_number("dampening", group["dampening"])
        check_number("weight_decay", group["weight_decay"])
        check_number("l1", group["l1"])
        check_flag("maximize", group["maximize"])
        check_flag("nesterov", group["nesterov"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_choice("l1_method", group["l1_method"], L1_METHODS)
        if group["l1"] > 0 and (group["momentum"] >= 1 or group["dampening"] > 1):
            raise ValueError(
                f"l1 wants momentum below 1 and dampening of at most 1, "
                f"but got {group['momentum']} and {group['dampening']}"
            )

    @staticmethod
    def init_state(param, group):
        return {}

    def check_gradient(self, param, group):
        super().check_gradient(param, group)
        # Sparse, then: complex with l1 is refused already.
        if group["l1"] > 0 and group["l1_method"] == "subgradient":
            raise RuntimeError(
                "l1_method 'subgradient' is not compatible with sparse gradients"
            )
