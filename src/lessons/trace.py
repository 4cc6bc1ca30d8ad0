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

    It takes SGD, Adagrad, RMSprop, Adam and AdamW, of this package and of torch. FTRLProximal computes the
    weight anew at each step, not as a sum of terms, and is refused. For each step and parameter it holds

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
            known = ", ".join(FORMULAS)
            raise TypeError(
                f"Trace knows {known}, and torch's of these, not {type(optimizer)!r}"
            )
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
        places = {place: place for place in range(len(self._params()))}
        if which is None and len(places) == 1:
            which = 0
        names = [
            n for group in self.optimizer.param_groups for n in group.get("param_names", ())
        ]
        places |= {n: place for place, n in enumerate(names)}
        if which not in places:
            known = ", ".join(map(str, places))
            raise KeyError(f"Which parameter? Got {which!r}, not one of {known}")
        rows = self.rows.get(places[which], [])
        if not rows or not all(name in row for row in rows):
            known = ", ".join(rows[-1]) if rows else "nothing yet"
            raise KeyError(f"{name!r} is not in every step of parameter {which!r}: {known}")
        return torch.stack([row[name] for row in rows])

    def _params(self) -> list:
        """Return pairs of a parameter and its group, in the order of the groups."""
        return [
            (param, group)
            for group in self.optimizer.param_groups
            for param in group["params"]
        ]

    def _remember(self, optimizer, args, kwargs):
        self._before = []
        for param, _ in self._params():
            received = optimizer.state.get(param, {}).get("l1_received", torch.zeros(()))
            self._before.append((param.detach().clone(), received.clone()))

    @torch.no_grad()
    def _record(self, optimizer, args, kwargs):
        for place, (param, group) in enumerate(self._params()):
            if param.grad is None:
                continue
            (before, received), state = self._before[place], optimizer.state.get(param, {})
            grad = -param.grad if group["maximize"] else param.grad
            row = {"before": before, "after": param, "grad": param.grad, **state}
            row |= {"decay": 0, "l1": 0}
            row |= TERMS[type(optimizer)](before, grad, state, group, received.to(before))
            for name, value in row.items():
                if name != "step":  # one count for the whole parameter
                    value = torch.as_tensor(value, dtype=before.dtype, device=before.device)
                    value = value.expand_as(before)
                row[name] = value.clone()
            self.rows.setdefault(place, []).append(row)


# --- one function a rule: its terms, from the weight before the step and the state after it ---------


def _sgd(w, grad, state, group, received):
    lr, momentum, l1 = group["lr"], group["momentum"], group.get("l1", 0)
    method = l1 and group["l1_method"]
    total = grad + group["weight_decay"] * w
    if method == "subgradient":
        total = total + l1 * w.sign()
    buffer = state["momentum_buffer"] if momentum else total
    update = -lr * (total + momentum * buffer if group["nesterov"] else buffer)
    terms = dict(total_grad=total, rate=lr, update=update)
    if method == "prox":
        scale = (1 - group["dampening"]) / (1 - momentum) if momentum else 1
        terms["l1"] = -(w + update).clamp(-lr * l1 * scale, lr * l1 * scale)
    elif method == "cumulative":
        terms["l1"] = state["l1_received"] - received
    return terms


def _adagrad(w, grad, state, group, received):
    total = grad + group["weight_decay"] * w
    lr = group["lr"] / (1 + (state["step"].item() - 1) * group["lr_decay"])
    rate = lr / (state["sum"].sqrt() + group["eps"])
    update = -rate * total
    return dict(total_grad=total, rate=rate, update=update, l1=_l1(w + update, rate, group))


def _rmsprop(w, grad, state, group, received):
    total = grad + group["weight_decay"] * w
    mean = state["grad_avg"] if group["centered"] else 0
    rate = group["lr"] / ((state["square_avg"] - mean**2).sqrt() + group["eps"])
    update = -group["lr"] * state["momentum_buffer"] if group["momentum"] else -rate * total
    return dict(total_grad=total, rate=rate, update=update)


def _adam(w, grad, state, group, received):
    step, (beta1, beta2) = state["step"].item(), group["betas"]
    penalty = group["weight_decay"] * w
    m = state["exp_avg"] / (1 - beta1**step)
    v = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"] / (1 - beta2**step)
    rate = group["lr"] / (v.sqrt() + group["eps"])
    terms = dict(exp_avg_hat=m, exp_avg_sq_hat=v, rate=rate, update=-rate * m)
    if group["decoupled_weight_decay"]:
        terms |= dict(total_grad=grad, decay=-group["lr"] * penalty)
    else:
        terms |= dict(total_grad=grad + penalty)
    stepped = w + terms["update"] + terms.get("decay", 0)
    return terms | dict(l1=_l1(stepped, rate, group))


def _l1(stepped, rate, group):
    """Return what the soft threshold adds to the weights after the step, each by its own rate times l1."""
    threshold = rate * group.get("l1", 0)
    return -stepped.clamp(-threshold, threshold)


FORMULAS = dict(SGD=_sgd, Adagrad=_adagrad, Adam=_adam, AdamW=_adam, RMSprop=_rmsprop)
TERMS = {getattr(p, name): f for p in (optim, torch.optim) for name, f in FORMULAS.items()}
