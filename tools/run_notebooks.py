"""Run notebooks anew, in place: each in order and in a clean kernel, and written only if all of it ran.

Usage: run_notebooks.py CHAPTER.ipynb …
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

TIMEOUT = 300  # seconds a cell
LONG = 20  # seconds a chapter, on two cores that do nothing else


class Unfit(Exception):
    """A notebook ran, but what it printed must not be stored."""


def check_outputs(notebook) -> None:
    """Raise ``Unfit`` for a warning, or for a path that is true on one machine only."""
    here = os.fspath(Path.cwd())
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            if output.get("name") == "stderr":
                raise Unfit(f"cell {number} wrote to stderr: {text.strip()[:200]}")
            if here in text or os.fspath(Path.home()) + os.sep in text:
                raise Unfit(
                    f"cell {number} printed a path of this machine: {text.strip()[:200]}"
                )


def run(path: Path) -> str | None:
    """Run one notebook and put it in the old one's place. Return what went wrong, or None."""
    start = time.monotonic()
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        return f"{path}: cannot be read: {error}"
    running = None

    def remember(cell_index, **_):
        nonlocal running
        running = cell_index

    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": os.fspath(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=lambda cell, cell_index: remember(cell_index),
    )
    try:
        client.execute(
            stderr=subprocess.DEVNULL
        )  # the kernel's own log; a cell's stderr is an output
        check_outputs(notebook)
    except CellExecutionError as error:
        return f"{path}: cell {running} failed: {error.ename}: {error.evalue}"
    except CellTimeoutError:
        return f"{path}: cell {running} took more than {TIMEOUT} s"
    except Unfit as error:
        return f"{path}: {error}"
    # The versions of the kernel are no part of the text: without them, a new Python changes no file.
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    new = path.with_suffix(".ipynb.new")
    new.write_text(nbformat.writes(notebook) + "\n")
    os.replace(new, path)
    seconds = time.monotonic() - start
    print(f"{path}: {seconds:.1f} s{', too long' * (seconds > LONG)}", flush=True)
    return None


def main(paths: list[str]) -> int:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        failures = [failure for failure in pool.map(run, map(Path, paths)) if failure]
    for failure in failures:
        print(f"not written: {failure}", file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
