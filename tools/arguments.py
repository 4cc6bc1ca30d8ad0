"""Which constructor arguments of torch's optimizers ours take: the tables of the API reference.

As a Sphinx extension it gives the directive ``{arguments} NAME``, which draws the table of one optimizer.
"""

import inspect

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


class Arguments(SphinxDirective):
    """``{arguments} NAME``: the table of one optimizer's arguments."""

    required_arguments = 1

    def run(self):
        (name,) = self.arguments
        if name not in NAMES:
            raise self.error(f"arguments: one of {', '.join(NAMES)}, but got {name!r}")
        container = nodes.container()
        lines = StringList(table(name).splitlines(), source=__file__)
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


def setup(app):
    app.add_directive("arguments", Arguments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
