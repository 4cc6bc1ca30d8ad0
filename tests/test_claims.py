"""Claims are found where they stand, and lead to the cell that decides them."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lessons.claims import Claim, claims, deciding_cell, quiz, verdicts

ONE = "(claim-a2)=\n**A2. “Up is down.”** — *False* here. See {ref}`the fall <sec-fall>` and {ref}`x <sec-x>`."
TWO = "(claim-b1)=\n**B1. “Why?”** — *No*, as {numref}`fig-why` shows {cite:p}`newton`."
DECIDED = "(claim-b2)=\n**B2. “How?”** — *So.* Settled by {ref}`a table <decides-b2>`."
THREE = (
    "(claim-a10)=\n**A10. “The sky is |blue|.”** — *True.* Look below.\n\n(decides-a10)="
)


@pytest.fixture
def folder(tmp_path):
    def write(name, *texts):
        cells = [new_markdown_cell(text) for text in texts]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{name}.ipynb")

    write("02_second", THREE)
    write("01_first", "# Title", TWO, ONE, DECIDED)
    return tmp_path


def test_jupyters_copies_are_no_chapters(folder):
    before = claims(folder)
    copies = folder / ".ipynb_checkpoints"
    copies.mkdir()
    (copies / "01_first-checkpoint.ipynb").write_bytes((folder / "01_first.ipynb").read_bytes())
    assert claims(folder) == before


def test_claims_are_found_and_sorted(folder):
    found = claims(folder)
    assert [(claim.id, claim.chapter) for claim in found] == [
        ("A2", "01_first"),
        ("A10", "02_second"),
        ("B1", "01_first"),
        ("B2", "01_first"),
    ]
    assert found[0] == Claim(
        "A2",
        "Up is down.",
        "False",
        "here. See {ref}`the fall <sec-fall>` and {ref}`x <sec-x>`.",
        "sec-fall",
        "01_first",
    )
    assert [claim.place for claim in found] == [
        "sec-fall",
        "decides-a10",
        "fig-why",
        "decides-b2",
    ]


@pytest.mark.parametrize(
    "text, match",
    [
        ("(claim-a1)=\nA1: up is down: false", "another form"),
        ("(claim-a1)=\n**A2. “Up is down.”** — *False.* So.", "A2 has the label 'a1'"),
    ],
)
def test_a_claim_of_another_form_is_refused(folder, text, match):
    nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), folder / "03_third.ipynb")
    with pytest.raises(ValueError, match=f"03_third.ipynb: .*{match}"):
        claims(folder)


def test_the_list_of_verdicts_links_to_each_place(folder):
    assert verdicts(claims(folder)).splitlines() == [
        "- “Up is down.” **False** here. See [the fall](#sec-fall) and [x](#sec-x).",
        "- “The sky is |blue|.” **True.** Look below. Settled [below it](#claim-a10).",
        "- “Why?” **No**, as [the figure](#fig-why) shows.",
        "- “How?” **So.** Settled by [a table](#decides-b2).",
    ]


def test_the_quiz_asks_the_false_ones_first_and_folds_what_is_so(folder):
    asked = [claim for claim in claims(folder) if claim.id.startswith("A")]
    false, true = quiz(asked[::-1]).split("\n\n::::{admonition} ")
    assert false.splitlines() == [
        "::::{admonition} “Up is down.”",
        ":class: guess quiz answer-3",
        "1. True",
        "2. Half-true",
        "3. False",
        "",
        ":::{dropdown} What is so",
        "**False** here. See [the fall](#sec-fall) and [x](#sec-x).",
        ":::",
        "::::",
    ]
    assert true.startswith("“The sky is |blue|.”\n:class: guess quiz answer-1\n")


def test_the_quiz_takes_no_other_verdict(folder):
    with pytest.raises(ValueError, match="claim B1 must be true, half-true or false: 'No'"):
        quiz(claims(folder))


def test_the_deciding_cell_is_the_first_below_the_label_and_in_its_section():
    figure = new_code_cell("f", metadata={"mystnb": {"figure": {"name": "fig-f"}}})
    a, b = new_code_cell("a"), new_code_cell("b")
    notebook = new_notebook(
        cells=[
            new_markdown_cell(
                "(sec-late)=\n### A question\n\nProse\n\n## The next section"
            ),
            a,
            new_markdown_cell("(sec-b)="),
            new_markdown_cell("more prose"),
            b,
            figure,
            new_markdown_cell("(sec-end)="),
        ]
    )
    assert deciding_cell(notebook, "sec-b") is b
    assert deciding_cell(notebook, "fig-f") is figure
    for place in ("sec-late", "sec-end", "nowhere"):
        assert deciding_cell(notebook, place) is None


def test_what_looks_like_a_claim_in_code_is_none(folder):
    notebook = new_notebook(cells=[new_code_cell(ONE), new_markdown_cell(TWO), new_code_cell("(claim-")])
    nbformat.write(notebook, folder / "01_first.ipynb")
    assert [claim.id for claim in claims(folder)] == ["A10", "B1"]


def test_a_reference_may_have_spaces_about_its_label(folder):
    text = "(claim-c1)=\n**C1. “Up.”** — *False.* By {ref}`the fall < sec-fall >`."
    nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), folder / "01_first.ipynb")
    assert claims(folder)[1].place == "sec-fall"
    assert "[the fall](#sec-fall)" in verdicts(claims(folder))


@pytest.mark.parametrize("sign", [",", ";", ":"])
def test_a_reason_may_go_on_in_the_verdicts_sentence(sign):
    claim = Claim("A1", "Up is down.", "No", f"{sign} see {{ref}}`x <sec-x>`.", "sec-x", "01")
    assert verdicts([claim]).endswith(f"**No**{sign} see [x](#sec-x).")


def test_a_cell_above_the_label_or_past_the_next_heading_decides_nothing():
    above, past = new_code_cell("above"), new_code_cell("past")
    heading = new_markdown_cell("\n## The next section")
    notebook = new_notebook(cells=[above, new_markdown_cell("(sec-a)="), heading, past])
    assert deciding_cell(notebook, "sec-a") is None


def test_a_heading_below_the_second_level_does_not_end_a_section():
    cell = new_code_cell("a")
    heading = new_markdown_cell("### A part\n\nnot a heading: ## this")
    notebook = new_notebook(cells=[new_markdown_cell("(sec-a)="), heading, cell])
    assert deciding_cell(notebook, "sec-a") is cell
