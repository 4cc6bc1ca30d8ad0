"""Many models trained as one stack.

A rule of this package is elementwise, and a hyper-parameter may be a tensor that broadcasts. So S models
are trained by one call of the rule a step: their weights are the rows of one matrix (S × weights), and a
hyper-parameter that varies is a column (S × 1). Each model sees exactly what it would see alone.
"""

import inspect
import itertools
import json
import math
import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons.arguments import check_count
from lessons.optim.base import Optimizer
from lessons.training import batches, check_examples

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
# Examples that are measured at once: few, so that what is computed for all models stays in a CPU's cache.
PART = 128
SEEDING = threading.Lock()  # all threads share torch's generator


def build(model, seed: int) -> nn.Module:
    """Return ``model()`` with the initial weights of ``seed``; torch's global generator stays as it was.

    Args:
        model: a function without arguments that makes the ``nn.Module``, such as its class.
        seed: a whole number ≥ 0.

    Raises:
        TypeError: an argument is of another kind, or what was made is no ``nn.Module``.
    """
    check_model(model)
    with SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_count("seed", seed, least=0))
        module = model()
    if not isinstance(module, nn.Module):
        raise TypeError(f"model must make a torch.nn.Module, but made {module!r}")
    return module


def check_model(model) -> None:
    """Raise ``TypeError`` unless ``model`` can be called without arguments, to make a module."""
    wanted = "model must be a function without arguments that makes the torch.nn.Module"
    if isinstance(model, nn.Module):
        raise TypeError(
            f"{wanted}, but got a module, {type(model).__name__}: give a function that makes it"
        )
    if not callable(model):
        raise TypeError(f"{wanted}, but got {type(model).__name__}: {model!r}")
    try:
        inspect.signature(model).bind()
    except TypeError as error:
        raise TypeError(f"{wanted}, but got {model!r}: {error}") from error
    except ValueError:  # a callable that does not tell its arguments
        pass


def stacks(optimizer, name: str, value) -> bool:
    """True if the rule takes a tensor with one such value a model; False if they must be trained apart."""
    return name in optimizer.hyperparameters and not isinstance(value, (bool, str))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all runs of a sweep share: arguments of :func:`sweep`, in a form that a process can be sent."""

    optimizer: type[Optimizer]
    settings: dict
    model: Callable
    data: dict | Callable
    steps: int
    batch_size: int
    schedule: Callable | None
    loss: Callable
    loss_scale: float
    device: torch.device | str
    dtype: torch.dtype
    default_dtype: torch.dtype

    def run(self, seeds, cells) -> dict[str, np.ndarray]:
        """Train the models of some seeds × some cells, and return metric → (cells, seeds)."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.default_dtype)  # a process of an executor has its own
        try:
            block = Stack(self, seeds, cells)
            block.train()
            return block.measure()
        finally:
            torch.set_default_dtype(before)

    def check_pickles(self) -> None:
        """Raise ``TypeError`` if the processes of a ProcessPoolExecutor cannot be sent an argument."""
        for name, value in vars(self).items():
            try:
                pickle.dumps(value)
            except Exception as error:
                raise TypeError(
                    f"{name} cannot be sent to another process: {error}. Define it in a module, or use an"
                    " executor that takes it, such as Dask's"
                ) from error

    def about(self, axes, module: nn.Module, untrained: dict[str, np.ndarray]) -> dict:
        """Return what tells this sweep from another one, as JSON has it.

        Model, data and loss are told by what a model of the first seed measures before its training.
        """
        moments = [t / self.steps for t in range(0, self.steps, math.ceil(self.steps / 8))]
        about = {"optimizer": self.optimizer.__name__}
        about |= {name: value for name, value in self.settings.items() if name not in axes}
        about |= {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "schedule": self.schedule and [self.schedule(moment) for moment in moments],
            "loss_scale": self.loss_scale,
            "dtype": str(self.dtype),
            "model": str(module),
            "untrained": {name: f"{value.item():.4g}" for name, value in untrained.items()},
        }
        return json.loads(json.dumps(about, default=float))


class Stack:
    """The models of some seeds × some cells, in this order, as one stack of S = seeds · cells."""

    def __init__(self, recipe: Recipe, seeds, cells):
        self.recipe, self.seeds, self.cells = recipe, seeds, cells
        splits = [_splits(recipe.data, seed) for seed in seeds]
        if any(each.keys() != splits[0].keys() for each in splits):
            raise ValueError("data must have the same splits for every seed")
        self.data = {
            name: self._same_shape(name, [split[name] for split in splits])
            for name in splits[0]
        }

        modules = [build(recipe.model, seed) for seed in seeds]
        for module in modules:
            _check_module(module)
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

    def try_out(self) -> dict[str, np.ndarray]:
        """Return what :meth:`measure` does, after a first batch without a step.

        Raises:
            ValueError: model and loss do not work on the data, or not for many models at once.
        """
        x, y = self.data["train"]
        batches(x.shape[1], self.recipe.batch_size, 1, self.seeds[0])
        kept = {name: tensor.clone() for name, tensor in self.fixed.items()}
        try:
            self._gradients(*(part[:, : self.recipe.batch_size] for part in (x, y)))
            self.fixed = kept  # running means, as if nothing had run
            return self.measure()
        except (RuntimeError, IndexError, TypeError) as error:
            if "random" in str(error):  # vmap's word on randomness
                raise ValueError(
                    "model must not draw random numbers while it runs, as Dropout does: a sweep runs many"
                    " models at once. Leave that out, or train each by lessons.training.train"
                ) from error
            data = "; ".join(
                f"{split}: " + " → ".join(f"{t.dtype} {tuple(t.shape[1:])}" for t in pair)
                for split, pair in self.data.items()
            )
            raise ValueError(
                f"model and loss do not work on data ({data}): {error}"
            ) from error

    def _copies(self, of_seeds: list[Tensor]) -> Tensor:
        """Return a row for each model, to be changed in place: (S, …)."""
        return self._to_device(torch.stack(of_seeds)).repeat_interleave(len(self.cells), 0)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(
            self.recipe.device, self.recipe.dtype if tensor.is_floating_point() else None
        )

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

    def train(self) -> None:
        recipe = self.recipe
        # Of what is not stacked, all cells of a block have the same.
        settings = recipe.settings | self.cells[0]
        hyper = {name: settings[name] for name in recipe.optimizer.hyperparameters}
        for name, value in self.cells[0].items():
            if stacks(recipe.optimizer, name, value):
                values = [cell[name] for _ in self.seeds for cell in self.cells]
                column = self._to_device(
                    torch.tensor(values, dtype=recipe.dtype)
                ).unsqueeze(1)
                hyper[name] = column if column.dim() == 2 else column.unbind(-1)
        lr = hyper["lr"]
        state = recipe.optimizer.init_state(self.weights, settings | hyper)
        examples = self.data["train"][0].shape[1]
        inputs, targets = (tensor.flatten(0, 1) for tensor in self.data["train"])
        index = torch.stack(
            [
                batches(examples, recipe.batch_size, recipe.steps, seed) + i * examples
                for i, seed in enumerate(self.seeds)
            ],
            dim=1,
        )
        gradient = torch.empty_like(self.weights)
        for t, batch in enumerate(self._to_device(index)):
            x, y = self._each_cell(inputs[batch]), self._each_cell(targets[batch])
            parts = self._gradients(x, y)
            with torch.no_grad():
                torch.cat(
                    [part.reshape(len(gradient), -1) for part in parts], 1, out=gradient
                )
                if settings["maximize"]:
                    gradient.neg_()
                if recipe.schedule is not None:
                    hyper["lr"] = lr * recipe.schedule(t / recipe.steps)
                recipe.optimizer.rule(self.weights, gradient, state, **hyper)

    def _gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Return the gradient of every parameter, for each model's own batch."""
        outputs = self._forward(x)
        slopes = self._slopes(outputs.detach(), y)
        return torch.autograd.grad(outputs, list(self.params.values()), slopes)

    @torch.no_grad()
    def measure(self) -> dict[str, np.ndarray]:
        """Return metric → (cells, seeds), for every split."""
        self.module.eval()
        metrics = {}
        for split, (inputs, targets) in self.data.items():
            examples, losses, right = targets.shape[1], 0.0, 0
            # Cross-entropy is a mean over examples, and so over parts; another loss may be any function of all.
            size = PART if self._is_classification(targets) else examples
            for x, y in zip(inputs.split(size, 1), targets.split(size, 1), strict=True):
                outputs, y = self._outputs(x), self._each_cell(y)
                losses = losses + self._losses(outputs, y) * (y.shape[1] / examples)
                if not y.is_floating_point():
                    found = outputs.max(2).indices  # for one model dimension 1, as in torch
                    if found.shape != y.shape:
                        raise ValueError(
                            "model must have its classes in dimension 1, but its outputs are"
                            f" {tuple(outputs.shape[1:])} for targets of {tuple(y.shape[1:])}"
                        )
                    right = right + (found == y).flatten(1).sum(1)
            metrics[f"{split}_loss"] = self._table(
                losses.where(losses.isfinite(), math.nan)
            )
            if not targets.is_floating_point():
                metrics[f"{split}_accuracy"] = self._table(right) / targets[0].numel()
        return metrics

    def _outputs(self, inputs: Tensor) -> Tensor:
        """Return each model's outputs for many examples, of which only a part is on its way at a time."""
        parts = [self._forward(self._each_cell(x)) for x in inputs.split(PART, 1)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _table(self, of_models: Tensor) -> np.ndarray:
        """Turn one number a model, (S,), into float64 of shape (cells, seeds)."""
        if of_models.is_meta:
            raise ValueError("device='meta' holds no numbers that could be measured")
        table = of_models.view(len(self.seeds), len(self.cells)).T
        return table.cpu().double().numpy()

    def _forward(self, x: Tensor) -> Tensor:
        """Return the outputs of each model for its own inputs: (S, examples, …)."""
        if self.is_mlp and x.dim() == 3:
            return _mlp(self.module, self.params, x)

        def one(params, fixed, x):
            return torch.func.functional_call(self.module, (params, fixed), (x,))

        return torch.vmap(one)(self.params, self.fixed, x)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each model: (S,)."""
        if self._is_classification(targets):
            # The same numbers in a quarter of the time: classes in dimension 1, where _mlp has them.
            return F.cross_entropy(outputs.mT, targets, reduction="none").mean(1)
        losses = torch.vmap(self.recipe.loss)(outputs, targets)
        if losses.dim() != 1:
            raise ValueError(
                f"loss must return one number, but returned a tensor of shape {tuple(losses.shape[1:])}"
            )
        return losses

    def _slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the derivative of each model's loss, times ``loss_scale``, by its outputs."""
        scale = self.recipe.loss_scale
        if self._is_classification(targets):
            # The textbook's: the predicted probabilities, less 1 for the right class.
            slopes = outputs.mT.softmax(1)
            slopes.scatter_(1, targets.unsqueeze(1), -1, reduce="add")
            return slopes.mul_(scale / targets.shape[1]).mT
        return torch.vmap(torch.func.grad(self.recipe.loss))(outputs, targets) * scale

    def _is_classification(self, targets: Tensor) -> bool:
        """True for the cross-entropy of one class an example."""
        usual = self.recipe.loss is F.cross_entropy
        return usual and targets.dim() == 2 and not targets.is_floating_point()


# --- what comes from outside --------------------------------------------------------------------


def _splits(data, seed: int) -> Mapping:
    """Return the data of one seed, after a check: split → (inputs, targets)."""
    splits = data(seed) if callable(data) else data
    if not isinstance(splits, Mapping):
        raise TypeError(
            "data must be a dictionary, split → (inputs, targets), or a function from a seed to one, but got"
            f" {type(splits).__name__}"
        )
    if "train" not in splits:
        raise ValueError(
            f"data must have a 'train' split, but got {', '.join(map(str, splits))}"
        )
    for name, pair in splits.items():
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(
                f"data[{name!r}] must be (inputs, targets), but got {type(pair).__name__}"
            )
        of = f"of data[{name!r}]"
        check_examples(f"the inputs {of}", pair[0], f"the targets {of}", pair[1])
    return splits


# What torch keeps hooks in.
OF_MODULES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
OF_PARAMETERS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def _check_module(module: nn.Module) -> None:
    """Raise ``ValueError`` for a module that a stack would train in another way than a loop would."""
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        if nn.parameter.is_lazy(parameter):
            raise ValueError(f"model must know the shape of {name}: no Lazy modules")
        if parameter.is_complex():
            raise ValueError(f"model must have real parameters, but {name} is complex")
    if not any(p.requires_grad for p in parameters.values()):
        raise ValueError(
            "model has no parameter that requires a gradient: nothing is there to be trained"
        )
    for kinds, parts in (
        (OF_MODULES, dict(module.named_modules())),
        (OF_PARAMETERS, parameters),
    ):
        for name, part in parts.items():
            if any(getattr(part, kind, None) for kind in kinds):
                raise ValueError(
                    f"model has a hook on {name or 'itself'}, which would see many models at once or none:"
                    " write it into forward"
                )


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
