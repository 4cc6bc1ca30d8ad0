"""Steps that apply an L1 penalty after the gradient step, and so reach exact zeros."""

from torch import Tensor
from torch.nn.functional import softshrink


def soft_threshold_(param: Tensor, threshold) -> Tensor:
    """Move every entry towards zero by ``threshold``, and stop at zero. In place.

    This is the proximal operator of threshold · ‖w‖₁:  ``sign(w) · max(|w| − threshold, 0)``.

    Args:
        param: weights of any shape.
        threshold: a number ≥ 0, in the weights' units, or a tensor that broadcasts.

    Source: Duchi and Singer (2009), forward-backward splitting; Beck and Teboulle (2009), ISTA.
    """
    if isinstance(threshold, Tensor):
        return param.sub_(param.clamp(-threshold, threshold))
    return softshrink(param, threshold, out=param)  # the same, in one pass


def cumulative_penalty_(param: Tensor, received: Tensor, due) -> Tensor:
    """Charge every weight what it still owes of a penalty that has grown to ``due``. In place.

    A weight that noise pushed across zero and back has skipped part of its penalty. Keeping the account
    makes the zeros last under noisy gradients, where the plain soft threshold loses them.

    Args:
        param: weights of any shape.
        received: the signed penalty that each weight has received so far; same shape, updated in place.
        due: the total that each weight could have received by now, Σ lr · l1: a number ≥ 0 or a tensor
            that broadcasts.

    Source: Tsuruoka, Tsujii and Ananiadou (2009), the procedure ApplyPenalty.
    """
    before = param.clone()
    positive = (before - (due + received)).clamp_(min=0)
    negative = (before + (due - received)).clamp_(max=0)
    param.copy_(positive.where(before > 0, negative.where(before < 0, before)))
    received.add_(param - before)
    return param
