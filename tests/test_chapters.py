"""What every chapter keeps to, whatever it says. That its outputs are true is nbval's part."""

import ast
import re
import runpy
import tomllib
from pathlib import Path

import nbformat
import pytest

from lessons.claims import claims, deciding_cell

ROOT = Path(__file__).parents[1]
READING = runpy.run_path(str(ROOT / "tools" / "reading.py"))
TIES = runpy.run_path(str(ROOT / "tools" / "ties.py"))
FOLDER = ROOT / "chapters"
CHAPTERS = sorted([*FOLDER.glob("*.ipynb"), *FOLDER.glob("evidence/*.ipynb")])
COLLECTION = "13_myths_tested"  # it has no experiments of its own
# All others are lessons; their experiments stand on a page of evidence each.
LESSONS = [path for path in CHAPTERS if path.parent == FOLDER and path.stem != COLLECTION]
ARC = ["In your own code", "Summary", "Exercises", "Where to go from here"]


def name_of(path):
    return path.relative_to(FOLDER).with_suffix("").as_posix()


@pytest.fixture(params=CHAPTERS, ids=name_of)
def chapter(request):
    chapter = nbformat.read(request.param, as_version=4)
    chapter.path = request.param
    return chapter


def markdown(chapter):
    return "\n\n".join(
        cell.source for cell in chapter.cells if cell.cell_type == "markdown"
    )


def code_cells(chapter):
    return [cell for cell in chapter.cells if cell.cell_type == "code"]


def test_there_are_chapters():
    assert CHAPTERS


@pytest.mark.parametrize("path", LESSONS, ids=name_of)
def test_the_arc_is_complete_and_in_order(path):
    headings = re.findall(r"^## (.+)$", markdown(nbformat.read(path, as_version=4)), re.M)
    assert [heading for heading in headings if heading in ARC] == ARC


def is_evidence(chapter):
    return chapter.path.parent.name == "evidence"


@pytest.mark.parametrize("path", LESSONS, ids=name_of)
def test_a_lesson_is_short(path):
    """In words, visible code, tables, sentences; with pictures, one of them at once: see tools/reading.py."""
    assert READING["read"](path).beyond() == []


def test_an_evidence_page_belongs_to_a_lesson_and_leads_to_it(chapter):
    if is_evidence(chapter):
        lesson = nbformat.read(FOLDER / chapter.path.name, as_version=4)
        label = re.match(r"\((ch-[\w-]+)\)=", lesson.cells[0].source)[1]
        own = re.match(r"\((ch-[\w-]+)\)=", chapter.cells[0].source)[1]
        assert f"<{label}>" in chapter.cells[0].source
        assert f"<{own}>" in markdown(lesson)


def test_all_cells_were_run_in_order(chapter):
    assert [cell.execution_count for cell in code_cells(chapter)] == list(
        range(1, len(code_cells(chapter)) + 1)
    )


def test_the_first_cell_begins_the_chapter_before_anything_is_computed(chapter):
    """``begin`` sets the number of threads: after imports alone."""
    statements = ast.parse(code_cells(chapter)[0].source).body
    own = [s for s in statements if not isinstance(s, ast.Import | ast.ImportFrom)]
    assert ast.unparse(own[0]) == "begin()"
    imported = [s for s in statements if ast.unparse(s).startswith("from lessons.display")]
    assert "begin" in [alias.name for alias in imported[0].names]


def test_solutions_are_closed_in_jupyterlab_as_on_the_page(chapter):
    """Neither their code nor their outputs stand open under the exercise."""
    inside, solutions = False, 0
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            inside = "{solution-end}" not in cell.source and (
                inside or "{solution-start}" in cell.source
            )
        elif inside or "hide-cell" in cell.metadata.get("tags", []):
            solutions += 1
            hidden = {"source_hidden": True, "outputs_hidden": True}
            assert cell.metadata.get("jupyter") == hidden, cell.source
        else:
            assert "jupyter" not in cell.metadata, cell.source
    assert bool(solutions) == ("{solution" in markdown(chapter))


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
        if any("image/png" in kind for kind in kinds):
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 40
        if any("image/png" in kind and "text/html" not in kind for kind in kinds):
            rendering = cell.metadata["mystnb"]
            assert rendering["figure"]["name"].startswith("fig-")
            assert len(rendering["figure"]["caption"]) > 40


def test_a_figures_cell_prints_nothing(chapter):
    """Else the caption would go to the text."""
    for cell in code_cells(chapter):
        if rendering := cell.metadata.get("mystnb"):
            kinds = {"image/png"} if "figure" in rendering else {"image/png", "text/html"}
            assert [set(output.data) - {"text/plain"} for output in cell.outputs] == [kinds]


def test_every_exercise_has_a_hint_and_a_solution(chapter, request):
    text = markdown(chapter)
    exercises = re.findall(r"\{exercise\}.*?\n:label: (\S+)(.*?)```", text, re.S)
    assert exercises or COLLECTION in request.node.name or is_evidence(chapter)
    for label, body in exercises:
        if chapter.path in LESSONS:  # folded, below the exercise
            hint = rf":label: {label}\n.*?```\n\n```\{{admonition\}} Hint\n:class: dropdown"
            assert re.search(hint, text, re.S), label
        else:
            assert "*Hint" in body, label
        assert re.search(rf"\{{solution(-start)?\}} {label}\b", text), label


@pytest.mark.parametrize("path", LESSONS, ids=name_of)
def test_a_guess_has_choices_and_what_is_so_is_folded_in_its_section(path):
    """By tools/guesses.py on the page, by a collapsed heading in JupyterLab."""
    lesson = nbformat.read(path, as_version=4)
    sections = re.split(r"^## ", markdown(lesson), flags=re.M)
    guesses = 0
    for section in sections:
        asked = re.findall(r"\{admonition\} Guess first.*\n:class: guess answer-(\d)\n(.*?)```", section, re.S)
        assert len(asked) <= 1, section
        assert section.count("\n### What is so\n") == len(asked), section
        for right, choices in asked:
            guesses += 1
            count = len(re.findall(r"^\d\. \S", choices, re.M))
            assert 1 <= int(right) <= count and 2 <= count <= 4, section
            assert section.index("Guess first") < section.index("### What is so"), section
    assert 1 <= guesses <= 4
    for cell in lesson.cells:
        if "### What is so" in cell.source:
            assert cell.source.startswith("### What is so")
            assert cell.metadata.get("jp-MarkdownHeadingCollapsed") is True


# --- what is compared ------------------------------------------------------------------------------

TAGS = {"hide-input", "hide-cell", "bitwise", "nbval-ignore-output"}
MEASURED = "# Measured now, on the machine that runs this cell: not compared by the tests."
TIMES = {"evidence/12_what_a_step_costs": 2}  # cells that measure times; nothing else may vary
# What pages assert, and do not print.
ASSERTED = tomllib.loads((ROOT / "tests/assertions.toml").read_text(encoding="utf-8"))


def test_all_outputs_are_compared_but_for_measured_times(chapter, request):
    varying = 0
    for cell in chapter.cells:
        tags = set(cell.metadata.get("tags", []))
        assert tags <= TAGS, cell.source
        assert not re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source), cell.source
        if "nbval-ignore-output" in tags:
            varying += 1
            assert cell.source.startswith(MEASURED) and "fastest(" in cell.source
    assert varying == TIMES.get(request.node.callspec.id, 0)


def test_no_chapter_reads_a_file_beside_it(chapter):
    """So it runs wherever the package is installed; what is stored, :mod:`lessons.stored` reads."""
    for cell in code_cells(chapter):
        assert not re.search(r"\b(open|Path|loadtxt|read_csv)\(", cell.source), cell.source


def test_a_cell_that_make_portable_leaves_undisturbed_says_why(chapter):
    for cell in code_cells(chapter):
        if "bitwise" in cell.metadata.get("tags", []):
            why = re.search(r"^ *# .*(to the last bit|rounding)", cell.source, re.M | re.I)
            assert why, cell.source


def test_no_assertion_is_lost(chapter, request):
    found = [
        ast.unparse(node.test)
        for cell in code_cells(chapter)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Assert)
    ]
    assert found == ASSERTED.get(request.node.callspec.id, [])


# --- claims -------------------------------------------------------------------------------------

CLAIMS = claims(FOLDER)


def test_every_claim_has_one_home():
    wanted = [f"A{n}" for n in range(1, 21)] + [f"B{n}" for n in range(1, 23)]
    named = [claim.id for claim in CLAIMS]
    assert [name for name in named if name[0] in "AB"] == wanted
    assert len(named) == len(set(named))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_has_a_verdict_and_a_cell_that_decides_it(claim):
    chapter = nbformat.read(FOLDER / f"{claim.chapter}.ipynb", as_version=4)
    assert claim.verdict and len(claim.reason) > 10
    if claim.id[0] == "A":  # the others are questions
        assert re.match("(True|False|Half-true)", claim.verdict), claim.verdict
    cell = deciding_cell(chapter, claim.place)
    assert cell is not None and cell.outputs, claim.place


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_deciding_cell_asserts_the_verdict(claim):
    """An assertion whose comment names the verdict, as in ``assert a < b  # B9: No``.

    So a verdict that is turned round fails here, and one that no longer holds fails when the chapter runs.
    """
    chapter = nbformat.read(FOLDER / f"{claim.chapter}.ipynb", as_version=4)
    source = deciding_cell(chapter, claim.place).source
    lines = source.splitlines()
    said = [
        comment
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assert)
        for line in lines[node.lineno - 1 : node.end_lineno]
        for comment in line.partition("  # ")[2].split("; ")
    ]
    assert f"{claim.id}: {claim.verdict.rstrip('.')}" in said


# --- numbers ------------------------------------------------------------------------------------


def test_every_number_in_prose_is_tied_to_the_cell_that_has_it(chapter):
    """So prose cannot drift from what the cells print: see tools/ties.py."""
    assert TIES["loose"](chapter) == []


def test_sums_in_prose_are_right(chapter):
    for cell in chapter.cells:
        for left, right in TIES["sums"](TIES["prose"](cell)):
            places = len(right.partition(".")[2])
            assert round(eval(left, {}), places) == float(right), f"{left} = {right}"
