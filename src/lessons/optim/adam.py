"""Adam and AdamW: one rule, in which the weight decay stands in one of two places."""

from typing import ClassVar

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


def adam(
    param, grad, state, *, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay, l1
):
    """Update ``param`` in place by one step of Adam or AdamW.

    State: ``step`` (a count); ``exp_avg``, ``exp_avg_sq`` and for AMSGrad ``max_exp_avg_sq``, each like
    ``param``: the running means of the gradient and of its square, and the largest of the latter.

    Source: Kingma and Ba (2015), Algorithm 1; Loshchilov and Hutter (2019), Algorithm 2, with the decay
    times the learning rate as torch has it; Reddi, Kale and Kumar (2018) for AMSGrad. The L1 penalty is
    Adagrad's proximal step, Duchi, Hazan and Singer (2011), in Adam's metric.
    """
    step, (beta1, beta2) = next_step(state), betas
    if not is_zero(weight_decay):
        if decoupled_weight_decay:
            param.mul_(1 - lr * weight_decay)  # AdamW: shrink the weight itself
        else:
            grad = add(grad, param, weight_decay)  # Adam: L2 joins the gradient
    m = state["exp_avg"].lerp_(grad, 1 - beta1)
    v = add_square_(state["exp_avg_sq"].mul_(beta2), grad, 1 - beta2)
    if amsgrad:
        largest = state["max_exp_avg_sq"]
        v = torch.maximum(largest, v, out=largest)
    root = v.sqrt().div_((1 - beta2**step) ** 0.5).add_(eps)
    add_quotient_(param, m, root, -(lr / (1 - beta1**step)))
    if not is_zero(l1):
        soft_threshold_(param, lr * l1 / root)  # at rest m̂ = −l1·sign(w)


class Adam(Optimizer):
    """Adam, as ``torch.optim.Adam``; its ``weight_decay`` is L2, coupled to the gradient.

    Args:
        params: parameters, named parameters, or parameter groups, as for any torch optimizer.
        lr: the learning rate: about the size of a step, whatever the gradient's scale.
        betas: the parts of the two running means that are kept at each step, both in [0, 1).
        eps: added to the root, against division by zero.
        weight_decay: λ; adds λ·w to the gradient (Adam) or shrinks the weight by lr·λ·w (AdamW).
        amsgrad: divide by the largest second moment so far. As in torch, the largest of the uncorrected one.
        maximize: climb instead of descending. The decay and ``l1`` still shrink the weights.
        decoupled_weight_decay: True makes this AdamW.
        l1: the weight of the penalty l1 · ‖w‖₁, a soft threshold after the step. Each weight's threshold is
            lr · l1 / (√v̂ + eps), so that it comes to rest where loss + l1 · ‖w‖₁ is least; with Adam's
            ``weight_decay`` where loss + l1 · ‖w‖₁ + ½ λ · ‖w‖² is. A weight that has had no gradient other
            than 0 yet, as in an embedding the row of a word still to come, has the rate lr / eps and goes to
            0 at once. Where the start of such weights matters, train some steps with ``l1`` 0 first.

    Raises:
        ValueError: a number is negative, infinite or NaN, a beta is not below 1, or one of the betas is a
            number and the other a tensor.
        TypeError: a number is none, or a flag no bool.

    Sources: Kingma and Ba (2015), arXiv 1412.6980; for l1 Duchi, Hazan and Singer (2011), JMLR 12.
    """

    rule = staticmethod(adam)
    no_sparse = "Adam does not support sparse gradients, please consider SparseAdam instead"
    kept = ("decoupled_weight_decay", "l1")  # before 2.7, torch lacked the former
    wanted: ClassVar = {"amsgrad": "max_exp_avg_sq"}

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        maximize=False,
        decoupled_weight_decay=False,
        l1=0,
    ):
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
            l1=l1,
        )
        super().__init__(params, defaults)

    @staticmethod
    def check(group):
        check_number("lr", group["lr"], label="learning rate")
        check_number("eps", group["eps"], label="epsilon value")
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise ValueError(f"betas must be a pair of numbers, but got {group['betas']!r}")
        for index, beta in enumerate(group["betas"]):
            check_number(
                f"betas[{index}]",
                beta,
                below=1,
                label=f"beta parameter at index {index}",
            )
        if len({isinstance(beta, torch.Tensor) for beta in group["betas"]}) > 1:
            raise ValueError("betas must be either both floats or both Tensors")
        check_number("weight_decay", group["weight_decay"])
        check_number("l1", group["l1"])
        for flag in ("amsgrad", "maximize", "decoupled_weight_decay"):
            check_flag(flag, group[flag])

    @staticmethod
    def init_state(param, group):
        state = {
            "step": new_step(),
            "exp_avg": torch.zeros_like(param),
            "exp_avg_sq": torch.zeros_like(param),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = torch.zeros_like(param)
        return state


class AdamW(Adam):
    """AdamW, as ``torch.optim.AdamW``: Adam whose decay shrinks the weight and bypasses both moments.

    Takes what :class:`Adam` takes, but for ``decoupled_weight_decay``, which is True;
    ``weight_decay`` is 0.01 by default.

    Its two penalties differ in kind. The decay shrinks each weight by the same part, lr·λ, whatever its
    gradients; ``l1`` is measured against the gradients. The decay comes first, then Adam's step, then the
    threshold. A weight rests where its gradient is −l1 · sign(w) − λ · (√v̂ + eps) · w: the L1 penalty is the
    same for all weights, while the L2 penalty that the decay amounts to grows with a weight's gradients.
    Multiply the loss by 64, and ``l1`` wants that factor too; ``weight_decay`` does not.

    Source: Loshchilov and Hutter (2019), arXiv 1711.05101.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=1e-2,
        amsgrad=False,
        *,
        maximize=False,
        l1=0,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
            l1=l1,
        )
