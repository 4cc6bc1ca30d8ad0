"""What the chapters' experiments share: the device, and one training loop."""

import math
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

DEVICE_VARIABLE = "LESSONS_DEVICE"


def default_device(dtype: torch.dtype = torch.float32) -> torch.device:
    """Return the device to compute on: cuda if there is one, then mps, then cpu.

    The environment variable ``LESSONS_DEVICE`` overrides the choice, as in ``LESSONS_DEVICE=cpu``.

    Args:
        dtype: what the tensors will be; mps has no float64, so the choice then falls on the cpu.

    Raises:
        ValueError: the variable names no device that torch knows.
    """
    name = os.environ.get(DEVICE_VARIABLE)
    if name:
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise ValueError(
                f"{DEVICE_VARIABLE}={name!r} is no device that torch knows"
            ) from error
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
        ValueError: ``batch_size`` is below 1 or above ``examples``, or ``steps`` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, but got {steps}")
    if not 1 <= batch_size <= examples:
        raise ValueError(
            f"batch_size must be from 1 to the {examples} training examples, but got {batch_size}"
        )
    generator = torch.Generator().manual_seed(seed)
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
        model: maps a batch of inputs to predictions.
        optimizer: holds the model's parameters.
        x: inputs, examples along the first axis.
        y: targets, one an example.
        steps: how many updates to make, at least 1.
        batch_size: examples a mini-batch; drawn as :func:`batches` says.
        loss: a function of predictions and targets; returns their mean loss, without any penalty.
        scheduler: stepped once an update, if given.
        seed: of the drawing of the batches; the same seed draws the same batches.
        after_step: called with the number of each update, counted from 1, once it is done.

    Returns:
        The mini-batch losses before each update, of shape (steps,), on the CPU.

    Raises:
        ValueError: ``batch_size`` is below 1 or above the number of examples.
    """
    losses = []
    for step, batch in enumerate(
        batches(len(x), batch_size, steps, seed).to(x.device), start=1
    ):
        optimizer.zero_grad()
        value = loss(model(x[batch]), y[batch])
        value.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(value.detach())
        if after_step is not None:
            after_step(step)
    return torch.stack(losses).cpu()
