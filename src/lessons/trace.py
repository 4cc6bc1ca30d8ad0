"""Every state variable and every term of an optimizer's steps, recorded one by one."""

import torch
from torch import Tensor

from lessons import optim
from lessons.optim.base import add, is_zero


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

    A step at which a parameter has no gradient leaves no row for it, nor does one that a gradient scaler
    skips. A sparse gradient is recorded as a dense one. Entered again after its end, the trace goes on.

    Weights of float16 and bfloat16 are recorded, and their terms computed, in float32; all others in their
    own type.

    Args:
        optimizer: whose steps to record. Its parameters are recorded on their own devices.

    Raises:
        TypeError: the optimizer is none of those above. A subclass may step in another way, so it is none.
            When the block is entered, or in ``step`` before anything is changed: a parameter is complex.
        ValueError: then, too: a setting is a tensor of several numbers.
        RuntimeError: the trace is entered while it records.

    Attributes:
        rows: the parameter's place → one dictionary a step, of all of the above.
        starts: the parameter's place → one pair a step: the settings that the step went by, as numbers, and
            the state that it found.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        if type(optimizer) not in TERMS:
            known = ", ".join(FORMULAS)
            raise TypeError(
                f"Trace knows {known}, and torch's of these, not {type(optimizer)!r}"
            )
        self.optimizer, self.rows, self.starts = optimizer, {}, {}
        self._hooks, self._before = [], []

    def __enter__(self):
        if self._hooks:
            raise RuntimeError(
                "this Trace records already; it cannot be entered twice at once"
            )
        self._check()
        self._hooks = [
            self.optimizer.register_step_pre_hook(self._remember),
            self.optimizer.register_step_post_hook(self._record),
        ]
        # Other hooks may change rates, weights or gradients for the next step: record before they do.
        self.optimizer._optimizer_step_post_hooks.move_to_end(self._hooks[1].id, last=False)
        return self

    def __exit__(self, *exception):
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

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

    def _check(self):
        for place, (param, group) in enumerate(self._params()):
            if param.is_complex():
                raise TypeError(
                    f"Trace takes real weights, but parameter {place} is of {param.dtype}"
                )
            for name, value in _settings(group).items():
                if isinstance(value, Tensor):
                    raise ValueError(f"Trace takes one number as {name}, but got {value}")

    def _remember(self, optimizer, args, kwargs):
        self._check()  # a group may have come in the meantime, or another setting
        self._before = [
            (_copy(param, param), _copies(optimizer.state.get(param, {}), param))
            for param, _ in self._params()
        ]

    @torch.no_grad()
    def _record(self, optimizer, args, kwargs):
        if getattr(optimizer, "found_inf", None):  # a gradient scaler had the step left out
            return
        for place, (param, group) in enumerate(self._params()):
            if param.grad is None:
                continue
            (before, last), settings = self._before[place], _settings(group)
            state = optimizer.state.get(param, {})
            grad = -param.grad if settings["maximize"] else param.grad
            row = {"before": before, "after": param, "grad": param.grad, **state}
            row |= {"decay": 0, "l1": 0}
            row |= TERMS[type(optimizer)](before, grad, state, settings, last)
            self.rows.setdefault(place, []).append(_copies(row, param))
            self.starts.setdefault(place, []).append((settings, last))


def _copy(value, param: Tensor) -> Tensor:
    """Return a number or tensor as a dense tensor of ``param``'s shape, of float32 at least."""
    dtype = torch.promote_types(param.dtype, torch.float32)
    value = torch.as_tensor(value, dtype=dtype, device=param.device)
    return value.to_dense().expand_as(param).clone()


def _copies(values: dict, param: Tensor) -> dict:
    return {
        # One count for the whole parameter.
        name: torch.as_tensor(value).clone() if name == "step" else _copy(value, param)
        for name, value in values.items()
        if value is not None  # torch's SGD has such a buffer, after some checkpoints
    }


def _settings(group: dict) -> dict:
    """Return a group's settings, with tensors of one element as the numbers that they are."""

    def plain(value):
        if isinstance(value, tuple | list):
            return tuple(map(plain, value))
        return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value

    return {name: plain(group[name]) for name in group if not name.startswith("param")}


# --- one function a rule: its terms, from the weight before the step and the state around it --------
# A root is taken in the state's own type, and a quotient in the rule's order: where almost nothing is left
# under the root, or a number overflows, that decides. A setting of 0 is left out: 0 times infinity is NaN.


def _sgd(w, grad, state, group, last):
    lr, momentum, l1 = group["lr"], group["momentum"], group.get("l1", 0)
    method = l1 and group["l1_method"]
    total = add(grad.to_dense(), w, group["weight_decay"])
    if method == "subgradient":
        total = total + l1 * w.sign()
    buffer = state["momentum_buffer"].to_dense() if momentum else total
    update = -lr * (total + momentum * buffer if group["nesterov"] else buffer)
    terms = dict(total_grad=total, rate=lr, update=update)
    if method == "prox":
        scale = (1 - group["dampening"]) / (1 - momentum) if momentum else 1
        terms["l1"] = -(w + update).clamp(-lr * l1 * scale, lr * l1 * scale)
    elif method == "cumulative":
        terms["l1"] = state["l1_received"] - last.get("l1_received", 0)
    return terms


def _adagrad(w, grad, state, group, last):
    total = add(grad.to_dense(), w, group["weight_decay"])
    lr = group["lr"] / (1 + (float(state["step"]) - 1) * group["lr_decay"])
    root = (state["sum"].sqrt() + group["eps"]).to(w.dtype)
    rate, update = lr / root, -lr * total / root
    if grad.is_sparse:  # a weight that it leaves out stays, whatever its rate
        update = update.where(total != 0, 0)
    return dict(total_grad=total, rate=rate, update=update, l1=_l1(w + update, rate, group))


def _rmsprop(w, grad, state, group, last):
    total = add(grad, w, group["weight_decay"])
    square = state["square_avg"]
    if group["centered"]:
        square = square.addcmul(state["grad_avg"], state["grad_avg"], value=-1)
    root = (square.sqrt() + group["eps"]).to(w.dtype)
    update = -group["lr"] * (state["momentum_buffer"] if group["momentum"] else total)
    if not group["momentum"]:
        update = update / root
    return dict(total_grad=total, rate=group["lr"] / root, update=update)


def _adam(w, grad, state, group, last):
    step, (beta1, beta2) = float(state["step"]), group["betas"]
    lr, decay = group["lr"], group["weight_decay"]
    m, v = state["exp_avg"], state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    root = (v.sqrt() / (1 - beta2**step) ** 0.5 + group["eps"]).to(w.dtype)
    rate, update = lr / root, -lr / (1 - beta1**step) * m / root
    terms = dict(exp_avg_hat=m / (1 - beta1**step), exp_avg_sq_hat=v / (1 - beta2**step))
    terms |= dict(rate=rate, update=update, total_grad=grad)
    if not group["decoupled_weight_decay"]:
        terms["total_grad"] = add(grad, w, decay)
    elif not is_zero(decay):  # an infinite weight stays so
        terms["decay"] = (-lr * decay * w).where(w.isfinite(), 0)
    stepped = w + terms["update"] + terms.get("decay", 0)
    return terms | dict(l1=_l1(stepped, rate, group))


def _l1(stepped, rate, group):
    """Return what the soft threshold adds to the weights after the step, each by its own rate times l1."""
    l1 = group.get("l1", 0)
    return 0 if is_zero(l1) else -stepped.clamp(-rate * l1, rate * l1)


FORMULAS = dict(SGD=_sgd, Adagrad=_adagrad, Adam=_adam, AdamW=_adam, RMSprop=_rmsprop)
TERMS = {getattr(p, name): f for p in (optim, torch.optim) for name, f in FORMULAS.items()}
