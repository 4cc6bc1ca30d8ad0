"""Which constructor arguments of torch's optimizers ours take: the tables of the API reference.

As a Sphinx extension it gives the directives ``{arguments} NAME``, which draws the table of one optimizer, and
``{stricter}``, which draws the table of the values that torch accepts and ours refuse.
"""

import inspect
import math

import torch
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

import lessons

NAMES = ("SGD", "Adagrad", "Adam", "AdamW", "RMSprop")

# What ours leave to torch: none of it changes what a step computes on a CPU, beyond rounding.
LEFT_TO_TORCH = {
    "foreach": "many parameters by one call: faster on a GPU; the rules here update one at a time",
    "fused": "the whole step as one kernel: faster; the rules here are to be read",
    "capturable": "steps inside a CUDA graph, with the count kept on the GPU",
    "differentiable": "autograd through the step itself",
}


def constructor(cls) -> dict[str, inspect.Parameter]:
    """Return the arguments of an optimizer's constructor, by name and in order, without ``params``."""
    arguments = dict(inspect.signature(cls).parameters)
    del arguments["params"]
    return arguments


def arguments() -> list[dict]:
    """Return one row for every argument that torch's optimizer or ours of the same name takes.

    Returns:
        Rows with the keys ``optimizer``, ``argument``, ``default`` (ours where we take it, else torch's),
        ``torch`` and ``lessons`` (whether each takes it), and ``note``: why ours does not, or "".
        Each optimizer's rows are in the order of torch's signature; arguments of ours alone come last.
    """
    rows = []
    for name in NAMES:
        theirs, ours = (constructor(getattr(p, name)) for p in (torch.optim, lessons))
        for argument, parameter in {**theirs, **ours}.items():
            taken = argument in ours
            rows.append(
                {
                    "optimizer": name,
                    "argument": argument,
                    "default": parameter.default,
                    "torch": argument in theirs,
                    "lessons": taken,
                    "note": "" if taken else LEFT_TO_TORCH.get(argument, ""),
                }
            )
    return rows


def table(optimizer: str) -> str:
    """Return one optimizer's rows as a table in Markdown."""
    lines = ["| argument | default | torch | lessons | |", "|---|---|:-:|:-:|---|"]
    for row in arguments():
        if row["optimizer"] == optimizer:
            marks = ["✓" if row[package] else "–" for package in ("torch", "lessons")]
            cells = [f"`{row['argument']}`", f"`{row['default']!r}`", *marks, row["note"]]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# Values that no optimizer can work with, by the name that the table gives them.
NONSENSE = {
    "negative": -1.0,
    "NaN": math.nan,
    "infinite": math.inf,
    "a bool": True,
    "text": "0.1",
}


def accepts(cls, argument: str, value) -> bool:
    """Return whether an optimizer's constructor takes ``value`` for one of its numbers."""
    try:
        cls([torch.zeros(1)], **{argument: value})
    except (TypeError, ValueError):
        return False
    return True


def stricter() -> dict[str, dict[str, list[str]]]:
    """Return kind of value → optimizer → the arguments for which torch accepts it and ours refuses it."""
    found = {kind: {} for kind in NONSENSE}
    for name in NAMES:
        theirs, ours = (getattr(package, name) for package in (torch.optim, lessons))
        for kind, value in NONSENSE.items():
            found[kind][name] = [
                argument
                for argument, parameter in constructor(ours).items()
                if type(parameter.default) in (int, float)
                and argument in constructor(theirs)
                if accepts(theirs, argument, value) and not accepts(ours, argument, value)
            ]
    return found


def stricter_table() -> str:
    """Return :func:`stricter` as a table in Markdown."""
    lines = [
        "| optimizer | " + " | ".join(NONSENSE) + " |",
        "|---" * (len(NONSENSE) + 1) + "|",
    ]
    found = stricter()
    for name in NAMES:
        cells = [
            ", ".join(f"`{argument}`" for argument in found[kind][name]) or "–"
            for kind in NONSENSE
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


class Table(SphinxDirective):
    """A directive whose content is a table in Markdown."""

    def draw(self, markdown: str):
        container = nodes.container()
        lines = StringList(markdown.splitlines(), source=__file__)
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


class Arguments(Table):
    """``{arguments} NAME``: the table of one optimizer's arguments."""

    required_arguments = 1

    def run(self):
        (name,) = self.arguments
        if name not in NAMES:
            raise self.error(f"arguments: one of {', '.join(NAMES)}, but got {name!r}")
        return self.draw(table(name))


class Stricter(Table):
    """``{stricter}``: what torch accepts and ours refuse."""

    def run(self):
        return self.draw(stricter_table())


def setup(app):
    app.add_directive("arguments", Arguments)
    app.add_directive("stricter", Stricter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
