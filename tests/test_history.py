"""The variable history: its formulas, with the numbers that it shows in them, give the values that it shows."""

import json
import math
import re

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
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


BEGIN, END = ["wt−1 param, before", "gt grad"], ["wt param, after"]
NAMES = [
    ("SGD", {}, ["−ηgt update"]),
    ("SGD", dict(momentum=0.9), ["bt momentum_buffer", "Δw update"]),
    ("SGD", dict(maximize=True), ["gt grad, in the rule", "−ηgt update"]),
    ("Adagrad", {}, ["Σg² sum", "η/√Σg² rate", "Δw update"]),
    ("RMSprop", {}, ["vt square_avg", "η/√vt rate", "Δw update"]),
    (
        "RMSprop",
        dict(centered=True, momentum=0.5),
        ["vt square_avg", "mean of g grad_avg", "η/√vt rate", "bt momentum_buffer", "Δw update"],
    ),
    (
        "Adam",
        dict(amsgrad=True, weight_decay=0.1),
        [
            *("gt grad, in the rule", "mt exp_avg", "vt exp_avg_sq", "max v max_exp_avg_sq"),
            *("m̂t m, corrected", "v̂t v, corrected", "η/(√v̂t + ε) rate", "Δw update"),
        ],
    ),
    (
        "AdamW",
        {},
        [
            *("−ηλwt−1 decay", "mt exp_avg", "vt exp_avg_sq", "m̂t m, corrected"),
            *("v̂t v, corrected", "η/(√v̂t + ε) rate", "Δw update"),
        ],
    ),
]


@pytest.mark.parametrize("name, settings, names", NAMES)
def test_each_variable_has_a_symbol_and_torchs_name(name, settings, names):
    figure = History(traced(getattr(lessons, name), settings), "")
    symbols = [re.sub("<[^>]*>", "", line.symbol) for line in figure.lines]
    shown = [f"{s} {line.code}" for s, line in zip(symbols, figure.lines, strict=True)]
    assert shown == [*BEGIN, *names, *END]
    before, grad = (list(map(re.compile("<[^>]*>").sub, [""] * 6, f)) for f in figure.formulas[:2])
    assert before == ["the start"] + ["from the last step"] * 5
    assert grad == ["slope of the loss at wt−1"] * 6
    page = figure._repr_html_()
    for line in figure.lines:
        assert f"<th scope='col'>{line.symbol}<br><code>{line.code}</code></th>" in page
        assert f"<tr><th scope='row'>{line.symbol} <code>{line.code}</code></th>" in page
    assert not re.search(r"</t[hdr]>[^<\s]", page)  # nothing between the cells
    assert "\\u" not in page  # signs as they are
    assert repr(figure).splitlines() == [
        f"{line.code}: {', '.join(map(number, values))}"
        for line, values in zip(figure.lines, figure.values, strict=True)
    ]


def test_numbers_in_formulas_are_short_and_in_parentheses_only_if_negative():
    settings = dict(lr=0.123456, eps=1e-8, weight_decay=0.3)
    figure = History(traced(lessons.Adam, settings), "")
    text = re.sub("</?sup>", " ", " ".join(map(" ".join, figure.formulas)))
    assert " 0.1235 / " in f" {text}" and "0.12346" not in text and "1e−08" in text
    assert "-" not in text and "(−" in text and not re.search(r"\(\d[\d.e−]*\)", text)


def test_a_history_of_one_step():
    figure = History(traced(lessons.AdamW, {}, steps=1), "")
    assert figure.values[0] == [2.0] and figure._repr_png_().startswith(b"\x89PNG")
    assert "step 1 of 1" in figure._repr_html_()


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


# --- no row shows arithmetic that is not so ---------------------------------------------------------


class Interval:
    """What a number may be, of which four digits are shown."""

    def __init__(self, low, high=None):
        self.low, self.high = low, low if high is None else high

    @classmethod
    def shown(cls, text):
        value = float(text)
        if value == 0 or not math.isfinite(value):
            return cls(value)
        digits = max(4, len(text.split("e")[0].replace(".", "").lstrip("-0")))
        half = 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
        return cls(value - half, value + half)

    def _corners(self, other, operation):
        other = other if isinstance(other, Interval) else Interval(other)
        corners = [
            operation(a, b) for a in (self.low, self.high) for b in (other.low, other.high)
        ]
        return Interval(min(corners), max(corners))

    def __add__(self, other):
        return self._corners(other, lambda a, b: a + b)

    def __sub__(self, other):
        return self._corners(other, lambda a, b: a - b)

    def __mul__(self, other):
        return self._corners(other, lambda a, b: a * b)

    def __truediv__(self, other):
        return self._corners(other, lambda a, b: a / b)

    def __neg__(self):
        return Interval(-self.high, -self.low)

    def __pow__(self, power):
        ends = sorted([abs(self.low) ** power, abs(self.high) ** power])
        return Interval(0.0 if self.low < 0 < self.high else ends[0], ends[1])

    def root(self):
        return Interval(max(self.low, 0.0) ** 0.5, max(self.high, 0.0) ** 0.5)

    def meets(self, other, slack=1e-6):
        """True if the two have a number in common, up to the rounding of float32."""
        slack *= max(abs(self.high), abs(self.low), abs(other.high), abs(other.low))
        return self.low <= other.high + slack and other.low <= self.high + slack


def largest(one, other):
    return Interval(max(one.low, other.low), max(one.high, other.high))


def is_so(formula, text):
    """True if a shown formula can have the shown value, by the digits that both show."""
    python = formula.replace("−", "-").replace("·", "*").replace("²", "**2")
    python = re.sub(r"<sup>(\d+)</sup>", r"**\1", python)
    python = re.sub(r"√(\((?:[^()]|\([^()]*\))*\)|[\d.e-]+)", r"root(\1)", python)
    # The literals of 1 − β, 1 + … and t − 1 are no rounded numbers.
    python = re.sub(r"\((\d+) ([+-])", r"(exact('\1') \2", python)
    python = re.sub(r"- 1\)", "- exact('1'))", python)
    shown = r"(?<![\w'*])\d[\d.]*(?:e[+-]\d+)?"
    python = re.sub(shown, lambda found: f"shown('{found[0]}')", python)
    names = dict(shown=Interval.shown, exact=lambda t: Interval(int(t)), max=largest)
    value = eval(python, names | dict(root=Interval.root))  # the tests' own text
    return value.meets(Interval.shown(text.replace("−", "-")))


def rows(figure):
    """Return key, formula and value of every row that is computed, of every step."""
    for line, formulas, values in zip(
        figure.lines, figure.formulas, figure.values, strict=True
    ):
        if line.key not in ("before", "grad"):
            yield from (
                (line.key, formula, number(value))
                for formula, value in zip(formulas, values, strict=True)
            )


# In these eps is of the roots' size, and the betas are far from 1: each part of a formula counts.
SHARP = [
    ("SGD", dict(lr=0.3, momentum=0.6, dampening=0.4, weight_decay=0.2)),
    ("SGD", dict(lr=0.3, momentum=0.6, nesterov=True, maximize=True)),
    ("Adagrad", dict(lr=0.3, eps=0.4, lr_decay=0.2, weight_decay=0.3)),
    ("Adagrad", dict(lr=0.3, eps=0.4, initial_accumulator_value=0.7)),
    ("RMSprop", dict(lr=0.3, eps=0.4, alpha=0.6, weight_decay=0.3)),
    ("RMSprop", dict(lr=0.3, eps=0.4, alpha=0.6, momentum=0.5)),
    ("RMSprop", dict(lr=0.3, eps=0.4, alpha=0.6, momentum=0.5, centered=True)),
    ("Adam", dict(lr=0.3, eps=0.4, betas=(0.6, 0.7), weight_decay=0.3, amsgrad=True)),
    ("AdamW", dict(lr=0.3, eps=0.4, betas=(0.6, 0.7), weight_decay=0.3)),
]


@every
@pytest.mark.parametrize("name, settings", [*SETTINGS, *SHARP])
def test_no_row_shows_arithmetic_that_is_not_so(name, settings, package):
    checked = list(rows(History(traced(getattr(package, name), settings), "")))
    assert len(checked) >= 12
    for _, formula, text in checked:
        assert is_so(formula, text), (formula, text)


FAULTS = {
    "eps under the root": (r"√([\d.e−]+|\([^)]*\)) \+ ([\d.e−]+)", r"√(\1 + \2)"),
    "no eps": (r" \+ [\d.e−]+\)$", ")"),
    "no hat": (r" / \(1 − .*", ""),
    "a beta not raised": (r"<sup>.*</sup>", ""),
    "a step late": (r"<sup>(\d+)</sup>", lambda t: f"<sup>{int(t[1]) + 1}</sup>"),
    "no square": ("²", ""),
    "the other sign": (r"^−", ""),
    "no rate": (r"^−[\d.]+ · ", "−"),
    "no decay": (r" \+ 0\.[23] · \(?−?[\d.]+\)?$", ""),
    "no decay of the rate": (r" / \(1 \+ \(.*?\) · 0\.2\)", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_check_of_the_rows_notices(fault):
    """Each fault, put into the shown formulas, is seen in some row of every rule that has such a row."""
    changed = 0
    for name, settings in SHARP:
        by_key = {}
        for key, formula, text in rows(
            History(traced(getattr(lessons, name), settings), "")
        ):
            wrong = re.sub(*FAULTS[fault], formula)
            if wrong != formula:
                by_key.setdefault(key, []).append(is_so(wrong, text))
        for key, seen_as_right in by_key.items():
            changed += 1
            assert not all(seen_as_right), (name, key)
    assert changed


def test_a_beta_near_1_is_shown_in_full():
    settings = dict(lr=0.1, betas=(0.99999, 0.9999999))
    figure = History(traced(lessons.Adam, settings), "")
    assert "0.99999<sup>2</sup>" in str(figure.formulas)
    assert "0.9999999<sup>2</sup>" in str(figure.formulas)
    for _, formula, text in rows(figure):
        assert is_so(formula, text), (formula, text)


# --- settings that change ---------------------------------------------------------------------------


def trace_of(optimizer, grads, between=lambda t: None):
    (w,) = optimizer.param_groups[0]["params"]
    with Trace(optimizer) as trace:
        for t, grad in enumerate(grads, start=1):
            w.grad = torch.as_tensor(grad, dtype=w.dtype)
            optimizer.step()
            between(t)
    return trace


def weight(value=2.0, dtype=torch.float64):
    return torch.nn.Parameter(torch.tensor(value, dtype=dtype))


GRADS = [1.0, -0.7, 0.31, 2.0]


@every
@pytest.mark.parametrize("name, settings", [*SETTINGS, *SHARP])
def test_each_step_has_its_own_settings_in_its_formulas(name, settings, package):
    optimizer = getattr(package, name)([weight()], **settings)
    group = optimizer.param_groups[0]

    def change(t):
        group["lr"] /= 2
        if group["weight_decay"]:
            group["weight_decay"] = 0.0 if t == 1 else 0.4 * t
        for beta in ("alpha", "dampening", "momentum"):
            if group.get(beta) and not (group.get("nesterov") and beta == "dampening"):
                group[beta] *= 0.8
        if "betas" in group:
            group["betas"] = (group["betas"][0] * 0.8, group["betas"][1] * 0.9)

    figure = History(trace_of(optimizer, GRADS, change), "")
    for _, formula, text in rows(figure):
        assert is_so(formula, text), (formula, text)


@every
@pytest.mark.parametrize("lr", [torch.tensor(0.1), torch.tensor([0.1])], ids=["0-d", "1"])
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_a_tensor_as_the_rate(name, lr, package):
    w = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = getattr(package, name)([w], lr=lr)
    figure = History(trace_of(optimizer, [[g] for g in GRADS]), "")
    assert "0.1" in str(figure.formulas) and "0.1000" not in str(figure.formulas)
    for _, formula, text in rows(figure):
        assert is_so(formula, text), (formula, text)


@pytest.mark.parametrize(
    "name, settings",
    [("SGD", dict(momentum=0.5)), ("RMSprop", dict(momentum=0.5)), ("AdamW", dict())],
)
def test_a_rate_of_0(name, settings):
    optimizer = getattr(lessons, name)([weight()], lr=0.1, **settings)
    group = optimizer.param_groups[0]
    figure = History(trace_of(optimizer, GRADS, lambda t: group.update(lr=0)), "")
    for _, formula, text in rows(figure):
        assert is_so(formula, text), (formula, text)


@pytest.mark.parametrize(
    "name, settings, change",
    [
        ("SGD", dict(), dict(maximize=True)),
        ("SGD", dict(momentum=0.9), dict(momentum=0)),
        ("SGD", dict(), dict(momentum=0.9)),
        ("SGD", dict(momentum=0.9), dict(nesterov=True)),
        ("Adam", dict(amsgrad=True), dict(amsgrad=False)),
        ("AdamW", dict(), dict(decoupled_weight_decay=False)),
    ],
)
def test_a_rule_that_becomes_another_one_is_refused(name, settings, change):
    optimizer = getattr(lessons, name)([weight()], lr=0.1, **settings)
    group = optimizer.param_groups[0]
    trace = trace_of(optimizer, GRADS, lambda t: group.update(change))
    with pytest.raises(ValueError, match=next(iter(change))):
        History(trace, "")


def test_a_penalty_in_the_middle_is_refused():
    optimizer = lessons.SGD([weight()], lr=0.1)
    trace = trace_of(
        optimizer, GRADS, lambda t: optimizer.param_groups[0].update(l1=0.2 * (t == 2))
    )
    with pytest.raises(ValueError, match=r"l1 is 0\.2"):
        History(trace, "")


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_trace_that_misses_steps_is_refused(name):
    optimizer = getattr(lessons, name)([weight()], lr=0.1)
    trace = trace_of(optimizer, GRADS)
    optimizer.step()
    with trace:
        optimizer.step()
    with pytest.raises(ValueError, match="after step 4 trace misses a step"):
        History(trace, "")


def test_a_missed_step_that_moved_nothing_is_refused():
    w = weight()
    optimizer = lessons.Adam([w], lr=0.1)
    trace = Trace(optimizer)
    for recorded in (True, False, True):
        w.grad = torch.ones_like(w)
        optimizer.param_groups[0]["lr"] = 0.1 * recorded
        if recorded:
            with trace:
                optimizer.step()
        else:
            optimizer.step()
    with pytest.raises(ValueError, match="after step 1 trace misses a step"):
        History(trace, "")


def test_a_weight_set_between_steps_is_refused():
    w = weight()
    trace = trace_of(lessons.SGD([w], lr=0.1), GRADS, lambda t: w.data.fill_(1.0))
    with pytest.raises(ValueError, match=r"after step 1 .* set by other means"):
        History(trace, "")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_refused(dtype):
    trace = trace_of(lessons.SGD([weight(dtype=dtype)], lr=0.1), GRADS)
    with pytest.raises(ValueError, match=f"more than {dtype} has"):
        History(trace, "")


@pytest.mark.parametrize("caption", [None, 3, b"text", ["text"]], ids=repr)
def test_a_caption_of_another_kind_is_refused(caption):
    with pytest.raises(TypeError, match="caption must be a str, but got") as raised:
        History(traced(lessons.SGD, {}), caption)
    assert repr(caption) in str(raised.value)


@pytest.mark.parametrize("trace", [None, "trace", {}], ids=repr)
def test_what_is_no_trace_is_refused(trace):
    with pytest.raises(TypeError, match="trace must be a Trace, but got"):
        History(trace, "")


# --- pages and pictures -----------------------------------------------------------------------------


def diverged(name="SGD", package=lessons):
    optimizer = getattr(package, name)([weight()], lr=0.1)
    return History(trace_of(optimizer, [1.0, 1e308, math.inf, -math.inf, math.nan]), "")


def page_data(figure):
    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    text = re.search(
        r'<script type="application/json">(.*?)</script>', figure._repr_html_()
    )
    return json.loads(text[1], parse_constant=refuse)


@every
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_the_page_of_a_run_that_diverges_is_valid_json_and_says_so(name, package):
    figure = diverged(name, package)
    data = page_data(figure)
    row = [line.key for line in figure.lines].index("grad")
    assert data["texts"][row] == ["1", "1e+308", "inf", "−inf", "nan"]
    assert data["values"][row] == [1.0, 1e308, None, None, None]
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "nan" in repr(figure)


def test_the_first_step_stands_in_the_page_as_it_is_without_its_script():
    figure = History(traced(lessons.AdamW, dict(lr=0.1)), "")
    page = re.sub(r"<script.*?</script>", "", figure._repr_html_(), flags=re.S)
    frames = re.search(r'<table class="frames">(.*?)</table>', page, re.S)[1]
    assert "<caption>step 1 of 6</caption>" in frames
    cells = re.findall(r"<tr><th scope='row'>.*?</th><td>(.*?)</td><td>(.*?)</td>", frames)
    assert cells == [
        (formulas[0], number(values[0]))
        for formulas, values in zip(figure.formulas, figure.values, strict=True)
    ]
    # What does nothing without the script is hidden until it runs.
    assert '<div class="controls" hidden>' in page
    assert frames.count("<td hidden>") == len(figure.lines)


def test_the_still_draws_each_variable_from_the_first_step_to_the_last(monkeypatch):
    figure = History(traced(lessons.AdamW, dict(lr=0.1)), "")
    drawn = []
    monkeypatch.setattr(plt, "close", drawn.append)
    figure._repr_png_()
    monkeypatch.undo()
    (still,) = drawn
    axes = [ax for ax in still.axes if ax.lines]
    assert [ax.get_title() for ax in axes] == [line.code for line in figure.lines]
    for ax, values in zip(axes, figure.values, strict=True):
        assert ax.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
        assert ax.lines[0].get_ydata().tolist() == values
    assert still._supxlabel.get_text() == "step t"
    assert still.get_size_inches()[1] == 1.5 * math.ceil(len(figure.lines) / 3)
    assert not any(ax.axison for ax in still.axes if not ax.lines)
    plt.close(still)
