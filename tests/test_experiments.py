"""Every script of a long run, and the benchmark, in a tiny form: they still write what is stored.

Tiny means one or two tasks, two values a setting, two seeds and two steps, and no processes. What the numbers
are is then of no interest; which columns there are, what stands in them and what the header says, is.
"""

import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lessons import stored

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.py"))


class Inline:
    """In the place of a pool of processes: all in this one, in order."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    map = staticmethod(map)


@pytest.fixture
def script(monkeypatch, tmp_path, request):
    """A function from a script's name to its module; what the script changes for all of torch is put back."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    before = set(sys.modules)

    def load(name):
        module = importlib.import_module(name)
        if hasattr(module, "ProcessPoolExecutor"):
            monkeypatch.setattr(module, "ProcessPoolExecutor", Inline)
        if hasattr(module, "sweep") and name in SCRIPTS:
            monkeypatch.setattr(module, "sweep", tiny_sweep(module.sweep))
        return module

    yield load
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    for name in set(sys.modules) - before:
        if name in {*SCRIPTS, "bench_costs", "report"}:
            del sys.modules[name]


def tiny_sweep(sweep):
    def shortened(optimizer, model, data, axes, seeds, *, steps, **rest):
        assert steps >= 100  # a patched number that nobody reads would pass unnoticed
        return sweep(optimizer, model, data, axes, list(seeds)[:2], steps=2, **rest)

    return shortened


def first(mapping, *names):
    return {name: mapping[name] for name in names or list(mapping)[:1]}


# --- what makes each script tiny: module → name → value -------------------------------------------

SEEDS = dict(TUNING_SEEDS=range(2), TEST_SEEDS=range(100, 102))


def adagrad_or_adam(m):
    rules = {
        rule: (cls, lrs[6:8], power)
        for rule, (cls, lrs, power) in m.OPTIMIZERS.items()
        if rule in {("Adagrad", "√t·cosine"), ("Adam", "1/√t")}
    }
    return dict(WIDTHS=first(m.WIDTHS), STEPS=(250,), OPTIMIZERS=rules)


def adam_schedule(m):
    return dict(TASKS=first(m.TASKS), STEPS=[100], LR=m.LR[10:12])


def adam_settings(m):
    settings = {"beta2": [0.9], "eps": [1e-8], "weight_decay": [0.0, 0.1]}
    return dict(TASKS=first(m.TASKS), SETTINGS=settings, LR=m.LR[8:10])


def choosing(m):
    # One of each part, on the tasks that are quickest.
    jobs = [
        *((m.tuned, task, "AdamW") for task in ("wine", "diabetes")),
        (m.line, "breast cancer", "SGD"),
        (m.more_steps, "wine, raw units", "Adam"),
        (m.race, "wine, raw units", "Momentum"),
        (m.spacing, "", "Adam"),
        (m.longer, "", "AdamW"),
    ]
    assert {job[0] for job in jobs} == {job[0] for job in m.JOBS}
    return dict(
        JOBS=jobs,
        LR=m.LR[9:11],
        COUPLED=m.COUPLED[:3],
        DECOUPLED=m.DECOUPLED[:2],
        LINE=m.LINE[10:13],
        TEST_SEEDS=m.TEST_SEEDS[:2],
    )


def decay_recipe(m):
    with pytest.MonkeyPatch.context() as patch:  # it reads what other scripts have written
        patch.setattr(stored, "FOLDER", Path(stored.__file__).with_name("data"))
        tasks = first(m.tuned(), "random units", "wine, standardised")
    return dict(tuned=lambda: tasks, SEEDS=range(1))


def embedding(m):
    lrs = {name: values[4:6] for name, values in m.LR.items()}
    return dict(PASSES=(1,), LR=lrs) | SEEDS


def hollows(m):
    return dict(DRAWS=range(2), TUNING=20, FRESH=50, STEPS=4)


def l1_batches(m):
    rates = dict(RATES=m.RATES[:2], FTRL_RATES=m.FTRL_RATES[:2])
    return dict(SEEDS=range(2), STEPS=4, BATCH_SIZES=(16,)) | rates


def l1_metric(m):
    strengths = {form: values[:2] for form, values in m.L1.items()}
    return dict(TASKS=first(m.TASKS), LR=m.LR[3:5], L1=strengths, STEPS=2) | SEEDS


def l1_network(m):
    strengths = {form: values[:2] for form, values in m.L1.items()}
    return dict(LR=m.LR[1:3], L1=strengths, STEPS=2) | SEEDS


def l1_words(m):
    rates = {name: values[:2] for name, values in m.RATES.items()}
    training = m.TRAINING | dict(steps=2)
    seeds = dict(SEEDS=range(2), TUNING_SEEDS=range(100, 102))
    return dict(L1=m.L1[:2], RATES=rates, TRAINING=training) | seeds


def cases(m):
    def small(task):
        decays = {name: values[:2] for name, values in task.weight_decay.items()}
        return replace(task, lr=task.lr[:2], weight_decay=decays)

    quick = [*m.TASKS][::4]  # of the others, models and data are as the chapters have them
    return dict(TASKS={name: small(m.TASKS[name]) for name in quick})


def lr_and_decay(m):
    optimizers = {name: (cls, decays[:2]) for name, (cls, decays) in m.OPTIMIZERS.items()}
    return dict(STEPS=(100, 120), LR=m.LR[:2], OPTIMIZERS=optimizers)


def penalty_or_place(m):
    def small(task):
        decays = {name: values[:2] for name, values in task.weight_decay.items()}
        return replace(task, lr=task.lr[:2], weight_decay=decays, test_seeds=2)

    tasks = {name: small(m.TASKS[name]) for name in ("random units", [*m.TASKS][-1])}
    kept = stored.FOLDER / "done"  # not in the folder of a run that was interrupted
    return dict(TASKS=tasks, DIGITS=first(tasks), FINALISTS=2, DONE=kept)


def rare_features(m):
    tasks = first(m.TASKS, "exponent 1.0", "docstrings, idf, passes 4")
    rules = {
        rule: (cls, lrs[6:8])
        for rule, (cls, lrs) in m.OPTIMIZERS.items()
        if rule in {("SGD", "1/√t"), ("Adam", "cosine")}
    }
    return dict(TASKS=tasks, OPTIMIZERS=rules)


def spare_gains(m):
    grid = dict(LR=m.LR[6:8], WEIGHT_DECAY=m.WEIGHT_DECAY[:2])
    seeds = dict(TUNING_SEEDS=range(2), FRESH_SEEDS=range(500, 502))
    return dict(CHOICES=first(m.CHOICES, "the matrices alone", "everything"), STEPS=2) | grid | seeds


def who_wins(m):
    optimizers = {name: (cls, decays[:2]) for name, (cls, decays) in m.OPTIMIZERS.items()}
    return dict(TASKS=first(m.TASKS), LR=m.LR[3:6], OPTIMIZERS=optimizers)


TINY = dict(
    adagrad_or_adam=adagrad_or_adam,
    adam_schedule=adam_schedule,
    adam_settings=adam_settings,
    choosing=choosing,
    decay_recipe=decay_recipe,
    embedding=embedding,
    hollows=hollows,
    l1_batches=l1_batches,
    l1_metric=l1_metric,
    l1_network=l1_network,
    l1_words=l1_words,
    language_cases=cases,
    lr_and_decay=lr_and_decay,
    natural_cases=cases,
    penalty_or_place=penalty_or_place,
    rare_features=rare_features,
    spare_gains=spare_gains,
    who_wins=who_wins,
)


def kind(text):
    """What stands in a cell: nothing, a number, numbers, or words."""
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        return text
    return "numbers" if len(numbers) > 1 else "number" if numbers else ""


def about(lines):
    """A header without what depends on the version of Python: its own, and the words of its manual."""
    return re.sub(
        r"[\d,]+ triples", "… triples", "\n".join(lines).partition("\nVersions")[0]
    )


def test_every_script_is_tried():
    assert sorted([*TINY, "docstrings"]) == SCRIPTS


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_run_writes_what_is_stored(name, script, monkeypatch, tmp_path):
    header, rows = stored_in_the_package(name, monkeypatch, tmp_path)
    module = script(name)
    assert about(module.ABOUT.splitlines()) == about(header)
    if name in ("language_cases", "penalty_or_place", "decay_recipe"):
        script("natural_cases")
    for constant, value in TINY[name](module).items():
        assert hasattr(module, constant)
        monkeypatch.setattr(module, constant, value)
    if name in ("natural_cases", "language_cases"):
        module.main(name, module.ABOUT, module.TASKS)
    else:
        module.main()
    found = stored.read(name)
    assert about(stored.header(name)) == about(header)
    assert stored.header(name)[-1].startswith("Versions: ")
    assert list(found[0]) == list(rows[0])
    for column in rows[0]:
        kinds = {kind(row[column]) for row in rows}
        if column in ("edges", "edge"):  # two values are two ends
            kinds |= {"lr", "weight_decay", "lr weight_decay", "l1", "lr l1", "yes", "some"}
        new = {kind(row[column]) for row in found}
        assert new <= kinds, column
    unique = {tuple(row.values()) for row in found}
    assert len(unique) > len(found) / 2


def stored_in_the_package(name, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(stored, "FOLDER", Path(stored.__file__).with_name("data"))
        return stored.header(name), stored.read(name)


def test_the_corpus_is_written_as_it_is_stored(script, monkeypatch, tmp_path):
    docstrings = script("docstrings")
    output = docstrings.OUTPUT
    settings = dict(PACKAGES=("tqdm", "mnist1d"), SHORTEST=8, RAREST=2, DOCUMENTS=20)
    for constant, value in (settings | dict(OUTPUT=tmp_path / "some.npz")).items():
        monkeypatch.setattr(docstrings, constant, value)
    docstrings.main()
    with np.load(output) as old, np.load(tmp_path / "some.npz") as new:
        assert new.files == old.files
        assert [new[key].dtype.kind for key in new] == [old[key].dtype.kind for key in old]
        words, documents = new["words"].item().split(), len(new["classes"])
        assert words == sorted(set(words)) and documents > 5
        assert len(new["lengths"]) == documents and new["counts"].min() >= 1
        assert new["lengths"].sum() == len(new["columns"]) == len(new["counts"])
        assert new["columns"].max() < len(words)


def test_the_benchmark_measures_the_cases_that_are_stored(script, monkeypatch, tmp_path):
    _, rows = stored_in_the_package("costs", monkeypatch, tmp_path)
    bench, report = script("bench_costs"), script("report")
    for shape in bench.SHAPES:
        monkeypatch.setitem(bench.SHAPES, shape, [(4, 3), (4, 3)])
    monkeypatch.setattr(bench, "GRID", dict(lr=[0.1, 0.01], weight_decay=[0.0]))
    monkeypatch.setattr(bench, "STEPS", 2)
    monkeypatch.setattr(torch, "compile", lambda step: step)
    times = {}
    for labels, make, _rounds in bench.cases():
        make()()
        times[labels] = 1.0 + len(times)
    found, bandwidth = report.rows_of(times)
    report.write(found, bandwidth)
    new = stored.read("costs")
    labels = ("what", "shape", "rule", "contender")
    assert [list(row)[:4] for row in new] == [list(labels)] * len(rows)
    assert [[r[k] for k in labels] for r in new] == [[r[k] for k in labels] for r in rows]
    for old_row, new_row in zip(rows, new, strict=True):
        assert [kind(v) for v in old_row.values()] == [kind(v) for v in new_row.values()]
