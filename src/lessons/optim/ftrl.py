"""FTRL-Proximal: weights computed anew at each step from all gradients so far, many of them exactly zero."""

import torch
from torch import Tensor

from lessons.optim.base import (
    Optimizer,
    add_square_,
    check_flag,
    check_number,
    new_step,
    next_step,
)
from lessons.optim.prox import soft_threshold_


def ftrl_proximal(param, grad, state, *, lr, beta, l1, l2, per_step):
    """Update ``param`` in place by one step of FTRL-Proximal.

    The new weight minimises ``Σ g·w + ½ Σ σ·(w − each past weight)² + L1·|w| + ½ L2·w²``, where the σ add up to
    1/η = (beta + √n) / lr. With L1 = L2 = 0 that is the step w − η·g, as Adagrad's.

    State: ``step`` (a count); ``n`` and ``z`` (like ``param``): the sum of all squared gradients, and the sum
    of all gradients less σ · weight, so that −η·z is the new weight before the penalties; ``lr``: the last
    step's above 0, from which the next σ follows.

    Source: McMahan et al. (2013), Algorithm 1, whose names z, n and σ are kept; McMahan (2011) for penalties
    that grow with the steps.
    """
    step, z, n = next_step(state), state["z"], state["n"]
    rate = above_zero(lr, state["lr"])
    before = (beta + n.sqrt()) / state["lr"]
    after = (beta + add_square_(n, grad, 1).sqrt()) / rate
    state["lr"] = rate
    z.add_(grad).sub_((after - before) * param)
    rounds = step if per_step else 1
    slope, bound = after + rounds * l2, rounds * l1
    new = soft_threshold_(-z, bound).div_(slope)
    if may_be_zero(lr):
        new = hold_(z, param, new, slope, bound, lr)
    param.copy_(new)


def hold_(z, old, new, slope, bound, lr) -> Tensor:
    """Return ``old`` where ``lr`` is 0, else ``new``. In place, ``z`` then stands for ``old``, too.

    That is what steps with ever smaller rates come to. Of a weight of 0 many z give it: then the nearest one.
    """
    off = old.new_zeros(()) + lr == 0  # a number, too, on the device
    inside = z.clamp(-bound, bound).where(old == 0, old.sign() * -bound)
    z.copy_((inside - slope * old).where(off, z))
    return old.where(off, new)


def above_zero(lr, instead):
    """Return ``lr``, and ``instead`` where it is 0. Of a tensor it is a copy: a schedule writes in place."""
    if isinstance(lr, Tensor):
        return lr + (lr == 0).to(lr.dtype) * instead
    return lr if lr > 0 else instead


def may_be_zero(lr) -> bool:
    """True if a rate is 0, or on a GPU, where to read it would be to wait."""
    if isinstance(lr, Tensor):
        return lr.device.type != "cpu" or bool((lr == 0).any())
    return lr == 0


class FTRLProximal(Optimizer):
    """FTRL-Proximal, with a rate of its own for each weight: Adagrad whose L1 penalty keeps the whole account.

    The soft threshold after a step sees that step alone: one noisy gradient lifts a weight off zero. Here each
    weight is compared with all gradients and the whole penalty so far, and stays at zero under gradient noise.

    Args:
        params: parameters, named parameters, or parameter groups, as for any torch optimizer.
        lr: the paper's α: each weight's rate is lr / (beta + √(sum of its squared gradients)). With lr 0, as a
            schedule has it at its start or its end, no weight moves; the squared gradients still count, as in
            Adagrad, and a weight of 0 still counts its gradients against its penalty.
        beta: the paper's β, above 0: keeps the first rates finite, so that the first step is shorter than lr.
        l1: the paper's λ1: the weight of the penalty l1 · ‖w‖₁.
        l2: the paper's λ2: the weight of the penalty ½ l2 · ‖w‖².
        per_step: True counts both penalties once a step, as they would count in the loss of each step; then
            the weights approach those for which loss + penalties is least. False counts them once for the
            sum of all losses: Algorithm 1 to the letter, where l1 is as large as all steps together want it,
            and where its share shrinks as training goes on.
        maximize: climb instead of descending. The penalties still shrink the weights.

    The paper starts at 0. Weights that start elsewhere are the first of the past weights: ``z`` starts at
    −(beta / lr) · w, from which the closed form without penalties gives w back. So with l1 = 0 and l2 = 0 no
    start is preferred, and an L1 penalty pulls towards 0 from wherever the weights are.

    Raises:
        ValueError: a number is negative, infinite or NaN, or ``beta`` is 0.
        TypeError: a number is none, or ``per_step`` is not a bool.

    Sources: McMahan et al. (2013), KDD; McMahan (2011), AISTATS.
    """

    rule = staticmethod(ftrl_proximal)
    numbers = ("step", "lr")

    def __init__(
        self, params, lr=0.1, beta=1.0, l1=0, l2=0, *, per_step=True, maximize=False
    ):
        defaults = dict(
            lr=lr, beta=beta, l1=l1, l2=l2, per_step=per_step, maximize=maximize
        )
        super().__init__(params, defaults)

    @staticmethod
    def check(group):
        check_number("lr", group["lr"], label="learning rate")
        for name in ("beta", "l1", "l2"):
            check_number(name, group[name])
        if group["beta"] == 0:
            raise ValueError(f"beta must be above 0, but got {group['beta']}")
        check_flag("per_step", group["per_step"])
        check_flag("maximize", group["maximize"])

    @staticmethod
    def init_state(param, group):
        rate = above_zero(group["lr"], 1.0)
        return {
            "step": new_step(),
            "z": param * (-group["beta"] / rate),
            "n": torch.zeros_like(param),
            "lr": rate,
        }

    def check_state(self, param, group, state):
        super().check_state(param, group, state)
        if state and state["lr"] == 0:
            raise ValueError(
                f"Invalid lr value: {state['lr']}; the last rate above 0 is meant"
            )
