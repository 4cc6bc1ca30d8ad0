"""The variable history: its formulas, with the numbers that it shows in them, give the values that it shows."""

import json
import math
import re

import pytest
import torch

import lessons
from lessons.history import History, number
from lessons.trace import Trace

SETTINGS = [
    ("SGD", dict(lr=0.1)),
    ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.3)),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.5, maximize=True)),
    ("Adagrad", dict(lr=0.5)),
    ("Adagrad", dict(lr=0.5, lr_decay=0.1, initial_accumulator_value=0.3, weight_decay=1)),
    ("RMSprop", dict(lr=0.1)),
    ("RMSprop", dict(lr=0.1, alpha=0.9, centered=True, momentum=0.5, eps=0.1)),
    ("Adam", dict(lr=0.1)),
    ("Adam", dict(lr=0.1, weight_decay=0.25, amsgrad=True, maximize=True)),
    ("AdamW", dict(lr=0.1, weight_decay=0.25, eps=0.01)),
    ("AdamW", dict(lr=0.1, weight_decay=0)),
]
every = pytest.mark.parametrize("package", [lessons, torch.optim], ids=["lessons", "torch"])


def traced(optimizer_class, settings, steps=6):
    w = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = optimizer_class([w], **settings)
    with Trace(optimizer) as trace:
        for t in range(steps):
            w.grad = torch.cos(w.detach() * t)  # of either sign
            optimizer.step()
    return trace


def evaluate(formula):
    """Compute what a formula says, from the digits that it shows."""
    python = formula.replace("−", "-").replace("·", "*").replace("²", "**2")
    python = re.sub(r"<sup>(\d+)</sup>", r"**\1", python)
    python = re.sub(r"√(\((?:[^()]|\([^()]*\))*\)|[\d.e-]+)", r"(\1)**0.5", python)
    return eval(python, {"max": max})  # the tests' own text


@every
@pytest.mark.parametrize("name, settings", SETTINGS)
def test_the_formulas_give_the_values(name, settings, package):
    figure = History(traced(getattr(package, name), settings), "what to see")
    computed = 0
    for line, values, formulas in zip(
        figure.lines, figure.values, figure.formulas, strict=True
    ):
        assert len(values) == len(formulas) == 6
        for value, formula in zip(values, formulas, strict=True):
            assert "{" not in formula
            if line.key not in ("before", "grad"):
                assert math.isclose(evaluate(formula), value, rel_tol=5e-3, abs_tol=2e-4)
                computed += 1
    assert computed >= 12


@pytest.mark.parametrize("name, settings", SETTINGS)
def test_each_step_starts_where_the_last_one_ended(name, settings):
    figure = History(traced(getattr(lessons, name), settings), "what to see")
    by_key = {line.key: v for line, v in zip(figure.lines, figure.values, strict=True)}
    assert by_key["before"][0] == 2
    assert by_key["before"][1:] == by_key["after"][:-1]


def test_the_decay_has_a_line_only_where_it_is_a_movement_of_its_own():
    def keys(name, weight_decay):
        settings = dict(lr=0.1, weight_decay=weight_decay)
        return [
            line.key for line in History(traced(getattr(lessons, name), settings), "").lines
        ]

    assert "decay" in keys("AdamW", 0.5) and "total_grad" not in keys("AdamW", 0.5)
    assert "decay" not in keys("Adam", 0.5) and "total_grad" in keys("Adam", 0.5)
    assert "decay" not in keys("AdamW", 0) and "total_grad" not in keys("Adam", 0)


def test_the_page_holds_every_value_and_a_row_a_step_and_escapes_the_caption():
    figure = History(traced(lessons.AdamW, dict(lr=0.1)), "w < 2 & falling")
    page = figure._repr_html_()
    assert "<figcaption>w &lt; 2 &amp; falling</figcaption>" in page
    data = json.loads(
        re.search(r"<script type=\"application/json\">(.*?)</script>", page)[1]
    )
    assert data["formulas"] == figure.formulas
    for values, texts in zip(figure.values, data["texts"], strict=True):
        assert texts == [number(value) for value in values]
    for t, step in enumerate(zip(*data["texts"], strict=True), start=1):
        cells = "".join(f"<td>{text}</td>" for text in step)
        assert f"<tr><th scope='row'>{t}</th>{cells}</tr>" in page
    assert page == figure._repr_html_()  # nothing random: nbval compares it


def test_the_still_is_a_picture():
    assert History(traced(lessons.Adam, {}), "")._repr_png_().startswith(b"\x89PNG")


def test_numbers_have_four_digits_and_a_minus_sign():
    assert [number(v) for v in (-0.123456, 0.0, -0.0, 1e-8)] == [
        "−0.1235",
        "0",
        "0",
        "1e−08",
    ]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="no step"):
        History(traced(lessons.Adam, {}, steps=0), "")
    with pytest.raises(ValueError, match=r"l1 is 0\.1"):
        History(traced(lessons.SGD, dict(l1=0.1)), "")
    weights = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="several"):
        History(Trace(lessons.SGD([weights])), "")


@pytest.mark.parametrize("name, settings", [("Adam", {}), ("SGD", dict(momentum=0.9))])
def test_a_late_trace_is_refused(name, settings):
    w = torch.nn.Parameter(torch.tensor(2.0))
    optimizer = getattr(lessons, name)([w], **settings)
    w.grad = torch.tensor(1.0)
    optimizer.step()
    with Trace(optimizer) as trace:
        optimizer.step()
    with pytest.raises(ValueError, match="after the optimizer's first step"):
        History(trace, "")
