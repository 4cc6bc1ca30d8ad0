"""Numbers in prose are tied to cells: a digit that changes on either side is noticed."""

import runpy
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[2]
TIES = runpy.run_path(str(ROOT / "tools" / "ties.py"))


def notebook(text, code="x = 1", printed="", **metadata):
    cell = new_code_cell(code, outputs=[new_output("stream", text=printed)], metadata=metadata)
    return new_notebook(cells=[new_markdown_cell(text), cell])


def tied(*args, **metadata):
    made = notebook(*args, **metadata)
    TIES["tie"](made)
    return made


@pytest.mark.parametrize(
    ("text", "code", "printed"),
    [
        ("It is 0.13.", "x = 1", "0.1342"),
        ("It is 13 %.", "x = 1", "0.1342"),
        ("It loses 4.5 points.", "x = 0.045", ""),
        ("After 1,200 steps.", "steps = 1_200", ""),
        ("Take lr = 1e-3.", "lr = 0.001", ""),
        ("So 0.1 · 0.5 = 0.05 is lost.", "x = 1", ""),
    ],
)
def test_a_number_is_tied_to_what_a_cell_has_and_any_other_is_not(text, code, printed):
    made = tied(text, code, printed)
    assert TIES["loose"](made) == []
    made.cells[0].source = text.replace("5", "6").replace("3", "4").replace("2", "7")
    assert TIES["loose"](made) != []


def test_an_output_that_changes_is_noticed():
    made = tied("It is 0.13.", "x = 1", "0.13")
    made.cells[1].outputs[0].text = "0.14"
    assert "0.13 is not in" in TIES["loose"](made)[0]


def test_a_percentage_is_not_a_plain_number():
    assert TIES["tie"](notebook("It is 13.5 km.", "x = 0.135")) == ["13.5 is in no cell"]


def test_captions_and_alt_texts_are_prose():
    rendering = {"figure": {"caption": "After 0.7"}, "image": {"alt": "A line at 0.9"}}
    made = tied("", "x = 0.7, 0.9", mystnb=rendering)
    assert [t.split()[0] for t in made.cells[1].metadata.ties] == ["0.7", "0.9"]
    rendering["image"]["alt"] = "A line at 0.8"
    made.cells[1].metadata["mystnb"] = rendering
    assert TIES["loose"](made)


def test_small_whole_numbers_years_code_formulas_and_links_are_words():
    text = "(sec-07-x)=\nIn 2017, 12 of 12; `lr=0.3`, $x = 0.4$, https://a.b/0.5\n\n```{figure} 0.6\n```"
    assert TIES["written"](TIES["prose"](new_markdown_cell(text))) == []


def test_of_two_cells_the_nearer_one_is_taken_and_a_true_tie_is_kept():
    cells = [new_code_cell("a = 0.5"), new_code_cell(""), new_markdown_cell("0.5"), new_code_cell("b = 0.5")]
    made = new_notebook(cells=cells)
    TIES["tie"](made)
    assert made.cells[2].metadata.ties == [f"0.5 {made.cells[3].id}"]
    made.cells[2].metadata["ties"] = [f"0.5 {made.cells[0].id}"]
    assert TIES["tie"](made) == []
    assert made.cells[2].metadata.ties == [f"0.5 {made.cells[0].id}"]


def test_a_number_that_is_there_twice_keeps_both_ties():
    cells = [new_code_cell("a = 0.5"), new_markdown_cell("0.5 and 0.5"), new_code_cell("b = 0.5")]
    made = new_notebook(cells=cells)
    ties = [f"0.5 {cells[2].id}", f"0.5 {cells[0].id}"]
    cells[1].metadata["ties"] = list(ties)
    assert TIES["tie"](made) == [] and made.cells[1].metadata.ties == ties


def test_the_tool_writes_the_ties_and_says_what_is_new(tmp_path, capsys):
    path = tmp_path / "page.ipynb"
    nbformat.write(notebook("0.5 and 0.7", "x = 0.5"), path)
    TIES["main"]([str(path)])
    told = capsys.readouterr().out
    assert "0.5 ← " in told and "0.7 is in no cell" in told
    assert nbformat.read(path, 4).cells[0].metadata.ties[0].startswith("0.5 ")


def test_a_sum_is_python_with_its_signs_and_brackets():
    text = "(2 − 1) · 0.5 = 0.5, 0.5 − 2 = −1.5, 9 / 3 = 3; (2 + 1 = 3 is none"
    found = [("(2 - 1) * 0.5", "0.5"), ("0.5 - 2", "-1.5"), ("9 / 3", "3")]
    assert list(TIES["sums"](text)) == found


def test_which_whole_numbers_are_words():
    assert TIES["written"]("12, 13, 1899, 1900, 2100, 2101") == ["13", "1899", "2101"]


def test_what_is_no_prose_leaves_a_gap():
    text = "`lr`0.5\n\n$$\nx = 0.4\n$$\n\n(sec-0.7)=\nand 0.6"
    assert TIES["written"](TIES["prose"](new_markdown_cell(text))) == ["0.5", "0.6"]
    cell = new_code_cell("", metadata={"mystnb": {"figure": {"caption": "`lr`0.5"}}})
    assert TIES["written"](TIES["prose"](cell)) == ["0.5"]
    assert TIES["prose"](cell).split() == ["0.5"]
    cell = new_code_cell("", metadata={"mystnb": {"image": {"alt": "A line"}}})
    assert TIES["prose"](cell).split() == ["A", "line"]


def test_numbers_of_a_cell_are_those_of_its_code_and_of_all_that_it_shows():
    data = {"text/plain": "0.25", "text/markdown": "| 1e−5 |"}
    outputs = [new_output("stream", text="2,410"), new_output("display_data", data=data)]
    cell = new_code_cell("x = 1_000, .5", outputs=outputs)
    assert TIES["numbers"](cell) == {1000, 0.5, 2410, 0.25, 1e-5}


@pytest.mark.parametrize(("between", "source"), [(0, "cell"), (1, "sum")])
def test_a_sum_gives_way_to_a_cell_beside_it_alone(between, source):
    cells = [new_markdown_cell("0.1 · 0.5 = 0.05"), *[new_code_cell("") for _ in range(between)]]
    made = new_notebook(cells=[*cells, new_code_cell("x = 0.05")])
    TIES["tie"](made)
    told = made.cells[0].metadata.ties[-1].split()[1]
    assert told == (made.cells[-1].id if source == "cell" else "sum")


def test_ties_follow_their_numbers_and_go_with_them():
    made = tied("0.5, then 0.7", "x = 0.5, 0.7")
    made.cells[0].source = "0.7, then 0.5"
    assert TIES["tie"](made) == []
    assert [entry.split()[0] for entry in made.cells[0].metadata.ties] == ["0.7", "0.5"]
    made.cells[0].source = "none"
    TIES["tie"](made)
    assert "ties" not in made.cells[0].metadata


def test_each_tie_is_told_in_a_line_of_its_own(tmp_path, capsys):
    path = tmp_path / "page.ipynb"
    nbformat.write(notebook("0.5 and 0.5", "x = 0.5"), path)
    TIES["main"]([str(path)])
    assert [line.split(" ← ")[0] for line in capsys.readouterr().out.splitlines()] == 2 * [f"{path}: 0.5"]


def test_a_tie_is_to_one_cell():
    cells = [new_markdown_cell("0.5"), new_code_cell("x = 0.5"), new_code_cell("x = 0.7")]
    made = new_notebook(cells=cells)
    made.cells[0].metadata["ties"] = [f"0.5 {cells[2].id}"]
    assert TIES["loose"](made) == [f"0.5 is not in {cells[2].id}"]


def test_ties_to_two_cells_follow_their_numbers():
    cells = [new_code_cell("x = 0.5"), new_markdown_cell("0.5, 0.7"), new_code_cell("x = 0.7")]
    made = new_notebook(cells=cells)
    TIES["tie"](made)
    made.cells[1].source = "0.7, 0.5"
    assert TIES["tie"](made) == []
    assert made.cells[1].metadata.ties == [f"0.7 {cells[2].id}", f"0.5 {cells[0].id}"]
