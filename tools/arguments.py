"""Print which constructor arguments of torch's optimizers ours take, as a table in Markdown.

python tools/arguments.py
"""

import inspect

import torch

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


def table() -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| optimizer | argument | default | torch | lessons | |", "|---|" + "---|" * 5]
    for row in arguments():
        marks = ["✓" if row[package] else "–" for package in ("torch", "lessons")]
        cells = [row["optimizer"], f"`{row['argument']}`", f"`{row['default']!r}`", *marks]
        lines.append(f"| {' | '.join([*cells, row['note']])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
