"""Grids of hyper-parameters × seeds, trained many models at a time.

The grid is cut into blocks. Each block is one stack of models (:mod:`lessons.stack`), and a block that is done
is kept: so the blocks may run on other processes or machines, and an interrupted sweep goes on.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    BrokenExecutor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import closing
from dataclasses import replace
from numbers import Real
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lessons.arguments import check_count
from lessons.optim.base import Optimizer, check_flag, check_number
from lessons.results import SweepResult, check_path, paired_difference
from lessons.stack import Recipe, Stack, build, check_model, stacks
from lessons.training import check_device, check_function

__all__ = ["SweepResult", "build", "cosine", "paired_difference", "sweep"]

# Weights of one block: with gradient, state and scratch they stay in a CPU's cache.
BLOCK_BYTES = 2**20


def cosine(fraction: float) -> float:
    """Return the learning rate's multiplier when ``fraction`` of the steps are done: from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * fraction))


def sweep(
    optimizer: type[Optimizer],
    model,
    data,
    axes: dict,
    seeds,
    *,
    steps: int,
    batch_size: int,
    settings: dict | None = None,
    schedule=None,
    loss=F.cross_entropy,
    loss_scale: float = 1.0,
    chunk: int | None = None,
    device="cpu",
    dtype: torch.dtype = torch.float32,
    executor=None,
    resume=None,
    progress: bool = False,
) -> SweepResult:
    """Train one model for every cell of a grid and every seed, and measure each at the end.

    All cells of a seed start from the same weights and see the same mini-batches. What a model becomes does
    not depend on the other cells, on the other seeds, on ``chunk`` or on ``executor``, but for the last bits
    of a sum.

    Args:
        optimizer: a class of :mod:`lessons.optim`.
        model: a function without arguments that makes the ``nn.Module``; called after each
            seeding. A Sequential of Linear layers and elementwise activations trains fastest. Refused are
            modules that draw random numbers while they run, such as Dropout, and those with hooks.
        data: split → (inputs, targets), tensors of equally many examples, with a ``"train"`` split; or a
            function from a seed to that. All seeds must give the same shapes. Floating-point tensors are
            cast to ``dtype``.
        axes: name → values of the hyper-parameters to vary: numbers (pairs of them for ``betas``), booleans
            or words. May be empty: then each seed trains one model with ``settings``.
        seeds: distinct whole numbers ≥ 0.
        steps: the number of updates.
        batch_size: examples a mini-batch.
        settings: the hyper-parameters that do not vary, where they differ from the optimizer's defaults.
        schedule: a function from the fraction of the steps done (0 ≤ fraction < 1) to a factor ≥ 0 on
            ``lr``, such as :func:`cosine`.
        loss: (outputs, targets) of one model → a scalar.
        loss_scale: multiplies the loss that is trained on.
        chunk: the largest number of models trained at once, as one block, which bounds the memory. By default
            as many as a CPU's cache holds; on a GPU all.
        device: where to train.
        dtype: float64 makes the numbers portable between CPUs, at about twice the time.
        executor: trains the blocks side by side: any ``concurrent.futures.Executor``, such as a
            ``ProcessPoolExecutor``, or that of a Dask cluster, ``Client(…).get_executor()``. Processes that
            share the cores want one thread each: ``initializer=torch.set_num_threads, initargs=(1,)``.
        resume: path of a file that keeps every block that is done. After an interruption the same call goes
            on from there; only ``chunk``, ``device``, ``executor`` and ``progress`` may be other ones. In the
            meantime :meth:`SweepResult.load` reads it: with NaN for the runs to come, and with a metric
            ``"finished"``, 0 or 1.
        progress: show a bar that counts the runs.

    Raises:
        ValueError: an argument is out of range, model and loss do not work on the data, or ``resume`` holds
            another sweep or is damaged; the file is left as it is. Nothing was trained then.
        TypeError: an argument is of a wrong kind, or a process of the executor cannot be given it.
        BrokenExecutor: a worker died, and the executor does not start another, as Dask's does.
    """
    ours = inspect.isclass(optimizer) and issubclass(optimizer, Optimizer)
    if not ours or optimizer is Optimizer:
        raise TypeError(
            f"optimizer must be a class of lessons.optim, but got {optimizer!r}"
        )
    check_model(model)
    check_function("loss", loss, "outputs", "targets")
    if schedule is not None:
        check_function("schedule", schedule, "the fraction of the steps done")
    steps, batch_size = check_count("steps", steps), check_count("batch_size", batch_size)
    chunk = None if chunk is None else check_count("chunk", chunk)
    check_number("loss_scale", loss_scale)
    if loss_scale == 0:
        raise ValueError(f"loss_scale must be above 0, but got {loss_scale}")
    _check_surroundings(device, dtype, executor, resume, progress)
    seeds = _seeds(seeds)
    if not isinstance(axes, Mapping):
        raise TypeError(f"axes must be a dictionary, name → values, but got {axes!r}")
    if not isinstance(settings, Mapping | None):
        raise TypeError(
            f"settings must be a dictionary, name → value, but got {settings!r}"
        )
    axes = {name: _axis(optimizer, name, values) for name, values in axes.items()}
    cells = [
        dict(zip(axes, each, strict=True)) for each in itertools.product(*axes.values())
    ]
    recipe = Recipe(
        optimizer=optimizer,
        settings=_settings(optimizer, settings or {}, cells, dtype),
        model=model,
        data=data,
        steps=steps,
        batch_size=batch_size,
        schedule=schedule,
        loss=loss,
        loss_scale=float(loss_scale),
        device=device,
        dtype=dtype,
        default_dtype=torch.get_default_dtype(),
    )
    if schedule is not None:
        _check_schedule(recipe, cells)
    if isinstance(executor, ProcessPoolExecutor):
        recipe.check_pickles()

    first = Stack(replace(recipe, device="cpu"), seeds[:1], cells[:1])
    untrained = first.try_out()
    if chunk is None:
        on_cpu = torch.device(device).type == "cpu"
        fit = max(1, BLOCK_BYTES // first.weights.nbytes)
        chunk = fit if on_cpu else len(cells) * len(seeds)

    table = {name: np.full((len(cells), len(seeds)), np.nan) for name in untrained}
    table["finished"] = finished = np.zeros((len(cells), len(seeds)))
    shape = (*(len(values) for values in axes.values()), len(seeds))
    metrics = {name: values.reshape(shape) for name, values in table.items()}  # views
    result = SweepResult(axes, seeds, metrics, recipe.about(axes, first.module, untrained))
    if resume is not None:
        if Path(resume).exists():
            _take_over(resume, result)
        result.save(resume)

    jobs = {
        place: ([seeds[i] for i in place[1]], [cells[i] for i in place[0]])
        for place in _blocks(optimizer, cells, len(seeds), chunk)
        if not finished[np.ix_(*place)].all()
    }
    with (
        tqdm(total=finished.size, unit="run", disable=not progress) as bar,
        closing(_outcomes(recipe.run, jobs, executor)) as outcomes,
    ):
        bar.update(int(finished.sum()))
        for place, measured in outcomes:
            for name, values in (measured | {"finished": 1}).items():
                table[name][np.ix_(*place)] = values
            if resume is not None:
                result.save(resume)
            bar.update(int(finished.sum()) - bar.n)
    del metrics["finished"]
    return result


def _axis(optimizer, name: str, values) -> tuple:
    """Return the values of one axis as plain numbers, pairs of them, booleans or words."""
    names = list(inspect.signature(optimizer).parameters)[1:]
    if name not in names:
        raise ValueError(f"axes must be among {', '.join(names)}, but got {name!r}")
    if isinstance(values, str | Mapping) or not _is_iterable(values):
        raise TypeError(f"axis {name!r} must be a list of values, but got {values!r}")
    default = inspect.signature(optimizer).parameters[name].default
    values = tuple(_value(name, value, default) for value in values)
    if not values:
        raise ValueError(f"axis {name!r} has no values")
    return values


def _value(name: str, value, default):
    """Return one value of an axis as a plain one, if it is of the default's kind."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        value = value.tolist()
    if isinstance(default, tuple):
        fits = isinstance(value, tuple | list) and len(value) == len(default)
        if fits:
            return tuple(_value(name, *pair) for pair in zip(value, default, strict=True))
        kind = f"{len(default)} numbers each"
    elif isinstance(default, bool | str):
        if type(value) is type(default):
            return value
        kind = "True or False" if isinstance(default, bool) else "words"
    else:
        if isinstance(value, Real) and not isinstance(value, bool):
            return float(value)
        kind = "numbers"
    raise TypeError(f"axis {name!r} must have {kind} for values, but got {value!r}")


def _is_iterable(value) -> bool:
    """True for a list and its like; a tensor without a dimension only pretends to be one."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0


def _seeds(seeds) -> tuple[int, ...]:
    """Return the seeds as plain integers."""
    if isinstance(seeds, str | Mapping) or not _is_iterable(seeds):
        raise TypeError(f"seeds must be a list of whole numbers, but got {seeds!r}")
    seeds = tuple(check_count("each of seeds", seed, least=0) for seed in seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be distinct, and at least one, but got {seeds}")
    return seeds


def _check_surroundings(device, dtype, executor, resume, progress) -> None:
    """Raise unless the sweep can run there, with these numbers, and be kept there."""
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype, but got {dtype!r}")
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type, but got {dtype}")
    if inspect.isclass(executor) or not (executor is None or hasattr(executor, "submit")):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, made beforehand, but got {executor!r}"
        )
    # Another executor may reach machines with other devices.
    if isinstance(executor, ProcessPoolExecutor | ThreadPoolExecutor | None):
        check_device("device", device, dtype)
    if resume is not None:
        check_path("resume", resume)
        if Path(resume).is_dir():
            raise ValueError(f"resume must be a file, but {resume} is a folder")
    check_flag("progress", progress)


def _settings(optimizer, settings: dict, cells: list[dict], dtype: torch.dtype) -> dict:
    """Return all hyper-parameters of the first cell, after a check of every cell."""
    group = optimizer([torch.zeros(())], **settings | cells[0]).param_groups[0]
    for cell in cells:
        optimizer.check(group | cell)
        # A number that varies becomes part of a tensor: 0.99999999 is 1 in float32.
        rounded = {name: _rounded(value, dtype) for name, value in cell.items()}
        try:
            optimizer.check(group | rounded)
        except ValueError as error:
            raise ValueError(f"axes have {cell}, in {dtype} {rounded}: {error}") from error
    return {name: _plain(value) for name, value in group.items() if name != "params"}


def _plain(value):
    """Return a tensor of one element as a number, and anything else as it is."""
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, Tensor) else value


def _rounded(value, dtype: torch.dtype):
    """Return the numbers as those of ``dtype``, and anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_rounded(each, dtype) for each in value)
    return torch.tensor(value, dtype=dtype).item() if isinstance(value, float) else value


def _check_schedule(recipe: Recipe, cells: list[dict]) -> None:
    """Raise unless ``schedule`` gives numbers, and every cell can be trained at the least and highest rate."""
    factors = []
    for t in range(recipe.steps):
        factor = recipe.schedule(t / recipe.steps)
        check_number(f"schedule({t / recipe.steps:.4g})", factor)
        factors.append(float(factor))
    for factor, cell in itertools.product((min(factors), max(factors)), cells):
        group = recipe.settings | cell
        lr = _rounded(float(group["lr"]) * factor, recipe.dtype)
        try:
            recipe.optimizer.check(group | {"lr": lr})
        except ValueError as error:
            raise ValueError(
                f"schedule makes the learning rate {lr:.4g}, which {recipe.optimizer.__name__} cannot take:"
                f" {error}"
            ) from error


def _blocks(optimizer, cells, seeds: int, chunk: int) -> Iterator[tuple[tuple, tuple]]:
    """Cut the table of cells × seeds into blocks of at most ``chunk`` models: the rows and columns of each."""
    groups = {}
    for row, cell in enumerate(cells):
        apart = [
            value for name, value in cell.items() if not stacks(optimizer, name, value)
        ]
        groups.setdefault(tuple(apart), []).append(row)
    for rows in groups.values():
        seeds_at_once = max(1, chunk // len(rows))
        for i in range(0, seeds, seeds_at_once):
            for j in range(0, len(rows), chunk):
                columns = range(i, min(i + seeds_at_once, seeds))
                yield tuple(rows[j : j + chunk]), tuple(columns)


def _outcomes(run: Callable, jobs: dict, executor) -> Iterator[tuple]:
    """Run each job, place → arguments, and yield (place, outcome) as soon as it is there.

    If one fails, those that have begun are still waited for, so that nothing which is done gets lost.
    """
    if executor is None:
        for place, arguments in jobs.items():
            yield place, run(*arguments)
        return
    futures, failure = {}, None
    try:
        for place, arguments in jobs.items():
            futures[executor.submit(run, *arguments)] = place
    except BrokenExecutor as error:
        failure = error
    try:
        for future in as_completed(futures):
            if future.cancelled():
                continue
            if future.exception() is None:
                yield futures[future], future.result()
            elif failure is None:
                failure = future.exception()
                for other in futures:
                    other.cancel()
    finally:
        for future in futures:
            future.cancel()
    if isinstance(failure, BrokenExecutor):
        failure.add_note(
            "A worker process died, and this executor starts no other. A sweep with resume=… keeps what was"
            " finished: call it again with a new executor."
        )
    if failure is not None:
        raise failure


def _take_over(path, result: SweepResult) -> None:
    """Fill a result with what the file of an interrupted sweep holds."""
    found = SweepResult.load(path)

    def description(of: SweepResult) -> dict:
        metrics = sorted(of.metrics.keys() - {"finished"})
        axes = [*of.axes.items()]
        return {"axes": axes, "seeds": of.seeds, **of.about, "list of metrics": metrics}

    theirs = description(found)
    for name, own in description(result).items():
        if theirs.get(name) != own:
            raise ValueError(
                f"{path} holds another sweep: its {name} is {theirs.get(name)}, not {own}"
            )
    finished = found.metrics.get("finished", np.ones(1))  # it lacks where all is
    if not np.isin(finished, (0, 1)).all():
        raise ValueError(f"{path} is damaged: its 'finished' is neither 0 nor 1")
    for name, values in result.metrics.items():
        values[...] = found.metrics[name] if name != "finished" else finished
