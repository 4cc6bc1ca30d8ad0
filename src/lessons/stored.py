"""Results of long runs, kept with the package: the scripts in experiments/ write them, the chapters read them.

A file is a table in CSV. The lines at its head, each after a ``#``, say what was run, on which grid, and with
which versions.
"""

import csv
import io
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from itertools import dropwhile, takewhile
from pathlib import Path

FOLDER = Path(__file__).with_name("data")


def read(name: str) -> list[dict[str, str]]:
    """Return the rows of a file, each as column → text.

    Args:
        name: of the file, without folder and ending, as in ``"who_wins"``.

    Raises:
        ValueError: there is no such file.
    """
    return list(csv.DictReader(dropwhile(_is_about, _lines(name))))


def header(name: str) -> list[str]:
    """Return the lines that say what was run, without the signs before them.

    Raises:
        ValueError: there is no such file.
    """
    return [line[2:].rstrip("\n") for line in takewhile(_is_about, _lines(name))]


def write(
    name: str,
    about: str,
    rows: Iterable[dict],
    *,
    digits: int = 6,
    packages: tuple[str, ...] = ("torch", "numpy"),
) -> Path:
    """Write a file anew, at one stroke, and return where it is.

    Args:
        name: of the file, without folder and ending.
        about: what was run and on which grid, in lines; the one with the versions is added.
        rows: one dictionary a row, all with the same columns in the same order.
        digits: to which floats are rounded; all else is written as ``str`` gives it.
        packages: whose versions count, besides Python's.

    Raises:
        ValueError: there are no rows, or their columns differ.
    """
    rows = list(rows)
    columns = {tuple(row) for row in rows}
    if len(columns) != 1:
        raise ValueError(f"rows of {name} must have the same columns, but have {columns}")
    # What follows a + says how a wheel was built, as in 2.13.0+cpu.
    versions = [f"{package} {version(package).split('+')[0]}" for package in packages]
    python = f"Python {platform.python_version()}"
    text = io.StringIO()
    for line in [*about.splitlines(), f"Versions: {', '.join([python, *versions])}."]:
        text.write(f"# {line}\n")
    table = csv.DictWriter(text, rows[0], lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow(
            {k: f"{v:.{digits}g}" if isinstance(v, float) else v for k, v in row.items()}
        )
    path = FOLDER / f"{name}.csv"
    partial = path.with_suffix(".csv.part")
    partial.write_bytes(text.getvalue().encode())
    os.replace(partial, path)
    return path


def _lines(name: str) -> list[str]:
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        have = ", ".join(sorted(path.stem for path in FOLDER.glob("*.csv")))
        raise ValueError(f"there are no stored results {name!r}, but {have}")
    return list(io.StringIO(path.read_text(encoding="utf-8")))  # split at \n alone


def _is_about(line: str) -> bool:
    return line.startswith("#")
