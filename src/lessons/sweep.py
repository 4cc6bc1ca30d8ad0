"""Grids of hyper-parameters × seeds, trained side by side as one stack of models.

A rule of this package is elementwise, and a hyper-parameter may be a tensor that broadcasts. So S models
are trained by one call of the rule a step: their weights are the rows of one matrix (S × weights), and a
hyper-parameter that varies is a column (S × 1). Each model sees exactly what it would see alone.
"""

import inspect
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import stdtrit
from torch import Tensor, nn

from lessons.optim.base import Optimizer
from lessons.training import batches

ELEMENTWISE = (
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.Identity,
)
# Weights of one block: with gradient, state and scratch they stay in a CPU's cache.
BLOCK_BYTES = 2**20


# --- the result ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SweepResult:
    """What a sweep measured.

    Attributes:
        axes: hyper-parameter's name → its values, in the order of the arrays' dimensions.
        seeds: the seeds: the arrays' last dimension.
        metrics: name → float64 array of shape (values of axis 1, values of axis 2, …, seeds):
            ``"{split}_loss"``, and ``"{split}_accuracy"`` (0 to 1) where the targets are classes. The
            losses are without ``loss_scale`` and hold no penalty. A run that diverged has loss NaN or
            infinite, and the accuracy of a constant guess.
    """

    axes: dict[str, tuple]
    seeds: tuple[int, ...]
    metrics: dict[str, np.ndarray]

    def mean(self, metric: str) -> np.ndarray:
        """Return the mean over the seeds: one number a cell."""
        if metric not in self.metrics:
            raise ValueError(
                f"metric must be one of {', '.join(self.metrics)}, but got {metric!r}"
            )
        return self.metrics[metric].mean(axis=-1)

    def best(self, metric: str = "valid_accuracy") -> dict:
        """Return the settings of the cell with the best mean: the highest accuracy or the least loss.

        The first of equal cells counts, and a mean that is no number never does.

        Raises:
            ValueError: the metric is unknown, or it is NaN in every cell.
        """
        return {name: self.axes[name][i] for name, i in self._best_index(metric).items()}

    def edges(self, metric: str = "valid_accuracy") -> list[str]:
        """Return the axes on whose first or last value the best cell lies: the grid was too narrow there.

        An axis of one value has no ends.
        """
        return [
            name
            for name, i in self._best_index(metric).items()
            if len(self.axes[name]) > 1 and i in (0, len(self.axes[name]) - 1)
        ]

    def _best_index(self, metric: str) -> dict[str, int]:
        score = self.mean(metric) * (1 if metric.endswith("accuracy") else -1)
        score = np.where(np.isnan(score), -np.inf, score)
        if np.isneginf(score).all():
            raise ValueError(f"metric {metric!r} is NaN or infinite in every cell")
        return dict(
            zip(
                self.axes,
                map(int, np.unravel_index(score.argmax(), score.shape)),
                strict=True,
            )
        )


# --- the parts that a plain loop shares with a sweep --------------------------------------------


def build(model, seed: int) -> nn.Module:
    """Return ``model()`` with the initial weights of ``seed``; torch's global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model()


def cosine(fraction: float) -> float:
    """Return the learning rate's multiplier when ``fraction`` of the steps are done: from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * fraction))


def paired_difference(first, second) -> tuple[float, float]:
    """Return the mean of first − second over paired runs, and half the width of its 95 % interval.

    Pairs are runs that share a seed, and so data, initial weights and mini-batches: what they share cancels.

    Args:
        first, second: one number a seed, in the same order of seeds.

    Raises:
        ValueError: the lengths differ, or are below 2.

    Source: Student's t interval.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            f"first and second must be ≥ 2 paired numbers, but have shapes {first.shape}, {second.shape}"
        )
    difference = first - second
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    return float(difference.mean()), float(stdtrit(len(difference) - 1, 0.975) * error)


# --- the sweep ----------------------------------------------------------------------------------


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
) -> SweepResult:
    """Train one model for every cell of a grid and every seed, and measure each at the end.

    All cells of a seed start from the same weights and see the same mini-batches. What a model becomes does
    not depend on the other cells, on the other seeds or on ``chunk``, but for the last bits of a sum.

    Args:
        optimizer: a class of :mod:`lessons.optim`.
        model: a function without arguments that makes the ``nn.Module``; called once a seed, after
            seeding. A Sequential of Linear layers and elementwise activations trains fastest. Modules that
            draw random numbers while they run, such as Dropout, do not work.
        data: split → (inputs, targets), with a ``"train"`` split; or a function from a seed to that. All
            seeds must give the same shapes. Floating-point tensors are cast to ``dtype``.
        axes: name → values of the hyper-parameters to vary: numbers (pairs of them for ``betas``). May be
            empty: then each seed trains one model with ``settings``.
        seeds: distinct integers.
        steps: the number of updates.
        batch_size: examples a mini-batch.
        settings: the hyper-parameters that do not vary, where they differ from the optimizer's defaults.
        schedule: a function from the fraction of the steps done (0 ≤ fraction < 1) to a factor on ``lr``,
            such as :func:`cosine`.
        loss: (outputs, targets) of one model → a scalar.
        loss_scale: multiplies the loss that is trained on.
        chunk: the largest number of models trained at once. By default as many as a CPU's cache holds.
        device: where to train.
        dtype: float64 makes the numbers portable between CPUs, at about twice the time.

    Raises:
        ValueError, TypeError: an argument is out of range or of a wrong kind.
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
    group = optimizer([torch.zeros(())], **(settings or {})).param_groups[0]
    axes = {name: _axis(optimizer, group, name, values) for name, values in axes.items()}

    cells = list(itertools.product(*axes.values()))
    if chunk is None:
        size = sum(p.numel() for p in build(model, seeds[0]).parameters()) * dtype.itemsize
        on_cpu = torch.device(device).type == "cpu"
        chunk = max(1, BLOCK_BYTES // size) if on_cpu else len(cells) * len(seeds)
    seeds_at_once = max(1, chunk // len(cells))
    measured: dict[str, np.ndarray] = {}
    for i in range(0, len(seeds), seeds_at_once):
        for j in range(0, len(cells), chunk):
            block = _Block(
                model,
                data,
                seeds[i : i + seeds_at_once],
                cells[j : j + chunk],
                loss,
                device,
                dtype,
            )
            block.train(optimizer, group, axes, steps, batch_size, schedule, loss_scale)
            for name, values in block.measure().items():
                whole = measured.setdefault(name, np.empty((len(cells), len(seeds))))
                whole[j : j + chunk, i : i + seeds_at_once] = values.T
    shape = (*(len(values) for values in axes.values()), len(seeds))
    return SweepResult(
        axes, seeds, {name: values.reshape(shape) for name, values in measured.items()}
    )


def _axis(optimizer, group: dict, name: str, values) -> tuple:
    """Return the checked values of one axis as plain numbers, or pairs of them."""
    if name not in optimizer.hyperparameters or isinstance(group[name], (bool, str)):
        numeric = [
            key
            for key in optimizer.hyperparameters
            if not isinstance(group[key], (bool, str))
        ]
        raise ValueError(f"axes must be among {', '.join(numeric)}, but got {name!r}")
    values = tuple(np.asarray(values, dtype=float).tolist())
    if isinstance(group[name], tuple):
        values = tuple(map(tuple, values))
    if not values:
        raise ValueError(f"axis {name!r} has no values")
    for value in values:
        optimizer.check({**group, name: value})
    return values


class _Block:
    """The models of some seeds × some cells, in this order, as one stack of S = seeds · cells."""

    def __init__(self, model, data, seeds, cells, loss, device, dtype):
        self.seeds, self.cells, self.loss, self.device, self.dtype = (
            seeds,
            cells,
            loss,
            device,
            dtype,
        )
        splits = [data(seed) if callable(data) else data for seed in seeds]
        if "train" not in splits[0]:
            raise ValueError(
                f"data must have a 'train' split, but got {', '.join(splits[0])}"
            )
        self.data = {
            name: self._same_shape(name, [split[name] for split in splits])
            for name in splits[0]
        }

        modules = [build(model, seed) for seed in seeds]
        self.module, self.is_mlp = modules[0], _is_plain_mlp(modules[0])
        trained = {
            name: p.shape for name, p in self.module.named_parameters() if p.requires_grad
        }
        self.weights = self._copies(
            [
                torch.cat([m.get_parameter(name).detach().flatten() for name in trained])
                for m in modules
            ]
        )
        views = self.weights.split([shape.numel() for shape in trained.values()], dim=1)
        self.params = {
            name: view.view(-1, *shape).requires_grad_()
            for (name, shape), view in zip(trained.items(), views, strict=True)
        }
        others = [
            dict(itertools.chain(m.named_parameters(), m.named_buffers())) for m in modules
        ]
        names = others[0].keys() - trained.keys()
        self.fixed = {
            name: self._copies([each[name].detach() for each in others]) for name in names
        }

    def _copies(self, of_seeds: list[Tensor]) -> Tensor:
        """Return a row for each model, to be changed in place: (S, …)."""
        return self._to_device(torch.stack(of_seeds)).repeat_interleave(len(self.cells), 0)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def _same_shape(self, name: str, splits) -> tuple[Tensor, Tensor]:
        """Stack one split of every seed: inputs and targets, each (seeds, examples, …)."""
        stacked = []
        for tensors in zip(*splits, strict=True):
            if len({t.shape for t in tensors}) > 1:
                shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
                raise ValueError(
                    f"data must have the same shapes for every seed, but {name!r} has {shapes}"
                )
            stacked.append(self._to_device(torch.stack(tensors)))
        return tuple(stacked)

    def _each_cell(self, tensor: Tensor) -> Tensor:
        """Give each model its seed's row, to read: (seeds, …) → (S, …), without a copy where it can be."""
        return (
            tensor.unsqueeze(1).expand(-1, len(self.cells), *tensor.shape[1:]).flatten(0, 1)
        )

    def train(self, optimizer, group, axes, steps, batch_size, schedule, loss_scale):
        hyper = {name: group[name] for name in optimizer.hyperparameters}
        for k, name in enumerate(axes):
            values = [cell[k] for _ in self.seeds for cell in self.cells]
            column = torch.tensor(values, dtype=self.dtype, device=self.device).unsqueeze(1)
            hyper[name] = column if column.dim() == 2 else column.unbind(-1)
        lr = hyper["lr"]
        state = optimizer.init_state(self.weights, group | hyper)
        inputs, targets = self.data["train"]
        index = torch.stack(
            [batches(inputs.shape[1], batch_size, steps, seed) for seed in self.seeds], 1
        )
        each_seed = torch.arange(len(self.seeds), device=self.device).unsqueeze(1)
        gradient = torch.empty_like(self.weights)
        self.module.train()
        for t, chosen in enumerate(index.to(self.device)):
            x, y = (
                self._each_cell(inputs[each_seed, chosen]),
                self._each_cell(targets[each_seed, chosen]),
            )
            total = self._losses(self._forward(x), y).sum() * loss_scale
            parts = torch.autograd.grad(total, list(self.params.values()))
            with torch.no_grad():
                torch.cat(
                    [part.reshape(len(gradient), -1) for part in parts], 1, out=gradient
                )
                if group["maximize"]:
                    gradient.neg_()
                if schedule is not None:
                    hyper["lr"] = lr * schedule(t / steps)
                optimizer.rule(self.weights, gradient, state, **hyper)

    @torch.no_grad()
    def measure(self) -> dict[str, np.ndarray]:
        """Return metric → (seeds, cells), for every split."""
        self.module.eval()
        metrics = {}
        for split, (inputs, targets) in self.data.items():
            y = self._each_cell(targets)
            outputs = self._forward(self._each_cell(inputs))
            metrics[f"{split}_loss"] = self._losses(outputs, y)
            if not y.is_floating_point():
                metrics[f"{split}_accuracy"] = (
                    (outputs.max(-1).indices == y).flatten(1).double().mean(1)
                )
        shape = (len(self.seeds), len(self.cells))
        return {
            name: values.reshape(shape).double().cpu().numpy()
            for name, values in metrics.items()
        }

    def _forward(self, x: Tensor) -> Tensor:
        """Return the outputs of each model for its own inputs: (S, examples, …)."""
        if self.is_mlp and x.dim() == 3:
            return _mlp(self.module, self.params, x)

        def one(params, fixed, x):
            return torch.func.functional_call(self.module, (params, fixed), (x,))

        return torch.vmap(one)(self.params, self.fixed, x)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each model: (S,)."""
        if (
            self.loss is F.cross_entropy
            and outputs.dim() == 3
            and not targets.is_floating_point()
        ):
            # The same numbers in a quarter of the time: classes in dimension 1, where _mlp has them.
            return F.cross_entropy(outputs.mT, targets, reduction="none").mean(1)
        return torch.vmap(self.loss)(outputs, targets)


# --- the fast path ------------------------------------------------------------------------------


def _is_plain_mlp(module: nn.Module) -> bool:
    """True if the module is a Sequential of Linear layers and elementwise activations, all trained."""
    if type(module) is not nn.Sequential:
        return False
    layers = list(module)
    plain = all(type(layer) in (nn.Linear, *ELEMENTWISE) for layer in layers)
    own = sum(p.requires_grad for layer in layers for p in layer.parameters())
    every = len(list(module.parameters()))  # fewer where layers share weights
    return plain and own == every


def _mlp(module: nn.Sequential, params: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the outputs of a stack of MLPs. The examples are columns here: so no weight is transposed."""
    x = x.mT
    for name, layer in module.named_children():
        if isinstance(layer, nn.Linear):
            weight = params[f"{name}.weight"]
            x = (
                torch.bmm(weight, x)
                if layer.bias is None
                else torch.baddbmm(params[f"{name}.bias"].unsqueeze(-1), weight, x)
            )
        else:
            x = layer(x)
    return x.mT
