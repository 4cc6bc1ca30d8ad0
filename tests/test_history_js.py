"""The histories' buttons and slider: the script runs in V8, on a stand-in for the page it was written for."""

import json
import re
from html.parser import HTMLParser

import pytest
import torch

import lessons
from lessons.history import History
from lessons.trace import Trace

mini_racer = pytest.importorskip("py_mini_racer", reason="the test extra has mini-racer")

# As much of a document as history.js asks for. Elements are made from what the page's HTML holds.
DOM = """
const element = (children = []) => ({ children, style: {}, hidden: false, disabled: false,
  textContent: "", innerHTML: "", get firstElementChild() { return this.children[0]; } });
const classes = new Set(["history"]), buttons = [element(), element(), element()];
const page = { slider: element(), label: element(), data: element() };
page.data.textContent = DATA;
page.slider.value = "1";
page.rows = Array.from({ length: ROWS }, () => element([element(), element(), element(),
  element([element([element(), element()])])]));
const figure = {
  classList: { add: (name) => classes.add(name) },
  querySelector: (what) => ({ input: page.slider, output: page.label,
    "script[type='application/json']": page.data })[what],
  querySelectorAll: (what) => ({ button: buttons, ".frames tbody tr": page.rows })[what],
};
const document = { querySelectorAll: (what) =>
  what === "figure.history:not(.ready)" && !classes.has("ready") ? [figure] : [] };
let timers = new Map(), count = 0;
const setInterval = (call, wait) => { timers.set(++count, { call, wait }); return count; };
const clearInterval = (which) => timers.delete(which);
const tick = () => [...timers.values()].forEach((timer) => timer.call());
const state = () => JSON.stringify({
  step: +page.slider.value, label: page.label.textContent, play: buttons[1].textContent,
  back: buttons[0].disabled, on: buttons[2].disabled, timers: timers.size,
  ready: classes.has("ready"),
  rows: page.rows.map(({ children: [, formula, number, cell] }) => {
    const [bar, last] = cell.children[0].children;
    return [formula.innerHTML, number.textContent, bar.style.left, bar.style.width, bar.hidden,
      last.style.left, last.hidden];
  }),
});
"""


class Scripts(HTMLParser):
    """The page's scripts by their type, and the tags that the script looks for."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.tags, self.inside = {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = dict(attributes).get("type", "code") if tag == "script" else None

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data

    def handle_endtag(self, tag):
        self.inside = None


def history(grads):
    w = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = lessons.SGD([w], lr=1.0)
    with Trace(optimizer) as trace:
        for grad in grads:
            w.grad = torch.tensor(grad, dtype=torch.float64)
            optimizer.step()
    return History(trace, "")


@pytest.fixture
def page():
    """Return a function that opens a history's page and returns what acts there and tells its state."""
    engines = []  # nothing else holds them: one that a traceback keeps alive would hang at the end

    def opened(figure):
        page = Scripts(figure._repr_html_())
        engines.append(mini_racer.MiniRacer())
        text = page.texts["application/json"]
        engines[0].eval(f"const DATA = {json.dumps(text)}, ROWS = {len(figure.lines)};{DOM}")
        engines[0].eval(page.texts["code"])

        def act(code=""):
            engines[0].eval(code)
            return json.loads(engines[0].eval("state()"))

        return act

    yield opened
    while engines:
        engines.pop().close()


BACK, PLAY, ON = (f"buttons[{i}].onclick();" for i in range(3))


def shown(figure, step):
    """Return the formulas and values that a step has to show."""
    data = json.loads(Scripts(figure._repr_html_()).texts["application/json"])
    return [
        [formulas[step - 1], texts[step - 1]]
        for formulas, texts in zip(data["formulas"], data["texts"], strict=True)
    ]


def check(figure, state, step, steps=3):
    assert state["step"] == step and state["label"] == f"step {step} of {steps}"
    assert (state["back"], state["on"]) == (step == 1, step == steps)
    assert [row[:2] for row in state["rows"]] == shown(figure, step)


def test_it_starts_at_the_first_step(page):
    figure = history([1.0, 0.5, -1.0])
    state = page(figure)()
    check(figure, state, 1)
    assert state["ready"] and state["timers"] == 0
    assert all(row[-1] for row in state["rows"])  # no step before


def test_a_step_on_a_step_back_and_the_slider(page):
    figure = history([1.0, 0.5, -1.0])
    act = page(figure)
    check(figure, act(ON), 2)
    check(figure, act(ON), 3)
    check(figure, act(BACK), 2)
    check(figure, act(BACK), 1)
    check(figure, act("page.slider.value = '3'; page.slider.oninput();"), 3)
    assert not any(row[-1] for row in act()["rows"])


def test_play_goes_to_the_end_and_begins_again(page):
    figure = history([1.0, 0.5, -1.0])
    act = page(figure)
    state = act(PLAY)
    assert (state["play"], state["timers"], state["step"]) == ("Pause", 1, 1)
    check(figure, act("tick();"), 2)
    state = act("tick();")
    check(figure, state, 3)
    assert (state["play"], state["timers"]) == ("Play", 0)
    state = act(PLAY)  # from the end: again from the start
    check(figure, state, 1)
    assert state["timers"] == 1
    state = act(PLAY)  # now it says Pause
    assert (state["play"], state["timers"], state["step"]) == ("Play", 0, 1)


@pytest.mark.parametrize("touch", [BACK, ON, "page.slider.oninput();"])
def test_whoever_takes_over_stops_the_play(page, touch):
    act = page(history([1.0, 0.5, -1.0, 2.0]))
    act(PLAY + "tick();")
    state = act(touch)
    assert (state["play"], state["timers"]) == ("Play", 0)
    assert state["step"] == {BACK: 1, ON: 3}.get(touch, 2)
    assert act("tick();")["step"] == state["step"]


def test_play_takes_a_time_to_read(page):
    act = page(history([1.0, 0.5]))
    act(PLAY + "page.label.textContent = [...timers.values()][0].wait;")
    assert 1000 <= int(act()["label"]) <= 3000


def test_bars_run_from_zero_to_the_value_and_the_mark_is_at_the_one_before(page):
    figure = history([1.0, -3.0, 0.5])
    act = page(figure)
    row = [line.key for line in figure.lines].index("grad")

    def bar(state):
        left, width, hidden, last = state["rows"][row][2:6]
        return (*(round(float(x.rstrip("%")), 6) for x in (left, width, last)), hidden)

    assert bar(act()) == (75, 25, 100, False)
    assert bar(act(ON)) == (0, 75, 100, False)  # from −3 to 0; before it was 1
    assert bar(act(ON)) == (75, 12.5, 0, False)


def test_what_is_infinite_or_no_number_has_a_text_and_no_bar(page):
    figure = history([1.0, float("inf"), float("nan"), 1.0])
    act = page(figure)
    row = [line.key for line in figure.lines].index("grad")
    texts, bars, marks = [], [], []
    for _ in range(4):
        state = act()["rows"][row]
        texts.append(state[1])
        bars.append(not state[4])
        marks.append(not state[6])
        assert "NaN" not in "".join(map(str, state[2:4]))
        act(ON)
    assert texts == ["1", "inf", "nan", "1"]
    assert bars == [True, False, False, True] and marks == [False, True, False, False]


def test_numbers_near_the_largest_do_not_overflow(page):
    figure = history([1.7e308, -1.7e308])
    row = [line.key for line in figure.lines].index("grad")
    _, _, left, width, *_ = page(figure)()["rows"][row]
    assert (left, width) == ("50%", "50%")


def test_a_row_of_zeros_has_the_narrowest_bar(page):
    figure = history([0.0, 0.0])
    row = [line.key for line in figure.lines].index("grad")
    _, _, left, width, *_ = page(figure)()["rows"][row]
    assert (left, width) == ("0%", "1%")


def test_the_page_holds_what_the_script_looks_for():
    figure = history([1.0, 0.5, -1.0])
    page = Scripts(figure._repr_html_())
    names = [tag for tag, _ in page.tags]
    assert names.count("button") == 3 and names.count("output") == 1
    (slider,) = (attributes for tag, attributes in page.tags if tag == "input")
    assert (slider["type"], slider["min"], slider["max"]) == ("range", "1", "3")
    labels = [a.get("aria-label") for tag, a in page.tags if tag == "button"]
    assert labels == ["one step back", None, "one step on"]
    assert re.search(r"<figure class=\"history\">", figure._repr_html_())
