"""How a chapter begins, and what it shows beside figures: the source of a rule, and tables."""

import ast
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

import torch

from lessons import plots


def begin() -> None:
    """Begin a chapter: all figures in the book's style, and one thread. Every chapter calls this first.

    The chapters' tensors are so small that threads wait for each other longer than they compute. The
    environment variable ``OMP_NUM_THREADS`` overrides the choice, as in ``OMP_NUM_THREADS=4``. The mere
    import of ``lessons`` changes no number of threads.
    """
    plots.use_style()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


class Markdown(str):
    """Text that a notebook renders as Markdown; elsewhere it is shown as it stands."""

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)


def source(function: Callable) -> Markdown:
    """Return the source of ``function`` as the installed package has it, without its docstring.

    What a chapter shows is so the very code that the tests run.
    """
    code = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(code).body[0]
    lines = code.splitlines()
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return Markdown("```python\n" + "\n".join(lines) + "\n```")


def table(rows: Iterable[Sequence], header: Sequence[str]) -> Markdown:
    """Return a table, in which columns of numbers stand to the right and all others to the left.

    Args:
        rows: one sequence of cells a row; cells are shown with ``str``, so round numbers first.
        header: the columns' names.

    Raises:
        ValueError: a row has not as many cells as the header.
    """
    rows = [list(map(str, row)) for row in rows]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"row {row!r} has {len(row)} cells, but the header has {len(header)}"
            )
    columns = zip(*rows, strict=True)
    numbers = [
        all(re.match(r"[-+−×]? ?[\d.]", cell) for cell in column) for column in columns
    ]
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join("---:" if n else ":---" for n in numbers) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return Markdown("\n".join(lines))
