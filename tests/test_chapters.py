"""What every chapter keeps to, whatever it says. That its outputs are true is nbval's part."""

import re
from pathlib import Path

import nbformat
import pytest

CHAPTERS = sorted((Path(__file__).parents[1] / "chapters").glob("*.ipynb"))
ARC = [
    "Short answer",
    "The picture",
    "The rule",
    "One step by hand",
    "The same as torch",
    "Experiments",
    "Claims settled here",
    "In your own code",
    "Exercises",
    "Further reading",
]


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return nbformat.read(request.param, as_version=4)


def markdown(chapter):
    return "\n\n".join(
        cell.source for cell in chapter.cells if cell.cell_type == "markdown"
    )


def code_cells(chapter):
    return [cell for cell in chapter.cells if cell.cell_type == "code"]


def test_there_are_chapters():
    assert CHAPTERS


def test_the_arc_is_complete_and_in_order(chapter):
    headings = re.findall(r"^## (.+)$", markdown(chapter), re.M)
    assert [heading for heading in headings if heading in ARC] == ARC


def test_all_cells_were_run_in_order(chapter):
    assert [cell.execution_count for cell in code_cells(chapter)] == list(
        range(1, len(code_cells(chapter)) + 1)
    )


def test_no_output_is_an_error_a_warning_or_a_path(chapter):
    for cell in code_cells(chapter):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            assert not re.search(
                r"/(home|root|Users|work|tmp)/| at 0x[0-9a-f]+|site-packages", text
            ), text


def test_every_figure_has_a_name_a_caption_and_alt_text(chapter):
    for cell in code_cells(chapter):
        # A variable history is HTML with a caption of its own, and a picture only where HTML has no place.
        kinds = [output.get("data", {}) for output in cell.outputs]
        if any("image/png" in kind and "text/html" not in kind for kind in kinds):
            rendering = cell.metadata["mystnb"]
            assert rendering["figure"]["name"].startswith("fig-")
            assert len(rendering["figure"]["caption"]) > 40
            assert len(rendering["image"]["alt"]) > 40


def test_a_figures_cell_prints_nothing(chapter):
    """Else the caption would go to the text."""
    for cell in code_cells(chapter):
        if "mystnb" in cell.metadata:
            assert [set(output.data) - {"text/plain"} for output in cell.outputs] == [
                {"image/png"}
            ]


def test_every_claim_has_a_verdict_and_a_place_that_settles_it(chapter):
    claims = re.findall(r"^\(claim-([ab]\d+)\)=\n(.*)$", markdown(chapter), re.M)
    assert claims
    for name, text in claims:
        assert re.match(rf"\*\*{name.upper()}\. “.+”\*\* — \*", text), text
        assert re.search(
            r"\{(ref|numref)\}`[^`]*[a-z0-9-]+>?`|\(decides-", text
        ) or f"(decides-{name})=" in markdown(chapter), text


def test_no_claim_has_two_homes():
    names = [
        name
        for path in CHAPTERS
        for name in re.findall(
            r"^\(claim-([ab]\d+)\)=$", markdown(nbformat.read(path, as_version=4)), re.M
        )
    ]
    assert sorted(names) == sorted(set(names))


def test_every_exercise_has_a_hint_and_a_solution(chapter):
    text = markdown(chapter)
    exercises = re.findall(r"\{exercise\}.*?\n:label: (\S+)(.*?)```", text, re.S)
    assert exercises
    for label, body in exercises:
        assert "*Hint" in body, label
        assert re.search(rf"\{{solution(-start)?\}} {label}\b", text), label
