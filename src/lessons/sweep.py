"""Grids of hyper-parameters × seeds, trained many models at a time.

The grid is cut into blocks. Each block is one stack of models (:mod:`lessons.stack`), and a block that is done
is kept: so the blocks may run on other processes or machines, and an interrupted sweep goes on.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from lessons.optim.base import Optimizer
from lessons.results import SweepResult, paired_difference
from lessons.stack import Recipe, Stack, build, stacks

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
            seeding. A Sequential of Linear layers and elementwise activations trains fastest. Modules that
            draw random numbers while they run, such as Dropout, do not work.
        data: split → (inputs, targets), with a ``"train"`` split; or a function from a seed to that. All
            seeds must give the same shapes. Floating-point tensors are cast to ``dtype``.
        axes: name → values of the hyper-parameters to vary: numbers (pairs of them for ``betas``), booleans
            or words. May be empty: then each seed trains one model with ``settings``.
        seeds: distinct integers.
        steps: the number of updates.
        batch_size: examples a mini-batch.
        settings: the hyper-parameters that do not vary, where they differ from the optimizer's defaults.
        schedule: a function from the fraction of the steps done (0 ≤ fraction < 1) to a factor on ``lr``,
            such as :func:`cosine`.
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
        ValueError: an argument is out of range, or ``resume`` holds another sweep, which is left as it is.
        TypeError: an argument is of a wrong kind, or a process of the executor cannot be given it.
        BrokenExecutor: a worker died, and the executor does not start another, as Dask's does.
    """
    if not (inspect.isclass(optimizer) and issubclass(optimizer, Optimizer)):
        raise TypeError(
            f"optimizer must be a class of lessons.optim, but got {optimizer!r}"
        )
    for name, count in {
        "steps": steps,
        "batch_size": batch_size,
        "chunk": 1 if chunk is None else chunk,
    }.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be a whole number ≥ 1, but got {count!r}")
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be distinct, and at least one, but got {seeds}")
    if not 0 < loss_scale < math.inf:
        raise ValueError(f"loss_scale must be a number > 0, but got {loss_scale!r}")
    axes = {name: _axis(optimizer, name, values) for name, values in axes.items()}
    cells = [
        dict(zip(axes, each, strict=True)) for each in itertools.product(*axes.values())
    ]
    recipe = Recipe(
        optimizer=optimizer,
        settings=_settings(optimizer, settings or {}, cells),
        model=model,
        data=data,
        steps=steps,
        batch_size=batch_size,
        schedule=schedule,
        loss=loss,
        loss_scale=loss_scale,
        device=device,
        dtype=dtype,
        default_dtype=torch.get_default_dtype(),
    )
    if isinstance(executor, ProcessPoolExecutor):
        recipe.check_pickles()

    first = Stack(replace(recipe, device="cpu"), seeds[:1], cells[:1])
    untrained = first.measure()
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
    default = inspect.signature(optimizer).parameters[name].default
    kind = None if isinstance(default, (bool, str)) else float
    values = tuple(np.asarray(values, dtype=kind).tolist())
    if isinstance(default, tuple):
        values = tuple(map(tuple, values))
    if not values:
        raise ValueError(f"axis {name!r} has no values")
    return values


def _settings(optimizer, settings: dict, cells: list[dict]) -> dict:
    """Return all hyper-parameters of the first cell, after a check of every cell."""
    group = optimizer([torch.zeros(())], **settings | cells[0]).param_groups[0]
    for cell in cells:
        optimizer.check(group | cell)
    return {name: value for name, value in group.items() if name != "params"}


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
        return {"axes": [*of.axes.items()], "seeds": of.seeds, **of.about}

    theirs = description(found)
    for name, own in description(result).items():
        if theirs.get(name) != own:
            raise ValueError(
                f"{path} holds another sweep: its {name} is {theirs.get(name)}, not {own}"
            )
    for name, values in result.metrics.items():
        values[...] = found.metrics.get(name, 1)  # "finished" lacks where all is
