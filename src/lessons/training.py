"""What the chapters' experiments share: the device, and one training loop."""

import inspect
import math
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lessons.arguments import check_count

DEVICE_VARIABLE = "LESSONS_DEVICE"


def default_device(dtype: torch.dtype = torch.float32) -> torch.device:
    """Return the device to compute on: cuda if there is one, then mps, then cpu.

    The environment variable ``LESSONS_DEVICE`` overrides the choice, as in ``LESSONS_DEVICE=cpu``.

    Args:
        dtype: what the tensors will be; mps has no float64, so the choice then falls on the cpu.

    Raises:
        ValueError: the variable names a device that torch does not know, that this machine does not have, or
            that cannot hold such tensors.
        TypeError: ``dtype`` is none.
    """
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype, but got {dtype!r}")
    name = os.environ.get(DEVICE_VARIABLE)
    if name:
        device = check_device(DEVICE_VARIABLE, name, dtype)
        if device.type == "meta":
            raise ValueError(f"{DEVICE_VARIABLE}='meta' holds no numbers: take 'cpu'")
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available() and dtype != torch.float64:
        return torch.device("mps")
    return torch.device("cpu")


def batches(examples: int, batch_size: int, steps: int, seed: int) -> Tensor:
    """Return which examples each mini-batch holds; the same seed draws the same.

    Each epoch is a new shuffle, cut into whole batches; what is left over waits for the next shuffle.

    Returns:
        Indices of shape (steps, batch_size).

    Raises:
        TypeError: an argument is no whole number.
        ValueError: ``batch_size`` is below 1 or above ``examples``, ``steps`` is below 1, or ``seed`` below 0.
    """
    examples = check_count("examples", examples)
    batch_size, steps = check_count("batch_size", batch_size), check_count("steps", steps)
    if batch_size > examples:
        raise ValueError(
            f"batch_size must be at most the {examples} training examples, but got {batch_size}"
        )
    generator = torch.Generator().manual_seed(check_count("seed", seed, least=0))
    each = examples // batch_size
    epochs = [
        torch.randperm(examples, generator=generator)[: each * batch_size]
        for _ in range(math.ceil(steps / each))
    ]
    return torch.cat(epochs).view(-1, batch_size)[:steps]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    batch_size: int,
    loss: Callable = nn.functional.cross_entropy,
    scheduler=None,
    seed: int = 0,
    after_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Train on random mini-batches, and return the loss of each.

    Args:
        model: maps a batch of inputs to predictions. It is trained in the mode it is in: what ``eval()``
            switched off, such as Dropout, stays off.
        optimizer: holds the model's parameters, and can step without a closure.
        x: inputs, examples along the first axis.
        y: targets, one an example, on the same device.
        steps: how many updates to make, at least 1.
        batch_size: examples a mini-batch; drawn as :func:`batches` says.
        loss: a function of predictions and targets; returns their mean loss, without any penalty.
        scheduler: stepped once an update, if given.
        seed: of the drawing of the batches, a whole number ≥ 0; the same seed draws the same batches.
        after_step: called with the number of each update, counted from 1, once it is done.

    Returns:
        The mini-batch losses before each update, of shape (steps,), on the CPU.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: a number is out of range, ``x`` and ``y`` are not equally long or not where the model is,
            nothing is there to be trained, or the optimizer or the scheduler is another model's. Nothing was
            changed then.
    """
    _check_parts(model, optimizer, scheduler)
    check_examples("x", x, "y", y)
    if x.device != y.device:
        raise ValueError(
            f"x and y must be on one device, but are on {x.device}, {y.device}"
        )
    check_function("loss", loss, "predictions", "targets")
    if after_step is not None:
        check_function("after_step", after_step, "the number of the update")

    losses = []
    drawn = batches(len(x), batch_size, steps, seed).to(x.device)
    for step, batch in enumerate(drawn, start=1):
        optimizer.zero_grad()
        value = _loss(loss, model, x[batch], y[batch])
        value.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(value.detach())
        if after_step is not None:
            after_step(step)
    return torch.stack(losses).cpu()


# --- checks, which the sweeps share -------------------------------------------------------------


def check_device(name: str, value, dtype: torch.dtype) -> torch.device:
    """Return ``value`` as a device, if this machine has it and it can hold numbers of ``dtype``.

    Raises:
        TypeError: the value is no device and no device's name.
        ValueError: there is no such device here, or it holds no such numbers.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | torch.device):
        raise TypeError(
            f"{name} must be a device or its name, but got {type(value).__name__}: {value!r}"
        )
    try:
        device = torch.device(value)
    except RuntimeError:
        fault = "is no device that torch knows"
    else:
        fault = _fault_of(device, dtype)
    if fault:
        raise ValueError(f"{name}={str(value)!r} {fault}: {name}='cpu' works everywhere")
    return device


def _fault_of(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why no tensor of ``dtype`` can be computed with on ``device``; None: it can."""
    if device.type == "cuda":
        here = torch.cuda.is_available()
        here = here and (device.index or 0) < max(1, torch.cuda.device_count())
    elif device.type == "mps":
        here = torch.backends.mps.is_available()
        if here and dtype == torch.float64:
            return "has no float64"
    else:
        try:
            here = torch.empty(0, device=device) is not None
        except Exception:  # each kind of device has its own
            here = False
    return None if here else "is not on this machine, as far as torch can see"


def check_function(name: str, value, *arguments: str) -> None:
    """Raise ``TypeError`` unless ``value`` can be called with what ``arguments`` describe.

    A class can be called, too, but what it then makes is not meant: ``nn.MSELoss`` for ``nn.MSELoss()``.
    """
    if inspect.isclass(value):
        found = f"the class {value.__name__}: call it first, {value.__name__}(…)"
    elif not callable(value):
        found = f"{type(value).__name__}: {value!r}"
    else:
        try:
            inspect.signature(value).bind(*arguments)
        except TypeError as error:
            found = f"{value!r}: {error}"
        except ValueError:  # some that are written in C do not tell
            return
        else:
            return
    raise TypeError(
        f"{name} must be a function of {' and '.join(arguments)}, but got {found}"
    )


def check_examples(inputs: str, x, targets: str, y) -> None:
    """Raise unless ``x`` and ``y``, called so in the message, are tensors of equally many examples."""
    for name, value in ((inputs, x), (targets, y)):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} must be a tensor, but got {type(value).__name__}: of an array of numbers"
                " torch.as_tensor(…, dtype=…) makes one"
            )
        if value.dim() == 0:
            raise ValueError(f"{name} must have its examples along the first axis: {value}")
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"{inputs} and {targets} must be equally many, and at least one, but are {len(x)} and {len(y)}"
        )


def _check_parts(model, optimizer, scheduler) -> None:
    """Raise unless ``optimizer`` trains ``model``, and ``scheduler`` is none or belongs to the optimizer."""
    check_function("model", model, "a batch of inputs")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be one made for the model, but got {optimizer!r}")
    if _wants_arguments(optimizer):
        raise TypeError(
            f"optimizer must step without a closure, but got {type(optimizer).__name__}: write its loop out"
        )
    held = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(p.requires_grad for p in held):
        raise ValueError(
            "optimizer holds no parameter that requires a gradient, so model is frozen:"
            " unfreeze a part of it by requires_grad_()"
        )
    if isinstance(model, nn.Module):
        # A FlatParameters holds the model's own parameters as its parts.
        parts = {id(part) for p in held for part in getattr(p, "parts", [p])}
        own = list(model.parameters())
        if own and not any(id(p) in parts and p.requires_grad for p in own):
            raise ValueError(
                "optimizer holds none of the parameters of model that require a gradient: make it from"
                " model.parameters(), and unfreeze them by requires_grad_()"
            )
    if scheduler is None:
        return
    if inspect.isclass(scheduler) or not callable(getattr(scheduler, "step", None)):
        raise TypeError(
            "scheduler must be made for the optimizer, as ExponentialLR(optimizer, 0.9) is, but got"
            f" {scheduler!r}"
        )
    if _wants_arguments(scheduler):
        raise TypeError(
            f"scheduler must step without arguments, but got {type(scheduler).__name__}: step it in after_step"
        )
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("scheduler belongs to another optimizer: make it for this one")


def _wants_arguments(of) -> bool:
    """True if the step of ``of`` cannot do without: LBFGS's wants a closure, ReduceLROnPlateau's a loss."""
    # The class's own: that of an optimizer with a scheduler is wrapped.
    step = getattr(type(of), "step", None)
    if step is None:
        return False
    _, *arguments = inspect.signature(step).parameters.values()
    return any(
        a.default is a.empty and a.kind is a.POSITIONAL_OR_KEYWORD for a in arguments
    )


def _loss(loss: Callable, model: Callable, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss of one mini-batch, or say what is wrong with the arguments of :func:`train`."""
    try:
        value = loss(model(x), y)
    except RuntimeError as error:
        fault = _mismatch(model, x, y)
        if fault is None:
            raise
        raise ValueError(fault) from error
    if not isinstance(value, Tensor):
        raise TypeError(f"loss must return a tensor, but returned {value!r}")
    if value.dim() > 0:
        raise ValueError(
            f"loss must return one number, but returned a tensor of shape {tuple(value.shape)}"
        )
    if not value.requires_grad:
        raise ValueError(
            "loss does not depend on any parameter that requires a gradient: model must not work under no_grad"
        )
    return value


def _mismatch(model: Callable, x: Tensor, y: Tensor) -> str | None:
    """Return why model and loss may have failed on these tensors; None: they seem to fit."""
    params = list(model.parameters()) if isinstance(model, nn.Module) else []
    devices, dtypes = {p.device for p in params}, {p.dtype for p in params}
    if params and x.device not in devices:
        return f"x is on {x.device}, but model on {params[0].device}: move it by x.to(…)"
    if params and x.dtype not in dtypes:
        return f"x is {x.dtype}, but model {params[0].dtype}: cast it by x.to({params[0].dtype})"
    if not y.is_floating_point() and y.dtype != torch.int64:
        return (
            f"y is {y.dtype}, but losses take classes as torch.int64: cast it by y.long()"
        )
    return None
