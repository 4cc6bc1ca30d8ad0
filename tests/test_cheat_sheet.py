"""The cheat sheet says what torch does and what was measured, and goes on saying it."""

import inspect
from pathlib import Path

import pytest
import torch

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


TUNED = [(name, column, "tuned") for name in CLASSES for column in ("lr", "weight_decay")]
# The best lr without decay: with it, AdamW is Adam.
UNDECAYED = [(name, "lr", "best of the line") for name in CLASSES if name != "AdamW"]


@pytest.mark.parametrize("name, column, part", TUNED + UNDECAYED)
def test_the_ranges_to_try_hold_the_best_of_at_least_six_tasks_of_eight(name, column, part):
    best = [
        float(row[column])
        for row in stored.read("choosing")
        if row["part"] == part
        and row["schedule"] == "cosine"
        and row["optimizer"] == name.replace("SGD + momentum", "Momentum")
    ]
    cell = SETTINGS[name]["lr to try" if column == "lr" else "λ to try"]
    inside = [any(low <= value <= high for low, high in ranges(cell)) for value in best]
    assert len(best) == 8 and sum(inside) >= 6, best
