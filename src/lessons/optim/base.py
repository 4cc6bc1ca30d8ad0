"""What all optimizers here share: the loop around a rule, and arithmetic that also takes stacks.

An optimizer of this package is a *rule* — a function that updates one parameter from its gradient and its
state — and a thin class that applies the rule to every parameter. The class is a ``torch.optim.Optimizer``,
so parameter groups, schedulers, hooks and checkpoints work as they do for any optimizer of torch.
"""

import inspect
import math
from operator import is_
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

# --- arithmetic ---------------------------------------------------------------------------------
# ``factor`` is a number, or a tensor that broadcasts against ``x``: the sweeps train a stack of models
# with one hyper-parameter a model. For a number, these are the very operations that torch.optim uses,
# so that the results are equal to the last bit.
# ``y`` and ``numerator`` may be a coalesced sparse gradient: then only its entries are touched. What
# ``add_square_`` returns are the values at these entries, and ``add_quotient_`` takes its denominator so.


def varies(factor) -> bool:
    """True if ``factor`` holds one value for each model of a stack rather than a single number."""
    # Asked several times for every parameter; isinstance takes twice as long; type(…) is Tensor misses fakes.
    return getattr(factor, "ndim", 0) > 0


def is_zero(factor) -> bool:
    """True if ``factor`` is the number 0, so that the term which it scales can be left out."""
    return not getattr(factor, "ndim", 0) and factor == 0


def add(x: Tensor, y: Tensor, factor) -> Tensor:
    """Return x + factor · y, and ``x`` itself where the factor is 0."""
    if is_zero(factor):
        return x
    return torch.addcmul(x, y, factor) if varies(factor) else x.add(y, alpha=factor)


def add_(x: Tensor, y: Tensor, factor) -> Tensor:
    """x += factor · y, in place."""
    return x.addcmul_(y, factor) if varies(factor) else x.add_(y, alpha=factor)


def add_square_(x: Tensor, y: Tensor, factor) -> Tensor:
    """x += factor · y², in place."""
    if y.is_sparse:
        x.add_(y.pow(2), alpha=factor)
        return x.sparse_mask(y).values()
    return x.addcmul_(y * y, factor) if varies(factor) else x.addcmul_(y, y, value=factor)


def add_quotient_(x: Tensor, numerator: Tensor, denominator: Tensor, factor) -> Tensor:
    """x += factor · numerator / denominator, in place."""
    if numerator.is_sparse:
        quotient = numerator.values() / denominator
        return x.add_(with_values(numerator, quotient), alpha=factor)
    if varies(factor):
        return x.addcdiv_(numerator * factor, denominator)
    return x.addcdiv_(numerator, denominator, value=factor)


def with_values(sparse: Tensor, values: Tensor) -> Tensor:
    """Return a sparse tensor with ``values`` at the entries of ``sparse``, which is coalesced.

    It is not marked as coalesced itself, as in torch: the mark changes the rounding where it is added.
    """
    return torch.sparse_coo_tensor(
        sparse.indices(), values, sparse.shape, check_invariants=False
    )


def number_of(value):
    """Return a setting as the rules take it.

    A tensor of one element becomes 0-d, so that it counts as a number. An integer of NumPy becomes Python's: an
    unsigned one has no negative.
    """
    if isinstance(value, tuple | list):
        return tuple(map(number_of, value))
    if isinstance(value, Tensor):
        return value.squeeze()
    return int(value) if isinstance(value, np.integer) else value


# --- state --------------------------------------------------------------------------------------


def new_step() -> Tensor:
    """Return a step counter at 0. It lives on the CPU, where reading it never waits for a GPU."""
    return torch.zeros((), dtype=torch.float32, device="cpu")


def as_step(count) -> Tensor:
    """Return a step counter that stands at ``count``: a number, as torch kept it before 1.12, or a tensor."""
    return count.cpu() if isinstance(count, Tensor) else new_step() + float(count)


def next_step(state: dict) -> float:
    """Count one more step in ``state["step"]`` and return the count: 1 at the first step."""
    state["step"] += 1
    return state["step"].item()


# --- checks -------------------------------------------------------------------------------------


def check_number(
    name: str, value, *, below: float = math.inf, label: str | None = None
) -> None:
    """Raise unless 0 ≤ value < below, in the words that torch.optim uses.

    Args:
        name: the argument's name, for the message about a wrong type.
        value: a number (of Python or NumPy), or a tensor of one element.
        below: the bound that the value must stay under. Infinity and NaN are never accepted.
        label: what torch calls the argument in its message, where that is not ``"{name} value"``.

    Raises:
        TypeError: the value is not a number.
        ValueError: the value is out of range.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element")
        number = value.item()
    else:
        number = value
    kinds = int, float, np.integer, np.floating
    if isinstance(number, bool) or not isinstance(number, kinds):
        raise TypeError(
            f"{name} must be a number, but got {type(value).__name__}: {value!r}"
        )
    if not 0 <= number < below:  # NaN fails every comparison
        raise ValueError(f"Invalid {label or f'{name} value'}: {value}")


def check_flag(name: str, value) -> None:
    """Raise ``TypeError`` unless ``value`` is True or False, of Python or NumPy.

    The words "True" and "False" are none: as text, both count as true.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, but got {value!r}")


def check_choice(name: str, value, choices: tuple[str, ...]) -> None:
    """Raise ``TypeError`` unless ``value`` is text, and ``ValueError`` unless it is one of ``choices``."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, but got {type(value).__name__}: {value!r}")
    if value not in choices:
        raise ValueError(f"Invalid {name}: {value!r}, not one of {', '.join(choices)}")


def may_change(value) -> bool:
    """True if a setting can become another one in place: a tensor, a list, or a tuple that holds one."""
    if isinstance(value, tuple):
        return any(map(may_change, value))
    return isinstance(value, Tensor | list)


# --- the loop around a rule ---------------------------------------------------------------------


class Optimizer(torch.optim.Optimizer):
    """A ``torch.optim.Optimizer`` that applies one rule to every parameter with a gradient.

    A subclass sets ``rule`` and says how the state starts (``init_state``) and which settings are valid
    (``check``). A rule has the form ``rule(param, grad, state, *, lr, …)``; it changes ``param`` and
    ``state`` in place, and finds its keyword arguments under the same names in the parameter group.

    A rule sees a complex parameter, its gradient and its state as pairs of real numbers, as in torch, unless
    it is ``linear``. The state that ``init_state`` returned is stored as complex numbers.
    """

    rule = None
    linear = False  # True: complex numbers, and a sparse gradient's repeated entries, need no care
    # The error for a sparse gradient; None: the rule takes it.
    no_sparse = "the rule does not support sparse gradients"
    # What a checkpoint may lack: settings that came late to torch, with the value that it takes then; and those
    # that torch does not have or does not ask for, which stay as they are.
    older: ClassVar = {"maximize": False}
    kept = ()
    # The state: what is one number; what starts later than the rest, and together; what a setting wants.
    numbers = ("step",)
    later = ()
    wanted: ClassVar = {}
    _checked = ()  # the settings of all groups that the last step found valid

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        parameters = inspect.signature(cls.rule).parameters.values()
        cls.hyperparameters = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def __init__(self, params, defaults: dict):
        self.check(defaults)
        super().__init__(params, defaults)

    @staticmethod
    def check(group: dict) -> None:
        """Raise ``ValueError`` or ``TypeError`` for a setting that the rule cannot work with."""
        raise NotImplementedError

    @staticmethod
    def init_state(param: Tensor, group: dict) -> dict:
        """Return the state of one parameter before its first step."""
        raise NotImplementedError

    def check_gradient(self, param: Tensor, group: dict) -> None:
        """Raise ``RuntimeError`` for a sparse or complex gradient that the rule cannot work with."""
        if param.is_complex() and not is_zero(number_of(group.get("l1", 0))):
            raise RuntimeError("l1 is not compatible with complex parameters")
        if param.grad.is_sparse:
            if self.no_sparse:
                raise RuntimeError(self.no_sparse)
            if not is_zero(number_of(group.get("weight_decay", 0))):
                raise RuntimeError(
                    "weight_decay option is not compatible with sparse gradients"
                )
            if param.is_complex() and not self.linear:
                raise RuntimeError(
                    f"{type(self).__name__} takes no gradients that are sparse and complex"
                )

    def add_param_group(self, param_group: dict) -> None:
        """Add a group of parameters, after its settings were checked like the constructor's."""
        if isinstance(param_group, dict):  # if not, torch says so
            self.check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a checkpoint of this class, or of torch's class of the same name, and of any version.

        A setting that torch does not have, such as ``l1``, stays as it is when the checkpoint lacks it. What
        the state keeps as one number keeps its own precision; all else gets the parameter's, as in torch.

        Raises:
            ValueError: the checkpoint is another optimizer's, or damaged: it lacks a setting or a part of the
                state, one of them is invalid or has another shape than the parameter, or its weight decay
                stands in the other place (Adam and AdamW). Nothing was changed then.
        """
        read = {}

        def check(_, state_dict):
            read.update(self._read(state_dict))
            return read

        if not isinstance(state_dict, dict):
            self._refuse(f"it is {type(state_dict).__name__}, not a dict")
        # The last hook of all sees what torch is going to read.
        last = self.register_load_state_dict_pre_hook(check)
        try:
            super().load_state_dict(state_dict)
        finally:
            last.remove()
        for group, saved in zip(self.param_groups, read["param_groups"], strict=True):
            for param, key in zip(group["params"], saved["params"], strict=True):
                entry = read["state"].get(key, {})
                for name in set(self.numbers) & entry.keys() - {"step"}:
                    if isinstance(entry[name], Tensor):  # torch has cast it
                        self.state[param][name] = entry[name].clone()

    def _read(self, state_dict: dict) -> dict:
        """Return a checkpoint whose groups are complete, or raise ``ValueError``."""
        for name, kind in (("param_groups", list), ("state", dict)):
            if not isinstance(state_dict.get(name), kind):
                self._refuse(f"it has no {name}")
        groups = []
        if len(state_dict["param_groups"]) != len(self.param_groups):
            return state_dict  # torch says so
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            kept = {name: group[name] for name in self.kept}
            groups.append(saved := {**self.older, **kept, **saved})
            missing = [
                name for name in ("params", *self.hyperparameters) if name not in saved
            ]
            if missing:
                self._refuse(f"it has no {', '.join(missing)}")
            place = "decoupled_weight_decay"
            if group.get(place) != saved.get(place):
                self._refuse(f"its {place} is {saved[place]}")
            try:
                self.check(saved)
                for param, key in zip(group["params"], saved["params"], strict=False):
                    self.check_state(param, saved, state_dict["state"].get(key, {}))
            except (TypeError, ValueError) as error:
                self._refuse(error)
        return {**state_dict, "param_groups": groups}

    def check_state(self, param: Tensor, group: dict, state: dict) -> None:
        """Raise unless a parameter's saved state is like what ``init_state`` returns for it."""
        if not isinstance(state, dict):
            raise TypeError(f"a parameter's state is {type(state).__name__}, not a dict")
        if not state:
            return  # it starts with the next step
        needed = list(self._start(torch.empty_like(param, device="meta"), group))
        for names in self.later:
            if any(state.get(name) is not None for name in names):
                needed += names
        for name in needed:
            value = state.get(name)
            if value is None:
                raise ValueError(f"a parameter's state has no {name}")
            if name in self.numbers:
                check_number(name, value)
            elif not isinstance(value, Tensor):
                raise TypeError(f"{name} is {type(value).__name__}, not a tensor")
            elif value.shape != param.shape or value.is_complex() != param.is_complex():
                raise ValueError(
                    f"{name} is {value.dtype} of shape {tuple(value.shape)}, but its parameter is "
                    f"{param.dtype} of shape {tuple(param.shape)}"
                )

    def __setstate__(self, state: dict) -> None:
        """Take over what was loaded or unpickled; older forms of it are read as torch does."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.older.items():
                group.setdefault(name, value)
            for param in group["params"]:
                own = self.state.get(param, {})
                if "step" in own:
                    own["step"] = as_step(own["step"])

    def _refuse(self, reason):
        raise ValueError(
            f"{type(self).__name__} cannot load another optimizer's state: {reason}"
        )

    @torch.no_grad()
    def step(self, closure=None):
        """Update every parameter that has a gradient.

        Args:
            closure: a function that clears the gradients, computes the loss, calls ``backward`` and
                returns the loss. Optional.

        Returns:
            What the closure returned, else None.

        Raises:
            ValueError, TypeError: a group's settings have become invalid.
            RuntimeError: a gradient is sparse, or a parameter complex, where the settings forbid it.
                After any of these no parameter and no state was changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._check_settings()
        self._check_gradients()
        for group in self.param_groups:
            settings = {name: number_of(group[name]) for name in self.hyperparameters}
            for param in group["params"]:
                if param.grad is None:  # no part of this step; a gradient of zero is one
                    continue
                state = self.state[param]
                if not state:
                    state.update(self._start(param, group))
                grad = -param.grad if group["maximize"] else param.grad
                *seen, pairs = self._for_rule(param, grad, state)
                self.rule(*seen, pairs, **settings)
                if pairs is not state:  # tensors are views of it; numbers are not
                    state.update((name, pairs[name]) for name in self.numbers)
        return loss

    def _check_settings(self) -> None:
        """Raise for invalid settings. The very objects that the last step found valid are not read again."""
        now = [value for group in self.param_groups for value in group.values()]
        if len(now) == len(self._checked) and all(map(is_, now, self._checked)):
            return
        changes = False
        for group in self.param_groups:
            self.check(group)
            changes |= any(may_change(group.get(name)) for name in self.defaults)
            for setting, name in self.wanted.items():
                states = map(self.state.get, group["params"])
                if not is_zero(group[setting]) and any(s and name not in s for s in states):
                    raise ValueError(
                        f"{setting} became {group[setting]} in mid-training, but the state has no {name}"
                    )
        self._checked = () if changes else now

    # Complex numbers and sparse gradients, of which the rules know nothing.

    def _check_gradients(self) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                grad = param.grad
                if grad is not None and (grad.is_sparse or param.is_complex()):
                    self.check_gradient(param, group)

    def _start(self, param: Tensor, group: dict) -> dict:
        if self.linear:
            return self.init_state(param, group)
        group = {name: number_of(group[name]) for name in self.defaults if name in group}
        if not param.is_complex():
            return self.init_state(param, group)
        pairs = torch.view_as_real(param)
        state = self.init_state(pairs, group)
        for name in state.keys() - set(self.numbers):
            state[name] = torch.view_as_complex(state[name])
        return state

    def _for_rule(self, param: Tensor, grad: Tensor, state: dict) -> tuple:
        if not self.linear:
            if grad.is_sparse:
                grad = grad.coalesce()  # adds repeated entries up
            if param.is_complex():
                grad = torch.view_as_real(grad.resolve_conj())
                param = torch.view_as_real(param)
                state = {
                    name: value if name in self.numbers else torch.view_as_real(value)
                    for name, value in state.items()
                }
        return param, grad, state
