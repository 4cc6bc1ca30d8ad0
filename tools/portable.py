"""Run the chapters as other processors would, and ask that every text output stays as it is stored.

Usage: portable.py [--only SETTING] … [--list] CHAPTER.ipynb …

Processors round differently, and so do one thread and two. What a chapter prints must not hang on that. A
setting is a set of environment variables of the kernel:

* ``ulp 1``, ``ulp 2``, …: every update is disturbed, at random, by about one unit in the last place of the
  weight. This stands for the processors that are not at hand. A cell tagged ``bitwise``, whose subject is
  equality to the last bit, runs undisturbed; a comment in the cell says why.
* the others choose other routines in torch, MKL and OpenBLAS, as older processors would.

One line a chapter and setting; the exit is 1 if any output differs. Images are not compared.
"""

import argparse
import inspect
import itertools
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

SEED = "LESSONS_ULP_SEED"
NOTEBOOK = "LESSONS_ULP_NOTEBOOK"  # whose cells tagged "bitwise" are spared
SETTINGS = {
    **{f"ulp {seed}": {SEED: str(seed)} for seed in (1, 2, 3)},
    **{
        f"{variable}={value}": {variable: value}
        for variable, values in {
            "ATEN_CPU_CAPABILITY": ("default", "avx2", "avx512"),
            "MKL_CBWR": ("COMPATIBLE", "AVX2", "AVX512"),
            "OPENBLAS_CORETYPE": ("Prescott",),
            "OMP_NUM_THREADS": ("1", "2"),
        }.items()
        for value in values
    },
}
UNCOMPARED = {"nbval-skip", "nbval-ignore-output"}
TIMEOUT = 600  # seconds a cell


# --- in the kernel ------------------------------------------------------------------------------


def disturb(seed: int, exempt: set[str]) -> None:
    """Disturb every optimizer's updates in this process, but not while a cell of ``exempt`` runs."""
    import torch
    from IPython import get_ipython
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )
    from torch.utils._python_dispatch import _disable_current_modes

    from lessons import optim

    generator, spared = torch.Generator().manual_seed(seed), False

    def remember(info):
        nonlocal spared
        spared = info.raw_cell in exempt

    get_ipython().events.register("pre_run_cell", remember)

    # A chapter that counts operations or tensors does not see those made here.
    def copy(param):
        with _disable_current_modes():
            return param.detach().clone()

    @torch.no_grad()
    def move(param, before):
        if spared or not param.dtype.is_floating_point:
            return
        with _disable_current_modes():
            signs = torch.randint(-1, 2, param.shape, generator=generator).to(param)
            # Where an update is 0, no processor makes it anything else.
            param.mul_(1 + torch.finfo(param.dtype).eps * signs * (param != before))

    def disturbed(rule):
        def rule_and_noise(param, grad, state, **settings):
            before = copy(param)
            rule(param, grad, state, **settings)
            move(param, before)

        rule_and_noise.__wrapped__ = rule  # what inspect shows
        return rule_and_noise

    rules = {}  # Adam and AdamW share theirs
    for cls in (getattr(optim, name) for name in optim.__all__):
        rule = inspect.unwrap(cls.rule)
        cls.rule = staticmethod(rules.setdefault(rule, disturbed(rule)))
        setattr(sys.modules[rule.__module__], rule.__name__, cls.rule)  # for direct calls

    # Of all other optimizers, torch's and those that a chapter writes, every step is disturbed.
    begun = {}

    def before_step(optimizer, args, kwargs):
        begun.clear()
        if not hasattr(getattr(optimizer, "rule", None), "__wrapped__"):
            params = [p for group in optimizer.param_groups for p in group["params"]]
            begun.update((param, copy(param)) for param in params)

    def after_step(optimizer, args, kwargs):
        for param, before in begun.items():
            move(param, before)
        begun.clear()

    register_optimizer_step_pre_hook(before_step)
    register_optimizer_step_post_hook(after_step)


def begin_kernel() -> None:
    """Begin a kernel of this tool: disturb what the environment asks for."""
    if SEED not in os.environ:
        return
    cells = nbformat.read(os.environ[NOTEBOOK], as_version=4).cells
    bitwise = {cell.source for cell in cells if "bitwise" in cell.metadata.get("tags", ())}
    try:
        disturb(int(os.environ[SEED]), bitwise)
    except Exception:  # IPython would go on without it, and all outputs would be the same
        traceback.print_exc()
        os._exit(1)


# --- running and comparing ----------------------------------------------------------------------


def texts(cell) -> list[str]:
    """Return all lines of text that a cell has put out; an image counts as the text beside it."""
    lines = []
    for output in cell.get("outputs", ()):
        parts = {"text/plain": output.get("text", "")} | output.get("data", {})
        for kind, text in sorted(parts.items()):
            if kind.startswith("text/"):
                lines += text.splitlines()
    return lines


def differences(stored, found) -> Iterator[str]:
    """Yield, for each cell whose text differs, its number and the first two lines that do."""
    for number, (old, new) in enumerate(zip(stored.cells, found.cells, strict=True)):
        if old.cell_type != "code" or UNCOMPARED & set(old.metadata.get("tags", ())):
            continue
        for before, after in itertools.zip_longest(texts(old), texts(new), fillvalue=""):
            if before != after:
                yield f"cell {number}\n    stored: {before}\n    found:  {after}"
                break


def run(path: Path, setting: str, ipython: Path) -> tuple[list[str], list[str]]:
    """Run one chapter with one setting. Return remarks, and what differs from what is stored."""
    from jupyter_client.kernelspec import NATIVE_KERNEL_NAME
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    stored = nbformat.read(path, as_version=4)
    env = {
        name: value for name, value in os.environ.items() if name not in (SEED, NOTEBOOK)
    }
    env |= {NOTEBOOK: os.fspath(path.resolve()), "IPYTHONDIR": os.fspath(ipython)}
    env |= {"LESSONS_DEVICE": "cpu", "OMP_NUM_THREADS": "1"} | SETTINGS[setting]
    remarks, begun = [], []
    while True:
        found = nbformat.read(path, as_version=4)
        client = NotebookClient(
            found,
            timeout=TIMEOUT,
            kernel_name=NATIVE_KERNEL_NAME,
            resources={"metadata": {"path": os.fspath(path.parent)}},
            coalesce_streams=True,
            on_cell_start=lambda cell, cell_index: begun.append(cell_index),
        )
        try:
            client.execute(env=env, stderr=subprocess.DEVNULL)
        except CellExecutionError as error:
            return remarks, [f"cell {begun[-1]} failed: {error.ename}: {error.evalue}"]
        except CellTimeoutError:
            return remarks, [f"cell {begun[-1]} took more than {TIMEOUT} s"]
        except (DeadKernelError, RuntimeError) as error:
            remarks.append(f"the kernel died ({error})")
            if len(remarks) > 1:
                return remarks, ["the kernel died twice"]
            continue
        return remarks, list(differences(stored, found))


def available() -> list[str]:
    """Return the settings that this machine can run: torch has to be told nothing that a processor lacks."""
    processor = Path("/proc/cpuinfo")
    avx512 = processor.exists() and "avx512f" in processor.read_text(encoding="utf-8")
    return [name for name in SETTINGS if avx512 or name != "ATEN_CPU_CAPABILITY=avx512"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", type=Path)
    parser.add_argument("--only", action="append", choices=SETTINGS, metavar="SETTING")
    parser.add_argument("--list", action="store_true", help="list the settings, and stop")
    options = parser.parse_args(arguments)
    settings = options.only or available()
    if options.list:
        print(*settings, sep="\n")
        return 0
    if not options.chapters:
        parser.error("no chapter is named")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        ipython = Path(folder)
        startup = ipython / "profile_default" / "startup" / "begin.py"
        startup.parent.mkdir(parents=True)
        startup.write_text(
            f"import runpy\nrunpy.run_path({os.fspath(Path(__file__).resolve())!r})"
            '["begin_kernel"]()\ndel runpy\n',
            encoding="utf-8",
        )

        def one(job):
            setting, path = job
            start = time.monotonic()
            remarks, differ = run(path, setting, ipython)
            seconds = f"{time.monotonic() - start:.0f} s"
            verdict = f"{len(differ)} cells differ" if differ else "same"
            name = f"{setting:32} {path.stem:28}"
            return differ, "\n".join(
                [f"{name} {seconds:>6}  {'; '.join([verdict, *remarks])}", *differ]
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for differ, text in pool.map(
                one, itertools.product(settings, options.chapters)
            ):
                print(text, flush=True)
                failed += bool(differ)
    print(f"{failed} of {len(settings) * len(options.chapters)} runs differ")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
