"""Break the code on purpose, one small change at a time, and see whether a test notices each.

Usage: mutants.py [--every N] [--jobs N] [FILE[:LINE] …], such as src/lessons/optim/adam.py; without
names, all of the project's own code. Takes minutes a file; with --every 3, which makes every third change,
a third of that. With --jobs 1 on a machine that has other work to do.
Works on copies, so that nothing of the project is changed, whenever it ends.

For each change the quickest of the tests that run its line are run, then others. What no test notices is
printed as a diff; a change that no test could notice stands, with the reason, in equivalent_mutants.toml.
"""

import argparse
import ast
import collections
import contextlib
import copy
import difflib
import functools
import gc
import importlib
import inspect
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import types
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / "tools" / "equivalent_mutants.toml"
TARGETS = (
    *("src/lessons/**/*.py", "src/lessons/**/*.js", "tools/static/*.js", "tools/*.py"),
    *("benchmarks/*.py", "tools/*.sh", "Makefile"),
)
# The tests of x.py are tests/**/test_x*.py, of Makefile test_make*.py; for what starts like this, these, too.
TESTS = {
    "src/lessons/__init__.py": ("tests/tools/test_arguments_table.py",),
    # What an optimizer's own tests do not notice, these may; test_conformance.py is too slow.
    "src/lessons/optim/": (
        *("tests/optim/test_parity.py", "tests/optim/test_l1.py", "tests/optim/test_base.py"),
        *("tests/optim/test_complex_and_sparse.py", "tests/optim/test_settings.py"),
        "tests/optim/test_checkpoints.py",
    ),
    "src/lessons/stack.py": (
        *("tests/test_sweep.py", "tests/test_sweep_arguments.py"),
        *("tests/test_sweep_resume.py", "tests/test_sweep_executor.py"),
    ),
    "src/lessons/results.py": ("tests/test_sweep.py", "tests/test_sweep_resume.py"),
    "benchmarks/bench_costs.py": ("tests/test_experiments.py",),
    "tools/lock.sh": ("tests/tools/test_make.py",),
}
GOAL = 0.95
LONGEST = 30  # seconds of tests asked about one change; the slowest are left out

SWAPPED = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.Pow: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.MatMult: ast.Mult},
    **{ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.Lt: ast.LtE, ast.LtE: ast.Lt},
    **{ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
WORDS = [
    *(("&&", "||"), ("||", "&&"), ("===", "!=="), ("!==", "==="), (" < ", " <= ")),
    *((" > ", " >= "), (" + ", " - "), (" - ", " + "), (" * ", " / "), (" / ", " * ")),
    *(("true", "false"), ("false", "true"), (" -n ", " -z "), (" ! ", " "), ("?=", ":=")),
]


@dataclass(frozen=True)
class Mutant:
    """One change of one file: the file's new text, where, and what stands for what."""

    file: str
    line: int
    code: str  # the line as it stands, stripped
    change: str  # "old → new"
    text: str
    spans: tuple = ()  # (first, last) line of the statement and of those around it, inmost first


def changes(node):
    """Yield (a node, the source to put in its place) for each change at ``node`` of a syntax tree."""

    def other(**fields):
        changed = copy.copy(node)
        vars(changed).update(fields)
        return ast.unparse(changed)

    match node:
        case ast.BinOp(op=op) if type(op) in SWAPPED:
            yield node, f"({other(op=SWAPPED[type(op)]())})"
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                swapped = [*ops[:i], SWAPPED[type(op)](), *ops[i + 1 :]]
                yield node, f"({other(ops=swapped)})"
        case ast.BoolOp(values=values):
            for i in range(len(values)):
                rest = values[:i] + values[i + 1 :]
                yield node, f"({other(values=rest) if len(rest) > 1 else ast.unparse(rest)})"
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            match test:
                case ast.UnaryOp(op=ast.Not()) | ast.Compare(ops=[ast.Eq() | ast.NotEq()]):
                    pass  # turned round by their own change
                case ast.Compare(ops=[ast.Is() | ast.IsNot() | ast.In() | ast.NotIn()]):
                    pass
                case _:
                    yield test, f"(not ({ast.unparse(test)}))"
        case ast.comprehension(ifs=ifs):
            yield from ((condition, "True") for condition in ifs)
        case ast.Constant(value=bool(value)):
            yield node, repr(not value)
        case ast.Constant(value=int(value)):
            yield node, repr(value + 1)
        case ast.Constant(value=float(value)):
            yield node, repr(value * 2 or 1.0)
        case ast.Constant(value=str(value)):
            yield node, repr(f"{value}XX")
        case ast.Return(value=ast.AST() as value) if ast.unparse(value) != "None":
            yield value, "None"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield node, "pass"
        case ast.Continue() | ast.Break() | ast.Assert():
            yield node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield node, "pass"
        case ast.withitem(context_expr=context, optional_vars=None):
            yield context, "__import__('contextlib').nullcontext()"
        case ast.Call(func=function, args=args, keywords=keywords):
            starred = any(isinstance(x, ast.Starred) for x in args[:2])
            same = ast.unparse(function) in ("min", "max")  # in either order
            if not starred and not same and len(set(map(ast.unparse, args[:2]))) == 2:
                yield node, other(args=[args[1], args[0], *args[2:]])
            for keyword in keywords:
                if keyword.arg and keyword.arg != "strict":
                    yield node, other(keywords=[k for k in keywords if k is not keyword])
            if isinstance(function, ast.Attribute) and not args and not keywords:
                yield node, ast.unparse(function.value)


def walk(node, around=()):
    """Yield each node that is to be changed, with the statements around it, inmost first.

    Left out are annotations, decorators, docstrings, the words of errors, what runs a script, zip's
    ``strict``, which guards what the code itself has made, and the inside of f-strings, whose places
    Python 3.11 does not know.
    """
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    if isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__ =="):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    around = (node, *around) if isinstance(node, ast.stmt) else around
    yield node, around
    if isinstance(node, ast.Raise):
        return
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child, around)


def python_mutants(file, text):
    """Return the mutants of a Python file."""
    source, tree = text.encode(), ast.parse(text)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    seen, mutants = set(), []
    for node, around in walk(tree):
        for old, new in changes(node):
            start = starts[old.lineno - 1] + old.col_offset
            end = starts[old.end_lineno - 1] + old.end_col_offset
            if (start, end, new) not in seen:
                seen.add((start, end, new))
                mutated = (source[:start] + new.encode() + source[end:]).decode()
                code = text.splitlines()[old.lineno - 1].strip()
                change = f"{ast.unparse(old)} → {new}"
                spans = tuple((s.lineno, s.end_lineno) for s in around)
                mutants.append(Mutant(file, old.lineno, code, change, mutated, spans))
    return mutants


def line_mutants(file, text):
    """Return the mutants of any other file: a line or an option left out, a sign or a word exchanged."""
    lines, mutants = text.splitlines(keepends=True), []
    for i, line in enumerate(lines):
        code = line.strip()
        if not code or re.match(r"#|//|/?\*|[])}]*[;,]?$|(fi|done|else)$", code):
            continue
        others = ["\n"] + [
            line[: m.start()] + new + line[m.end() :]
            for old, new in WORDS
            for m in re.finditer(re.escape(old), line)
        ]
        if not file.endswith(".js"):
            others += [
                line[: m.start()] + line[m.end() :]
                for m in re.finditer(r" --?[a-z][\w-]*(=\S+)?|@(?!\w)", line)
            ]
        for other in others:
            mutated = "".join([*lines[:i], other, *lines[i + 1 :]])
            mutants.append(Mutant(file, i + 1, code, f"{code} → {other.strip()}", mutated))
    return mutants


def generate(file):
    """Return the mutants of ``file``, a path from the project's root, in the same order each time."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return (python_mutants if file.endswith(".py") else line_mutants)(file, text)


def tests_of(file):
    """Return the test files and folders of ``file``."""
    name = "make" if file == "Makefile" else Path(file).stem
    own = sorted(ROOT.glob(f"tests/**/test_{name}*.py"))
    found = [path.relative_to(ROOT).as_posix() for path in own]
    for start, more in TESTS.items():
        if file.startswith(start):
            found += [name for name in more if name not in found]
    gone = [name for name in found if not (ROOT / name).exists()]
    if gone:
        raise SystemExit(f"mutants: the tests of {file} name {gone}, which is not there")
    return found


def equivalents():
    """Return {(file, line, change): reason} of the changes that no test could notice.

    Raises:
        SystemExit: an entry has no reason, or there is no such mutant any more.
    """
    listed = {}
    stored = tomllib.loads(EQUIVALENT.read_text("utf-8")) if EQUIVALENT.exists() else {}
    for file, entries in stored.items():
        there = {(m.file, m.code, m.change) for m in generate(file)}
        for entry in entries:
            key = (file, entry["line"], entry["change"])
            if key not in there or not entry["reason"].strip():
                raise SystemExit(f"{EQUIVALENT.name}: no such mutant, or no reason: {key}")
            listed[key] = entry["reason"]
    return listed


class Recorder:
    """A plugin of pytest that keeps how long each test takes, and which lines of the project it runs."""

    def __init__(self, folder, files):
        self.folder = folder
        self.files = {str(Path(folder, file)): file for file in files}
        self.seconds = {}  # test → (of its fixtures, of itself)
        self.coverage = coverage.Coverage(None, config_file=False, include=list(self.files))
        self.coverage.set_option("run:core", "ctrace")  # the one that tells the tests apart
        self.coverage.set_option("run:disable_warnings", ["no-data-collected"])

    def pytest_configure(self):
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report):
        seconds = self.seconds.setdefault(report.nodeid, [0, 0])
        seconds[report.when == "call"] += report.duration

    def pytest_sessionfinish(self):
        fixtures = collections.defaultdict(float)  # a fixture's time is that of the first who asks
        for test, (before, _) in self.seconds.items():
            name = test.partition("[")[0]
            fixtures[name] = max(fixtures[name], before)
        self.coverage.stop()
        lines = collections.defaultdict(list)
        for path, file in self.files.items():
            for line, tests in self.coverage.get_data().contexts_by_lineno(path).items():
                for test in tests:
                    lines[test].append((file, line))
        tests = {
            test: [fixtures[test.partition("[")[0]] + itself, lines[test]]
            for test, (_, itself) in self.seconds.items()
        }
        modules = [
            name
            for name, module in sys.modules.items()
            if not (getattr(module, "__file__", None) or self.folder).startswith(self.folder)
        ]
        Path("record.json").write_text(json.dumps([tests, modules]), encoding="utf-8")


class Chosen:
    """A plugin of pytest that runs the tests of a list, in its order, and spares Hypothesis its search."""

    def __init__(self, tests):
        self.place = {test: i for i, test in enumerate(tests)}

    def pytest_configure(self):
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        hypothesis = sys.modules.get("hypothesis")
        if hypothesis:
            phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
            hypothesis.settings.register_profile(
                "mutants", hypothesis.settings(), phases=phases
            )
            hypothesis.settings.load_profile("mutants")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.place]
        items.sort(key=lambda item: self.place[item.nodeid])


class Quick(Chosen):
    """A plugin of pytest that collects tests once, and forks for each of many mutants of one file.

    A fork gives the file's functions their changed code, wherever they have been imported to. What is
    noticed is written to quick.txt; all else, as what an import does, is to be judged anew.
    """

    def __init__(self, mutants, recorded, tests):
        super().__init__(recorded)
        self.mutants, self.recorded, self.tests = mutants, recorded, tests  # number → mutant

    def pytest_runtestloop(self, session):
        items = {item.nodeid: item for item in session.items}
        for number, mutant in self.mutants.items():
            path, place = ROOT / mutant.file, Path(mutant.file).absolute()
            swaps = []
            if path.suffix == ".py":
                rest, functions = bodies(path.read_text(encoding="utf-8"), str(place))
                other, changed = bodies(mutant.text, str(place))
                live = [f for f in alive(str(place)) if place_of(f.__code__) in functions]
                if live and rest != other:
                    continue
                new = dict(zip(functions, changed.values(), strict=True))
                swaps = [(f, new[place_of(f.__code__)]) for f in live]
            tests, seconds = choose(mutant, self.recorded, self.tests)
            place.write_text(mutant.text, encoding="utf-8")
            limit = time.monotonic() + time_of(seconds)
            process = os.fork()
            if not process:
                os.setsid()
                for function, code in swaps:
                    function.__code__ = code
                session.items[:] = [items[test] for test in tests]
                return None  # and pytest runs these
            try:
                over, verdict = ended(process)
                while not over and time.monotonic() < limit:
                    time.sleep(0.01)
                    over, verdict = ended(process)
            finally:
                end(process)
                shutil.copy2(path, place)
            if not over or verdict == "noticed":
                with open("quick.txt", "a", encoding="utf-8") as file:
                    file.write(f"{number} {verdict if over else 'timed out'}\n")
        return True


@functools.cache
def alive(file):
    """Return all functions that are made from a file."""
    functions = [f for f in gc.get_objects() if type(f) is types.FunctionType]
    gc.freeze()  # or each fork copies what it never changes; hides them from get_objects
    return [f for f in functions if f.__code__.co_filename == file]


def place_of(code):
    """Return the name and the line that tell a function of a file from its others."""
    return code.co_qualname, code.co_firstlineno


def bodies(text, file):
    """Return what a file does when it is imported, and the code of its functions by name and line."""
    rest, functions, modules = [], {}, [compile(text, file, "exec")]
    for module in modules:  # and the bodies of classes, comprehensions
        rest.append((module.co_code, module.co_names, module.co_varnames))
        for constant in module.co_consts:
            if not isinstance(constant, types.CodeType):
                rest.append(repr(constant))
            elif constant.co_flags & inspect.CO_OPTIMIZED and constant.co_name[0] != "<":
                functions[place_of(constant)] = constant
            else:
                modules.append(constant)
    return rest, functions


def start(folder, tests, plugin):
    """Start pytest on ``tests`` in a copy of the project; return the id of the process and its group."""
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        os.chdir(folder)
        output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ |= dict(PYTHONPATH=f"{folder}/src", OMP_NUM_THREADS="1", HOME=folder)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take a second to load
        if isinstance(plugin, Chosen):  # what is changed is not cached
            sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
        sys.path.insert(0, f"{folder}/src")
        options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--tb=short"]
        code = pytest.main([*options, f"--rootdir={folder}", *tests], plugins=[plugin])
        sys.stdout.flush()
        os._exit(code)
    finally:
        os._exit(pytest.ExitCode.INTERNAL_ERROR)


def end(process):
    """Kill a process with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # it has been waited for
        os.waitpid(process, 0)


def record(folder, files, tests):
    """Run the tests on the code as it is: they must pass. Return {test: (seconds, lines)}.

    What the tests import from elsewhere is imported here, too, once instead of in every process to come.
    """
    process = start(folder, tests, Recorder(folder, files))
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    finally:
        end(process)
    if code:
        output = Path(folder, "output.txt").read_text(encoding="utf-8")
        raise SystemExit(f"mutants: the tests fail on the code as it is:\n{output[-2000:]}")
    found, modules = json.loads(Path(folder, "record.json").read_text(encoding="utf-8"))
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return {test: (seconds, set(map(tuple, lines))) for test, (seconds, lines) in found.items()}


def choose(mutant, recorded, own, *, beside=False):
    """Return the tests to be asked about a mutant, quickest first, and how long they took.

    Those are the tests that run its line; with ``beside``, as a line may be run by a process that a test
    starts, then the others, too.
    """
    mine = [test for test in recorded if test.startswith(tuple(own))]
    tests = []
    for first, last in mutant.spans:
        here = {(mutant.file, line) for line in range(first, last + 1)}
        tests = tests or [test for test in mine if here & recorded[test][1]]
    wanted = mine if beside or not tests else tests
    chosen, total = [], 0
    for test in sorted(wanted, key=lambda test: (test not in tests, recorded[test][0])):
        if chosen and total + recorded[test][0] > LONGEST:
            break
        chosen.append(test)
        total += recorded[test][0]
    return chosen, total


def time_of(seconds):
    """Return how long tests that took ``seconds`` may take on changed code."""
    return 30 + 5 * seconds


def ended(process):
    """Return True if a process has ended, and its verdict."""
    there, status = os.waitpid(process, os.WNOHANG)
    code = os.waitstatus_to_exitcode(status)
    quiet = code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    crashed = code < 0 or code == pytest.ExitCode.INTERNAL_ERROR
    return bool(there), "survived" if quiet else "crashed" if crashed else "noticed"


def judge(mutants, recorded, folders, tests):
    """Run the tests on each mutant. Yield (mutant, "noticed", "timed out", "crashed" or "survived")."""
    noticed = set()
    for mutant, verdict in judge_quickly(mutants, recorded, folders, tests):
        noticed.add(mutant)
        yield mutant, verdict
    rest = [mutant for mutant in mutants if mutant not in noticed]
    yield from judge_anew(rest, recorded, folders, tests)


def judge_anew(mutants, recorded, folders, own):
    """Run the tests on each mutant in a process that imports all anew. Yield it and what came of it."""
    waiting, free, running = collections.deque(mutants), list(folders), {}
    try:
        while waiting or running:
            while waiting and free:
                mutant, folder = waiting.popleft(), free.pop()
                tests, seconds = choose(mutant, recorded, own, beside=True)
                Path(folder, mutant.file).write_text(mutant.text, encoding="utf-8")
                files = sorted({test.partition("::")[0] for test in tests})
                process = start(folder, files, Chosen(tests))
                running[process] = mutant, folder, time.monotonic() + time_of(seconds)
            for process, (mutant, folder, limit) in list(running.items()):
                over, verdict = ended(process)
                late = not over and time.monotonic() > limit
                if over or late:
                    end(process)
                    del running[process]
                    shutil.copy2(ROOT / mutant.file, Path(folder, mutant.file))
                    free.append(folder)
                    yield mutant, "timed out" if late else verdict
            time.sleep(0.02)
    finally:
        for process in running:
            end(process)


def judge_quickly(mutants, recorded, folders, tests):
    """Run the tests on each mutant in processes that have collected them. Yield those that are noticed."""
    processes = {}
    try:
        for i, folder in enumerate(folders):
            Path(folder, "quick.txt").write_text("")
            own = dict(list(enumerate(mutants))[i :: len(folders)])
            processes[start(folder, tests, Quick(own, recorded, tests))] = folder
        seen = dict.fromkeys(folders, 0)
        while processes:
            time.sleep(0.05)
            for process, folder in list(processes.items()):
                over, _ = ended(process)
                lines = Path(folder, "quick.txt").read_text().splitlines()
                for line in lines[seen[folder] :]:
                    number, _, verdict = line.partition(" ")
                    yield mutants[int(number)], verdict
                seen[folder] = len(lines)
                if over:
                    del processes[process]
    finally:
        for process in processes:
            os.kill(process, signal.SIGTERM)  # it ends its own
            os.waitpid(process, 0)


def difference(mutant):
    """Return the lines that a mutant changes, as a diff."""
    before = (ROOT / mutant.file).read_text(encoding="utf-8").splitlines()
    lines = list(difflib.unified_diff(before, mutant.text.splitlines(), lineterm="", n=0))
    return "\n".join(f"    {line}" for line in lines[2:] if not line.startswith("@@"))


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="FILE[:LINE]")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N")
    options = parser.parse_args(arguments)
    targets = sorted({p.relative_to(ROOT).as_posix() for t in TARGETS for p in ROOT.glob(t)})
    wanted = [name.partition(":")[::2] for name in options.names or targets]
    unknown = [file for file, _ in wanted if file not in targets]
    if unknown:
        raise SystemExit(f"mutants: not among the code that is broken: {', '.join(unknown)}")
    listed = equivalents()
    tests = {file: tests_of(file) for file, _ in wanted}
    every = sorted({test for own in tests.values() for test in own})
    every = [t for t in every if not any(t.startswith(f"{folder}/") for folder in every)]
    total = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        folders = [str(Path(place, str(i)).resolve()) for i in range(options.jobs)]
        left_out = shutil.ignore_patterns(".git", ".venv", "_build", ".*cache*", "__pycache__")
        for folder in folders:
            shutil.copytree(ROOT, folder, ignore=left_out)
        recorded = record(folders[0], list(tests), every) if every else {}
        for file, line in wanted:
            mutants = [m for m in generate(file) if line in ("", str(m.line))][:: options.every]
            asked = [m for m in mutants if (m.file, m.code, m.change) not in listed]
            if not tests[file]:
                results = {m: "survived" for m in asked}
            else:
                results = {}
                for mutant, verdict in judge(asked, recorded, folders, tests[file]):
                    results[mutant] = verdict
                    print(f"{file}: {len(results)} of {len(asked)}", end="\r", file=sys.stderr)
            count = collections.Counter(results.values(), listed=len(mutants) - len(asked))
            total += count
            report(file, count)
            for mutant in asked:
                if results[mutant] == "survived":
                    print(f"  {file}:{mutant.line}: {mutant.change}\n{difference(mutant)}")
            sys.stdout.flush()
    return report("all", total) < GOAL


def report(name, count):
    """Print a line of counts, and return the part that was noticed of what could be."""
    asked = sum(count.values()) - count["listed"]
    score = 1 - count["survived"] / max(asked, 1)
    print(
        f"{name}: {score:.1%} of {asked} noticed; {count['survived']} survived, of the others"
        f" {count['timed out']} timed out and {count['crashed']} crashed;"
        f" beside them {count['listed']} equivalent"
    )
    return score


if __name__ == "__main__":
    for kind in (signal.SIGINT, signal.SIGTERM):  # end as by Ctrl-C, in the background, too: tidy up first
        signal.signal(kind, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
