"""How a chapter begins, and what it shows beside figures: the source of a rule, and tables."""

import ast
import html
import inspect
import os
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files

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


class Html(str):
    """HTML that a notebook shows as such; elsewhere it is shown without its tags."""

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        text = re.sub(r"</(figcaption|pre)>", "\n", str(self))
        return html.unescape(re.sub(r"<[^>]*>", "", text)).rstrip()


def source(function: Callable) -> Markdown:
    """Return the source of ``function`` as the installed package has it, without its docstring.

    What a chapter shows is so the very code that the tests run.
    """
    return Markdown(f"```python\n{_source(function)}\n```")


def _source(function: Callable) -> str:
    code = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(code).body[0]
    lines = code.splitlines()
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines)


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


def side_by_side(rules: dict[str, Callable], *, mark: str) -> "Html":
    """Return the sources of some functions beside each other, on a phone one below the other.

    Args:
        rules: name → function.
        mark: a regular expression; lines in which it is found are marked.
    """
    figures = []
    for name, function in rules.items():
        lines = map(html.escape, _source(function).splitlines())
        code = "\n".join(f"<mark>{x}</mark>" if re.search(mark, x) else x for x in lines)
        caption = f"<figcaption>{html.escape(name)}</figcaption>"
        figures.append(f'<figure style="margin: 0">{caption}<pre>{code}</pre></figure>')
    style = "display: flex; flex-wrap: wrap; gap: 1em"
    return Html(f'<div class="side-by-side" style="{style}">{"".join(figures)}</div>')


def starting_values(*optimizers: str) -> Markdown:
    """Return a table of where to start tuning.

    Args:
        optimizers: whose values, as in ``"AdamW"``; without names those of all.

    Raises:
        ValueError: no values are kept for a name.

    Source: data/starting_values.toml, which says where the numbers are from.
    """
    text = (files("lessons") / "data" / "starting_values.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    for name in optimizers:
        if name not in values:
            raise ValueError(
                f"optimizers must be among {', '.join(values)}, but got {name!r}"
            )
    chosen = {name: values[name] for name in optimizers or values}
    header = ["", "small model, hundreds of steps (measured)"]
    kinds = ["measured"]
    if any("customary" in settings for settings in chosen.values()):
        header.append("large network, thousands of steps (customary)")
        kinds.append("customary")
    rows = [
        [
            f"{name}: `{key}`" if len(chosen) > 1 else f"`{key}`",
            *(settings.get(kind, {}).get(key, "–") for kind in kinds),
        ]
        for name, settings in chosen.items()
        for key in ("lr", "weight_decay")
    ]
    return table(rows, header)
