import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import matplotlib
import pytest

from lessons.display import begin, side_by_side, source, starting_values, table
from lessons.optim.adam import adam


def test_source_is_the_functions_code_without_its_docstring():
    shown = str(source(adam))
    assert shown.startswith("```python\ndef adam(")
    assert shown.endswith("\n```")
    assert "param.mul_(1 - lr * weight_decay)" in shown
    assert '"""' not in shown and "Kingma" not in shown


def test_nothing_but_the_docstring_is_left_out():
    def half(
        x,
    ):
        """Return the half.

        Of a number.
        """
        return x / 2

    assert source(half) == "```python\ndef half(\n    x,\n):\n    return x / 2\n```"


def test_source_of_a_function_without_docstring_is_whole():
    def double(x):
        return 2 * x

    assert source(double) == "```python\ndef double(x):\n    return 2 * x\n```"


def test_a_table_is_markdown_in_a_notebook_and_text_elsewhere():
    shown = table([["a", 1], ["b", 2.5]], ["name", "value"])
    assert (
        shown._repr_markdown_() == "| name | value |\n|:---|---:|\n| a | 1 |\n| b | 2.5 |"
    )
    assert repr(shown) == shown


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"row \['b'\] has 1 cells, but the header has 2"):
        table([["a", 1], ["b"]], ["name", "value"])


def test_columns_of_numbers_stand_to_the_right():
    shown = table(
        [["-1.5", "× 64", "yes", "+0.1 ± 2"], ["2", "× 1", "3 no", ".5"]],
        ["a", "b", "c", "d"],
    )
    assert shown.splitlines()[1] == "|---:|---:|:---|---:|"


def test_the_source_keeps_what_is_no_docstring():
    def shout(text):
        """Say it loud."""
        # A comment stays, and so does a text that is none of the documentation.
        return """!""" + text

    shown = source(shout).splitlines()
    assert shown[0] == "```python" and shown[-1] == "```"
    assert shown[1:-1] == [
        "def shout(text):",
        "    # A comment stays, and so does a text that is none of the documentation.",
        '    return """!""" + text',
    ]


def test_a_table_without_rows_is_its_header():
    assert table([], ["a", "b"]).splitlines()[0] == "| a | b |"


THREADS = """
import torch
torch.set_num_threads(3)
import lessons, lessons.display, lessons.sweep, lessons.training
print(torch.get_num_threads())
lessons.display.begin()
print(torch.get_num_threads())
"""


@pytest.mark.parametrize("variable, threads", [(None, "3 1"), ("2", "3 3")])
def test_a_chapter_begins_with_one_thread_and_an_import_changes_none(variable, threads):
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if variable:
        env["OMP_NUM_THREADS"] = variable
    run = [sys.executable, "-c", THREADS]
    found = subprocess.run(run, env=env, capture_output=True, text=True, check=True)
    assert found.stdout.split() == threads.split()


def test_a_chapter_begins_with_the_books_style():
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        begin()
        assert matplotlib.rcParams["figure.dpi"] == 144


def test_rules_stand_side_by_side_with_what_differs_marked():
    def one(w, g):
        """Not shown."""
        w = w - g  # here
        return w < g

    def two(w, g):
        return w

    shown = side_by_side({"One & only": one, "Two": two}, mark="# here")
    assert shown._repr_html_() == shown
    assert re.findall(r"<figcaption>(.*?)</figcaption>", shown) == ["One &amp; only", "Two"]
    assert re.findall(r"<mark>(.*?)</mark>", shown) == ["    w = w - g  # here"]
    assert "Not shown" not in shown and "return w &lt; g" in shown
    lines = [
        "One & only",
        "def one(w, g):",
        "    w = w - g  # here",
        "    return w < g",
        "Two",
        "def two(w, g):",
        "    return w",
    ]
    assert repr(shown) == "\n".join(lines)
    # On a phone, one below the other.
    css = re.search('class="side-by-side" style="(.*?)"', shown)[1].split("; ")
    assert css == ["display: flex", "flex-wrap: wrap", "gap: 1em"]


def test_the_cheat_sheet_shows_the_starting_values():
    """One source: its ranges are the measured ones, and its head names the customary ones."""
    sheet = (Path(__file__).parents[1] / "cheat_sheet.md").read_text(encoding="utf-8")
    values = tomllib.loads((files("lessons") / "data" / "starting_values.toml").read_text(encoding="utf-8"))
    for name, settings in values.items():
        lr, weight_decay = settings["measured"]["lr"], settings["measured"]["weight_decay"]
        assert f"| {name} | {lr} | {weight_decay} |" in sheet
    lr, weight_decay = values["AdamW"]["customary"].values()
    assert f"lr {lr} and λ\n{weight_decay} is customary" in sheet


@pytest.mark.parametrize("page", ["README.md", "intro.md"])
def test_readme_and_front_page_show_adamws_starting_values(page):
    text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
    assert str(starting_values("AdamW")) in text


def test_starting_values_of_some_optimizers_or_of_all():
    header, _, *rows = starting_values("AdamW").splitlines()
    kinds = ["small model, hundreds of steps (measured)", "large network, thousands of steps (customary)"]
    assert header == f"|  | {kinds[0]} | {kinds[1]} |"
    assert rows == [
        "| `lr` | 0.001–0.1 | 0.0001–0.001 |",
        "| `weight_decay` | 0.1–3 | 0.01–0.1 |",
    ]
    assert starting_values("SGD").splitlines()[0] == f"|  | {kinds[0]} |"
    assert "| Adam: `lr` |" in starting_values("Adam", "AdamW")
    every = starting_values().splitlines()
    assert len(every) == 2 + 12 and "| SGD: `lr` | 0.03–1.5 | – |" in every
    with pytest.raises(ValueError, match="optimizers must be among SGD"):
        starting_values("Lion")
