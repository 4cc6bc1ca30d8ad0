"""Run notebooks anew, in place: each in order and in a clean kernel, and written only if all of it ran.

Usage: run_notebooks.py CHAPTER.ipynb …
Exit status: 0 if all were written, 1 if one was not (a line each says why), 2 without names, 130 after Ctrl-C.
"""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

TIMEOUT = 300  # seconds a cell
LONG = 20  # seconds a chapter, on two cores that do nothing else

clients: list[NotebookClient] = []  # those whose kernels an interrupt must stop
writing = threading.Lock()  # an interrupt waits for the file that is being written


class Unfit(Exception):
    """A notebook cannot be run, or what it printed must not be stored."""


def one_line(text: object, length: int = 300) -> str:
    """Return a message without its line breaks, and not longer than ``length``."""
    return " ".join(str(text).split())[:length]


def read(path: Path) -> nbformat.NotebookNode:
    """Return the notebook in a file, or raise ``Unfit``."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # a damaged file raises whatever its damage leads to
        raise Unfit(f"cannot be read: {one_line(error)}") from error


def write(path: Path, text: str) -> None:
    """Put ``text`` in the place of a file, all of it or nothing."""
    with writing:
        handle, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "wb") as file:
                file.write(text.encode("utf-8"))
            shutil.copymode(path, new)
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise


def check_outputs(notebook) -> None:
    """Raise ``Unfit`` for a warning, or for a path that is true on one machine only."""
    here = os.fspath(Path.cwd())
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            if output.get("name") == "stderr":
                raise Unfit(f"cell {number} wrote to stderr: {one_line(text, 200)}")
            if here in text or os.fspath(Path.home()) + os.sep in text:
                raise Unfit(
                    f"cell {number} printed a path of this machine: {one_line(text, 200)}"
                )


def execute(path: Path, again: bool = True) -> nbformat.NotebookNode:
    """Return the notebook of a file with new outputs, or raise ``Unfit``.

    A kernel that dies before the first cell is started ``again``, once. It takes five ports that were free a
    moment ago; where many programs start at once, another may have one of them by then.
    """
    notebook = read(path)
    running = None

    def remember(cell, cell_index):
        nonlocal running
        running = cell_index

    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": os.fspath(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=remember,
    )
    clients.append(client)
    with tempfile.TemporaryFile() as log:  # the kernel's own; a cell's stderr is an output
        try:
            client.execute(stderr=log)
        except CellExecutionError as error:
            raise Unfit(
                f"cell {running} failed: {error.ename}: {one_line(error.evalue)}"
            ) from error
        except CellTimeoutError as error:
            raise Unfit(f"cell {running} took more than {TIMEOUT} s") from error
        except RuntimeError as error:  # of a kernel that died, or never answered
            if running is not None:
                raise Unfit(
                    f"cell {running}: {one_line(error)}{last_words(log)}"
                ) from error
            if not again:
                raise Unfit(f"{one_line(error)}{last_words(log)}") from error
            print(
                f"{path}: the kernel did not start and is tried again: "
                f"{one_line(error)}{last_words(log)}",
                file=sys.stderr,
            )
            return execute(path, again=False)
        finally:
            clients.remove(client)
    return notebook


def last_words(log) -> str:
    """Return the last line that a kernel left in its log, in brackets, or nothing."""
    log.seek(0)
    lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
    return f" ({one_line(lines[-1])})" if lines else ""


def run(path: Path) -> str | None:
    """Run one notebook and put it in the old one's place. Return what went wrong, or None."""
    start = time.monotonic()
    try:
        notebook = execute(path)
        check_outputs(notebook)
        # The kernel's versions are no part of the text: without them, a new Python changes no file.
        notebook.metadata = {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
        write(path, nbformat.writes(notebook) + "\n")
    except Unfit as error:
        return f"{path}: {error}"
    except Exception as error:  # a full disk, say; the other chapters go on
        return f"{path}: {type(error).__name__}: {one_line(error)}"
    seconds = time.monotonic() - start
    print(f"{path}: {seconds:.1f} s{', too long' * (seconds > LONG)}", flush=True)
    return None


def stop(signum, frame) -> None:
    """End at once, kernels too, with every file either old or new."""
    writing.acquire()  # and keep it: nothing is written from here on
    for client in list(clients):
        process = getattr(getattr(client.km, "provisioner", None), "process", None)
        if process is not None:
            process.kill()
            client.km.cleanup_connection_file()
    print("interrupted: chapters without a line above were not written", file=sys.stderr)
    sys.stdout.flush()
    os._exit(128 + signum)  # the threads wait for their kernels; nobody waits for them


def main(paths: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # whatever the locale, a name prints
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    failures = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for failure in pool.map(run, map(Path, paths)):
            if failure:
                failures += 1
                print(f"not written: {failure}", file=sys.stderr, flush=True)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
