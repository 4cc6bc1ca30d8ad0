"""The cheat sheet says what torch does and what was measured, and goes on saying it."""

import inspect
import itertools
import re
from pathlib import Path

import pytest
import torch

import lessons
from lessons import stored

ROOT = Path(__file__).parents[1]
CLASSES = {
    "SGD": torch.optim.SGD,
    "SGD + momentum": torch.optim.SGD,
    "Adagrad": torch.optim.Adagrad,
    "RMSprop": torch.optim.RMSprop,
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
}


def rows_under(heading):
    """The first table under a heading: the first cell of a row → its cells by column name."""
    text = (ROOT / "cheat_sheet.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines
    )
    assert all(len(row) == len(header) for row in rows), rows
    return {row[0].strip("| "): dict(zip(header, row, strict=True)) for row in rows}


SETTINGS = rows_under("Settings")
OPTIMIZERS = pytest.mark.parametrize("name", CLASSES)


def test_all_optimizers_are_on_the_sheet_in_both_tables():
    assert list(SETTINGS) == list(CLASSES)
    assert list(rows_under("One step"))[: len(CLASSES)] == list(CLASSES)


def numeric_defaults(optimizer_class):
    """The defaults that are a number or a pair of numbers: the others choose how, not what, is computed."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(optimizer_class).parameters.items()
        if isinstance(parameter.default, int | float | tuple)
        and not isinstance(parameter.default, bool)
    }


@OPTIMIZERS
def test_the_defaults_are_those_of_torch(name):
    cell = SETTINGS[name]["Defaults of `torch.optim`"]
    if name == "SGD + momentum":
        assert cell == "the same, with `momentum=0.9`"
        return
    said = eval(f"dict({cell.strip('`')})", {"dict": dict})
    assert said == numeric_defaults(CLASSES[name])


@OPTIMIZERS
def test_what_an_optimizer_remembers_is_counted(name):
    w = torch.nn.Parameter(torch.ones(10))
    momentum = {"momentum": 0.9} if name == "SGD + momentum" else {}
    optimizer = CLASSES[name]([w], lr=0.1, **momentum)
    w.grad = torch.ones(10)
    optimizer.step()
    tensors = [t for t in optimizer.state[w].values() if torch.is_tensor(t)]
    assert rows_under("One step")[name]["Remembers"] == str(
        sum(t.numel() == 10 for t in tensors)
    )


def ranges(cell):
    """The parts of “0, 0.1–3” as (low, high); low is high where a number stands alone."""
    parts = [[float(number) for number in part.split("–")] for part in cell.split(", ")]
    return [(part[0], part[-1]) for part in parts]


def choosing():
    """The rows of chapter 11's experiment under a cosine schedule."""
    return [row for row in stored.read("choosing") if row["schedule"] == "cosine"]


TUNED = [(name, column, "tuned") for name in CLASSES for column in ("lr", "weight_decay")]
# The best lr without decay: with it, AdamW is Adam.
UNDECAYED = [(name, "lr", "best of the line") for name in CLASSES if name != "AdamW"]


@pytest.mark.parametrize("name, column, part", TUNED + UNDECAYED)
def test_the_ranges_to_try_hold_the_best_of_at_least_six_tasks_of_eight(name, column, part):
    best = [
        float(row[column])
        for row in choosing()
        if row["part"] == part
        and row["optimizer"] == name.replace("SGD + momentum", "Momentum")
    ]
    cell = SETTINGS[name]["lr to try" if column == "lr" else "λ to try"]
    inside = [any(low <= value <= high for low, high in ranges(cell)) for value in best]
    assert len(best) == 8 and sum(inside) >= 6, best


@OPTIMIZERS
@pytest.mark.parametrize("column, argument", [("lr to try", "lr"), ("λ to try", "weight_decay")])
def test_each_end_of_a_range_is_near_the_best_of_some_task(name, column, argument):
    cell = SETTINGS[name][column]
    names = [other for other in CLASSES if SETTINGS[other][column] == cell]  # share the range
    best = [
        float(row[argument])
        for row in choosing()
        if row["part"] in ("tuned", "best of the line")
        and row["optimizer"] in [n.replace("SGD + momentum", "Momentum") for n in names]
    ]
    for end in itertools.chain(*ranges(cell)):
        assert any(end / 2 <= value <= 2 * end for value in best), (end, sorted(best))


# The formulas, computed as they stand on the sheet.

SHEET = (ROOT / "cheat_sheet.md").read_text(encoding="utf-8")
STEPS = {name: row["Update"] for name, row in rows_under("One step").items()}
# "η: `lr`, λ: `weight_decay`, …": what the letters stand for.
MEANING = dict(re.findall(r"(\w): `(\w+)`", SHEET.partition("\n## ")[0]))
COUPLED, HATS = re.search(r"^Coupled decay: first (.*?)\. Hats: (.*?)\. ", SHEET, re.M).groups()
FUNCTIONS = {"sqrt": torch.sqrt, "sign": torch.sign, "abs": torch.abs, "max": torch.clamp}
LATEX = [
    *((re.escape(a), f"({b})".replace("\\", r"\\")) for a, b in re.findall(r"\$(.*?) = (.*?)\$", HATS)),
    (r"\\operatorname\{(\w+)\}|\\text\{(\w+)\}", r"\1\2"),
    (r"\\lvert (\w)\\rvert", r"abs(\1)"),
    (r"\\sqrt\{(.*?)\}|\\sqrt (\w)", r"sqrt(\1\2)"),
    *((r"\\beta_(\d)", r"β\1"), (r"\\eta", "η"), (r"\\lambda", "λ"), (r"\\mu", "μ")),
    *((r"\\alpha", "α"), (r"\\varepsilon", "ε"), (r"\\max", "max"), (r"\^", "**")),
    *((r"\\cdot|·", "*"), ("−", "-"), (r"\\,|\s", "")),
]
# Large, so that no place of ε, no hat and no decay hides in the rounding.
SET = dict(lr=0.3, weight_decay=0.2, momentum=0.8, alpha=0.7, betas=(0.6, 0.9), eps=0.5)
GRADIENTS = torch.randn(4, 5, generator=torch.manual_seed(0), dtype=torch.float64)
START = torch.tensor([-2.0, -0.3, 0.1, 0.6, 3.0], dtype=torch.float64)
TAKES = {  # settings, and the words for the rate r of an L1 threshold
    "SGD": (["lr"], "η in SGD"),
    "SGD + momentum": (["lr", "momentum"], "η/(1 − μ) with momentum"),
    "Adagrad": (["lr", "eps"], "η over the root in Adagrad and Adam"),
    "RMSprop": (["lr", "alpha", "eps"], None),
    "Adam": (["lr", "betas", "eps"], "η over the root in Adagrad and Adam"),
    "AdamW": (["lr", "betas", "eps"], "η over the root in Adagrad and Adam"),
}


def value(formula, values):
    """What a formula comes to: LaTeX, in which two factors side by side are a product."""
    code = formula
    for pattern, python in LATEX:
        code = re.sub(pattern, python, code)
    names = [*FUNCTIONS, *sorted(values, key=len, reverse=True)]
    words = re.findall(rf"{'|'.join(names)}|\d+|\*\*|[-+*/(),]", code)
    assert "".join(words) == code, f"not understood: {formula}"
    code = words[0]
    for before, word in itertools.pairwise(words):
        ended = before not in FUNCTIONS and (before[-1].isalnum() or before == ")")
        code += "*" * (ended and (word[0].isalnum() or word == "(")) + word
    return eval(code, {"__builtins__": {}}, FUNCTIONS | values)


def carry_out(text, values):
    """Carry out the assignments ``$name \\leftarrow formula$`` of a text, in order."""
    assignments = re.findall(r"\$(\w) \\leftarrow (.+?)\$", text)
    assert len(assignments) == text.count("$") / 2 > 0, text
    for name, formula in assignments:
        values[name] = value(formula, values)


def threshold(name):
    """The L1 update of the sheet, and the formula of a weight's own rate r from its words."""
    update, _, rates = STEPS["L1, proximal"].partition("; r: the weight's own rate: ")
    words = TAKES[name][1]
    assert words in rates.split(", ")
    formula = re.split(" in | with ", words)[0]
    if formula == "η over the root":
        step = STEPS[name.replace("AdamW", "Adam")]
        formula = "η/" + re.search(r"/(\(.*\))\$$", step)[1]
    return update.removeprefix("the step, then "), formula


def by_the_sheet(name, decay, l1):
    """Where the sheet's formulas lead from ``START`` along ``GRADIENTS``."""
    values = {letter: SET[MEANING[letter]] for letter in "ηλμαε"} | {"λ": decay, "l1": l1}
    values |= dict(zip(("β1", "β2"), SET[MEANING["β"]], strict=True))
    values |= dict.fromkeys("bGvmr", torch.zeros_like(START)) | {"w": START.clone()}
    for t, g in enumerate(GRADIENTS, 1):
        values |= {"t": t, "g": g}
        before, then_as, _ = STEPS[name].partition(", then as Adam, with g without λ·w")
        if then_as:
            carry_out(before, values)
            carry_out(STEPS["Adam"], values)
        else:
            carry_out(COUPLED, values)
            carry_out(STEPS[name], values)
        if l1:
            update, r = threshold(name)
            values["r"] = value(r, values)
            carry_out(update, values)
    return values["w"]


def by_the_package(name, decay, l1):
    """Where the optimizer of ``lessons`` leads."""
    w = torch.nn.Parameter(START.clone())
    settings = {argument: SET[argument] for argument in TAKES[name][0]}
    penalty = {"l1": l1} if l1 else {}
    kind = getattr(lessons, name.replace("SGD + momentum", "SGD"))
    optimizer = kind([w], weight_decay=decay, **settings, **penalty)
    for g in GRADIENTS:
        w.grad = g.clone()
        optimizer.step()
    return w.detach()


CASES = [(name, decay, 0.0) for name in CLASSES for decay in (0.0, SET["weight_decay"])]
CASES += [(name, 0.0, 0.1) for name, (_, words) in TAKES.items() if words]


@pytest.mark.parametrize("name, decay, l1", CASES)
def test_the_formulas_lead_where_the_optimizers_do(name, decay, l1):
    torch.testing.assert_close(by_the_sheet(name, decay, l1), by_the_package(name, decay, l1))


def test_the_formulas_are_all_on_the_sheet_in_the_letters_that_it_explains():
    assert list(STEPS) == [*TAKES, "L1, proximal"]
    assert set(MEANING) == set("ηλμαβε")
    rates = STEPS["L1, proximal"].partition("; r: the weight's own rate: ")[2]
    assert rates.split(", ") == list(dict.fromkeys(words for _, words in TAKES.values() if words))


@OPTIMIZERS
def test_what_the_decay_means_is_what_it_does(name):
    """By a step without a gradient: what moves then is the decay alone."""
    w = torch.nn.Parameter(START.clone())
    settings = {argument: SET[argument] for argument in TAKES[name][0]}
    optimizer = CLASSES[name]([w], weight_decay=SET["weight_decay"], **settings)
    w.grad = torch.zeros_like(w)
    optimizer.step()
    moved, state = START - w.detach(), optimizer.state[w]
    off = re.search(r"\*\*Decoupled × lr\*\*: (\S+) is taken off w\.", SHEET)[1]
    taken = value(off, {"η": SET["lr"], "λ": SET["weight_decay"], "w": START})
    remembered = any(torch.is_tensor(v) and v.dim() and v.any() for v in state.values())
    means = SETTINGS[name]["What λ means"]
    assert ("rescaled" in means) == (not torch.allclose(moved, taken))
    if name != "SGD":  # which remembers nothing
        assert means.startswith("**coupled**" if remembered else "**decoupled × lr**")
