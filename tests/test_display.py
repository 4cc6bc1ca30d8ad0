import os
import subprocess
import sys

import matplotlib
import pytest

from lessons.display import begin, source, table
from lessons.optim.adam import adam


def test_source_is_the_functions_code_without_its_docstring():
    shown = str(source(adam))
    assert shown.startswith("```python\ndef adam(")
    assert shown.endswith("\n```")
    assert "param.mul_(1 - lr * weight_decay)" in shown
    assert '"""' not in shown and "Kingma" not in shown


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
