"""Every state variable and every term of an optimizer's steps, recorded one by one."""

import torch
from torch import Tensor

from lessons import optim


class Trace:
    """Record what an optimizer does, from entering to leaving a ``with`` block::

        with Trace(optimizer) as trace:
            train(model, optimizer)
        trace["exp_avg"]  # a tensor of steps × the parameter's shape
        trace["exp_avg", "bias"]  # of several parameters one, by its name or its place

    It takes the optimizers of this package and torch's of the same names. For each step and parameter it holds

    * ``before`` and ``after``: the weight around the step;
    * ``grad``: the gradient; ``total_grad``: what the rule descends along. That is the gradient with its sign
      turned if ``maximize``, plus a coupled decay λ·w (L2) and the L1 penalty's subgradient;
    * the optimizer's state after the step, under torch's names (``exp_avg``, ``sum``, ``momentum_buffer``, …);
    * ``exp_avg_hat`` and ``exp_avg_sq_hat``: Adam's moments after bias correction. With AMSGrad, the latter
      is of the largest second moment so far: what the rule divides by;
    * ``rate``: each weight's effective learning rate, by which its gradient, moment or buffer is multiplied;
    * ``update``, ``decay`` and ``l1``: what the step *adds* to the weight by its rule, by decoupled decay and
      by the L1 penalty after the step. The last two are 0 where they are off or a part of ``total_grad``.

    ``before + update + decay + l1`` is ``after``, up to rounding: the terms come from formulas of their own,
    applied to the state, not from the difference of the weights.

    A step at which a parameter has no gradient leaves no row for it. Entered again, the trace goes on.

    Args:
        optimizer: whose steps to record. Its parameters are recorded on their own devices.

    Raises:
        TypeError: the optimizer is none of those above. A subclass may step in another way, so it is none.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        if type(optimizer) not in TERMS:
            known = ", ".join(sorted({cls.__name__ for cls in TERMS}))
            raise TypeError(f"Trace knows {known}, of lessons and torch.optim, but got {type(optimizer)!r}")
        self.optimizer, self.rows, self._hooks, self._before = optimizer, {}, [], []

    def __enter__(self):
        self._hooks = [
            self.optimizer.register_step_pre_hook(self._remember),
            self.optimizer.register_step_post_hook(self._record),
        ]
        return self

    def __exit__(self, *exception):
        for hook in self._hooks:
            hook.remove()

    def __getitem__(self, key: str | tuple[str, int | str]) -> Tensor:
        """Return all values of a variable, stacked: steps × the parameter's shape.

        Args:
            key: the variable's name; where the optimizer has several parameters a pair with the parameter's
                place in the groups or, if the optimizer was given names, its name.

        Raises:
            KeyError: there is no such parameter, or the variable was not recorded at every step.
        """
        name, which = key if isinstance(key, tuple) else (key, None)
        names = [name for group in self.optimizer.param_groups for name in group.get("param_names", ())]
        places = {place: place for place in range(len(self._params()))} | {n: i for i, n in enumerate(names)}
        if which is None and len(self._params()) == 1:
            which = 0
        if which not in places:
            raise KeyError(f"Which parameter? Got {which!r}, not one of {', '.join(map(str, places))}")
        rows = self.rows.get(places[which], [])
        if not all(name in row for row in rows) or not rows:
            known = ", ".join(rows[-1]) if rows else "nothing yet"
            raise KeyError(f"{name!r} is not in every step of parameter {which!r}, which has: {known}")
        return torch.stack([row[name] for row in rows])

    def _params(self) -> list:
        """Return pairs of a parameter and its group, in the order of the groups."""
        return [(param, group) for group in self.optimizer.param_groups for param in group["params"]]

    def _remember(self, optimizer, args, kwargs):
        states = [optimizer.state.get(param, {}) for param, _ in self._params()]
        received = [state["l1_received"].clone() if "l1_received" in state else 0 for state in states]
        self._before = [(p.detach().clone(), r) for (p, _), r in zip(self._params(), received, strict=True)]

    @torch.no_grad()
    def _record(self, optimizer, args, kwargs):
        for place, (param, group) in enumerate(self._params()):
            if param.grad is None:
                continue
            (before, received), state = self._before[place], optimizer.state.get(param, {})
            grad = -param.grad if group["maximize"] else param.grad
            terms = TERMS[type(optimizer)](before, grad, state, received, **group)
            row = {"before": before, "after": param, "grad": param.grad, **state, "decay": 0, "l1": 0, **terms}
            like = dict(dtype=before.dtype, device=before.device)
            shaped = {name: torch.as_tensor(value, **like).expand_as(before) for name, value in row.items()}
            if "step" in state:  # one count for the whole parameter
                shaped["step"] = state["step"]
            self.rows.setdefault(place, []).append({name: value.clone() for name, value in shaped.items()})


# --- one function a rule: its terms, from the weight before the step and the state after it ---------


def _sgd(w, grad, state, received, *, lr, momentum, dampening, weight_decay, nesterov, l1=0, l1_method="", **_):
    coupled = l1 if l1_method == "subgradient" else 0
    total = grad + weight_decay * w + coupled * w.sign()
    buffer = state["momentum_buffer"] if momentum else total
    update = -lr * (total + momentum * buffer if momentum and nesterov else buffer)
    terms = dict(total_grad=total, rate=lr, update=update)
    if l1 and l1_method == "prox":
        threshold = lr * l1 * ((1 - dampening) / (1 - momentum) if momentum else 1)
        terms["l1"] = -(w + update).clamp(-threshold, threshold)
    elif l1 and l1_method == "cumulative":
        terms["l1"] = state["l1_received"] - received
    return terms


def _adagrad(w, grad, state, received, *, lr, lr_decay, weight_decay, eps, **_):
    total = grad + weight_decay * w
    rate = lr / (1 + (state["step"].item() - 1) * lr_decay) / (state["sum"].sqrt() + eps)
    return dict(total_grad=total, rate=rate, update=-rate * total)


def _rmsprop(w, grad, state, received, *, lr, eps, weight_decay, momentum, centered, **_):
    total = grad + weight_decay * w
    variance = state["square_avg"] - state["grad_avg"] ** 2 if centered else state["square_avg"]
    rate = lr / (variance.sqrt() + eps)
    update = -lr * state["momentum_buffer"] if momentum else -rate * total
    return dict(total_grad=total, rate=rate, update=update)


def _adam(w, grad, state, received, *, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay, **_):
    step = state["step"].item()
    total = grad if decoupled_weight_decay else grad + weight_decay * w
    m = state["exp_avg"] / (1 - betas[0] ** step)
    v = state["max_exp_avg_sq" if amsgrad else "exp_avg_sq"] / (1 - betas[1] ** step)
    rate = lr / (v.sqrt() + eps)
    decay = -lr * weight_decay * w if decoupled_weight_decay else 0
    return dict(total_grad=total, exp_avg_hat=m, exp_avg_sq_hat=v, rate=rate, update=-rate * m, decay=decay)


FORMULAS = {"SGD": _sgd, "Adagrad": _adagrad, "Adam": _adam, "AdamW": _adam, "RMSprop": _rmsprop}
TERMS = {getattr(package, name): terms for package in (optim, torch.optim) for name, terms in FORMULAS.items()}
