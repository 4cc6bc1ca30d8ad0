"""Many parameters as one, so that an optimizer makes one step where it would make thousands of tiny ones."""

import copy
import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

CHECKED_AT_ONCE = 32  # parts; to look at all of 2,000 takes longer than to step them


class FlatParameters(nn.Parameter):
    """One parameter made of many: their weights lie in one buffer, their gradients in another::

        flat = FlatParameters(model.parameters())
        optimizer = AdamW([flat], lr=1e-3)  # or any other, of this package or of torch

    The loop of ``zero_grad``, ``backward`` and ``step`` stays as it is. So does the model: its parameters are
    the same objects, now views of the buffer, and its ``state_dict`` has the same names, shapes and values.
    Only the optimizer's state has another form: one entry for all parts.

    Every rule that treats each weight alone gives the same weights as without the buffer, in float32 and
    float64 to the last bit (but for torch's ``fused``, which rounds by where in memory a weight stands). What
    differs:

    * A part always has a gradient. ``zero_grad`` makes it zeros, never ``None``; so no part is skipped, and
      momentum and decay move also those that the loss did not reach. :meth:`untouched` finds them.
    * A sparse gradient is added into the dense buffer, and is dense from then on.
    * Autograd does not notice the step: ``backward`` on a graph from before it is wrong, and no error says so.

    Write weights and gradients in place, as ``load_state_dict`` and ``clip_grad_norm_`` do. If a part's
    ``.data`` or ``.grad`` is made another tensor, the buffer cannot follow, and the next step raises an error:
    of many parts each step checks some in turn, so that in a model of 2,000 it may take some 15 steps until a
    single lost part is found. So move or cast a model first, then make it flat. A ``deepcopy`` of the model
    alone is not flat; copied together with its ``FlatParameters``, it is flat in a buffer of its own.

    Args:
        params: parameters, or pairs of name and parameter as from ``named_parameters()``, so that messages give
            names: a list, or anything else that has an order. All of one dtype, on one device, with
            ``requires_grad``, and no two with a weight in common; gradients that they have are kept. Parameter
            groups want one ``FlatParameters`` each.

    Attributes:
        parts: the parameters that it was made of.
        names: their names, else their places.

    Raises:
        TypeError: ``params`` is one tensor, a model, a dict, a set, text, or no iterable; or an entry is no
            plain parameter.
        ValueError: there is none, or one cannot be a part. Nothing was changed then.
    """

    @torch.no_grad()
    def __new__(cls, params):
        pairs = _named(params)
        _check_parts(pairs)
        names, parts = map(list, zip(*pairs, strict=True))
        weights = parts[0].new_empty(sum(part.numel() for part in parts))
        gradients = torch.zeros_like(weights)
        start = 0
        for part in parts:
            strides = torch.empty_like(part).stride()  # the part's own, less any gaps
            place = part.shape, strides, start
            weight, gradient = weights.as_strided(*place), gradients.as_strided(*place)
            weight.copy_(part)
            if part.grad is not None:
                gradient.copy_(part.grad.to_dense())
            part.data, part.grad = weight, gradient
            start += part.numel()
        flat = super().__new__(cls, weights)
        nn.Parameter.grad.__set__(flat, gradients)
        flat.names, flat.parts, flat._places = names, parts, _places(parts)
        flat._place = flat.data_ptr(), gradients.data_ptr()
        flat._turns = itertools.cycle(range(0, len(parts), CHECKED_AT_ONCE))
        return flat

    @property
    def grad(self) -> Tensor:
        """The gradients of all parts. To set it to ``None``, as ``zero_grad`` does, fills it with zeros.

        Each reading checks the next few parts; a step reads it several times.
        """
        start = next(self._turns)
        self.check(slice(start, start + CHECKED_AT_ONCE))
        return _gradients(self)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is None:
            _gradients(self).zero_()
        elif value is not _gradients(self):  # which it is in ``flat.grad *= 2``
            raise RuntimeError(
                "the parts' gradients are views of .grad: write it with copy_"
            )

    def check(self, which: slice = slice(None)) -> None:
        """Raise ``RuntimeError`` if a part, of all or of some, no longer lies in the buffers."""
        found = _places(self.parts[which])
        found.append((self.data_ptr(), _gradients(self).data_ptr()))
        expected = [*self._places[which], self._place]
        if found == expected:
            return
        names = [*(f"parameter {name}" for name in self.names[which]), "the buffer"]
        rows = zip(names, found, expected, strict=True)
        name, now, before = next(row for row in rows if row[1] != row[2])
        moved, cause = ".grad", "model.zero_grad() or backward(create_graph=True)"
        if now[0] != before[0]:
            moved, cause = ".data", "model.to()"
        raise RuntimeError(
            f"{moved} of {name} was made another tensor, as by {cause}, and the FlatParameters cannot follow. "
            "Write in place; to go on, make new FlatParameters and a new optimizer"
        )

    def untouched(self) -> list[str]:
        """Return the names of the parts whose gradient is zero throughout; most often no loss reached them."""
        pairs = zip(self.names, self.parts, strict=True)
        return [name for name, part in pairs if not part.grad.any()]

    def __deepcopy__(self, memo):
        parts = copy.deepcopy(self.parts, memo)
        memo[id(self)] = type(self)(zip(self.names, parts, strict=True))
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return type(self), (list(zip(self.names, self.parts, strict=True)),)


def _gradients(flat: FlatParameters) -> Tensor:
    """Return what ``super().grad`` is, which torch.compile cannot follow."""
    return nn.Parameter.grad.__get__(flat)


def _places(parts: list[Tensor]) -> list[tuple]:
    """Return for each part where in memory its weights and its gradient start."""
    return [
        (part.data_ptr(), None if (grad := part.grad) is None else grad.data_ptr())
        for part in parts
    ]


def _check_parts(pairs: list[tuple[str, Tensor]]) -> None:
    if not pairs:
        raise ValueError("FlatParameters got no parameters")
    first_name, first = pairs[0]
    for name, part in pairs:
        if type(part) not in (Tensor, nn.Parameter):
            raise TypeError(
                f"FlatParameters takes plain parameters, but {name} is {type(part).__name__}; "
                "parameter groups want one FlatParameters each"
            )
        if not (part.is_leaf and part.requires_grad):
            raise ValueError(f"parameter {name} is not trained: leave it out")
        if part.layout != torch.strided:
            raise ValueError(f"parameter {name} is sparse: leave it out")
        if (part.dtype, part.device) != (first.dtype, first.device):
            raise ValueError(
                f"parameter {name} is {part.dtype} on {part.device}, but parameter {first_name} is "
                f"{first.dtype} on {first.device}: make one FlatParameters for each kind"
            )
    _check_memory(pairs)


def _named(params) -> list[tuple[str, Tensor]]:
    """Return pairs of name and parameter; the name is the place where none is given."""
    is_model = isinstance(params, nn.Module) and not isinstance(params, nn.ParameterList)
    refused = Tensor | dict | set | frozenset | str | bytes
    if is_model or isinstance(params, refused) or not isinstance(params, Iterable):
        hint = "; a set has no order" if isinstance(params, set | frozenset) else ""
        raise TypeError(
            "params must be a list of parameters, such as model.parameters(), but got "
            f"{torch.typename(params)}{hint}"
        )
    pairs = []
    for i, entry in enumerate(params):
        named = isinstance(entry, tuple)
        if named and not (len(entry) == 2 and isinstance(entry[0], str)):
            raise TypeError(
                f"params must hold parameters, or pairs of name and parameter, but {i} is {entry!r}"
            )
        pairs.append(entry if named else (str(i), entry))
    return pairs


def _check_memory(pairs: list[tuple[str, Tensor]]) -> None:
    """Raise if two weights, of two parameters or of one, lie in the same place in memory."""
    reached = []  # parameters so far whose stretch of memory may not have ended
    parts = [(name, part) for name, part in pairs if part.numel()]
    for name, part in sorted(parts, key=lambda pair: pair[1].data_ptr()):
        if not part.is_contiguous() and _addresses(part).unique().numel() < part.numel():
            raise ValueError(
                f"weights of parameter {name} share memory, as after expand(): clone it"
            )
        reached = [pair for pair in reached if _end(pair[1]) > part.data_ptr()]
        for other, before in reached:  # columns of one matrix may lie between each other
            if torch.isin(_addresses(part), _addresses(before)).any():
                raise ValueError(
                    f"parameters {other} and {name} share memory: give one of them"
                )
        reached.append((name, part))


def _span(part: Tensor) -> int:
    """Return how many places in memory it is from the first weight to the last, both included."""
    return 1 + sum(
        (n - 1) * stride for n, stride in zip(part.shape, part.stride(), strict=True)
    )


def _end(part: Tensor) -> int:
    return part.data_ptr() + _span(part) * part.element_size()


def _addresses(part: Tensor) -> Tensor:
    """Return where in memory each weight lies, in the part's own shape."""
    steps = torch.arange(_span(part), device="cpu").as_strided(part.shape, part.stride())
    return part.data_ptr() + steps * part.element_size()
