"""What every chapter keeps to, whatever it says. That its outputs are true is nbval's part."""

import ast
import re
import runpy
from pathlib import Path

import nbformat
import pytest

from lessons.claims import claims, deciding_cell

ROOT = Path(__file__).parents[1]
READING = runpy.run_path(str(ROOT / "tools" / "reading.py"))
FOLDER = ROOT / "chapters"
CHAPTERS = sorted([*FOLDER.glob("*.ipynb"), *FOLDER.glob("evidence/*.ipynb")])
COLLECTION = "13_myths_tested"  # it has no experiments of its own
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


# Lessons of the short form, whose experiments stand on an evidence page.
LESSONS = sorted(path for path in CHAPTERS if (FOLDER / "evidence" / path.name).exists())
LESSONS = [path for path in LESSONS if path.parent == FOLDER]
LESSON_ARC = ["In your own code", "Summary", "Exercises", "Where to go from here"]


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


def test_the_arc_is_complete_and_in_order(chapter, request):
    if COLLECTION in request.node.name or is_evidence(chapter):
        pytest.skip("has an order of its own")
    headings = re.findall(r"^## (.+)$", markdown(chapter), re.M)
    arc = LESSON_ARC if chapter.path in LESSONS else ARC
    assert [heading for heading in headings if heading in arc] == arc


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


# --- what is compared ------------------------------------------------------------------------------

TAGS = {"hide-input", "hide-cell", "bitwise", "nbval-ignore-output"}
MEASURED = "# Measured now, on the machine that runs this cell: not compared by the tests."
TIMES = {"12_what_a_step_costs": 2}  # cells that measure times; nothing else may vary
# What chapters assert and do not print. Without the line, nothing would notice that it no longer holds.
ASSERTED = {
    "05_adagrad_or_adam": ["0 < k < len(lrs) - 1", "0 < best < len(lrs) - 1"],
    "12_what_a_step_costs": ["difference < 1e-12"],
    "evidence/04_adam": [
        "not any((row['edge'] for row in settings_runs))",
        "largest('lr', 'fixed') > 50 and largest('weight_decay', 'fixed') > 5",
        "all((largest(setting, 'tuned') < 2 for setting in ('beta1', 'beta2', 'eps')))",
        "adams[1] == adams[2] == adams[3] and adams[4] == 0.1",
        "float(adagrads[3]) < 0.04 * float(adagrads[1])",
        "staying[0] > 3 and max(staying) > 6 and (abs(growing[-1] / bound - 1) < 0.01)",
        "jumps[0.95][0] < 1.2 and jumps[0.999][0] > 6 and (jumps[0.999][1] > 20 * jumps[0.95][1])",
        "at_the_end(0.1, 3000, False) > 0.9 * at_the_end(0.1, 1000, False)",
        "all((at_the_end(lr, n, True) < 0.7 * at_the_end(lr, n, False) for lr, n, _ in runs))",
        "not any((row['edge'] for row in long_runs))",
        "float(rows[0][1]) == 1 and float(rows[1][1]) > 3",
        "all((float(row[3].split()[0]) > -0.5 for row in rows))",
        "all(holds)",
        "apart[100000000.0] < 1e-08 and apart[1e-08] > 0.5",
        "abs(by_adam - step_by_formula(1e-06, 'outside, after')) < 1e-12",
        "np.ptp(small) < 0.01 and np.ptp(early) > 0.5",
        "len({f'{length:.2f}' for length in early}) == 3",
        "float(rows[0][3]) < 1.1 and float(rows[1][3]) > 10 and (float(rows[2][3].replace(',', '')) > 1000)",
        "'nan' in rows[4][2] and all(('nan' not in cell for row in rows[:4] for cell in row))",
        "kicks['all: a new optimizer'][0] > 0.9 > 0.1 > kicks['nothing is reset'][0]",
        "kicks['all: a new optimizer'][1] > 1.5 > 1.1 > kicks['nothing is reset'][1]",
        "0 < best.min() and best.max() < len(lrs) - 1",
    ],
    "evidence/06_l2_or_weight_decay": [
        "all((abs(l2 - 1 / 1.5) < 0.001 for l2, _ in places.values()))",
        "[name for name, (_, w) in places.items() if abs(w - 1 / 1.5) < 0.001] == ['SGD']",
        "abs(of_adamw - 1) < 0.001 and abs(places['Adam'][1] - 1) < 0.001",
        "[row[3] == 'rounding' for row in rows] == [True] * 3 + [False] * 3",
        "[name for name, (once, twice) in off.items() if once != twice] == ['SGD', 'AdamW']",
        "torch.allclose(quiet[True], a, atol=0.01) and quiet[False].max() < 2.01",
        "all((noisy[False, σ] + 0.1 < noisy[True, σ] < 0.95 for σ in (1.0, 10.0)))",
        "abs(annealed['L2'][-1] - 1 / 1.5) < 0.001 and annealed['decay, δ stays'][-1] < 0.1",
        "float(rows[0][1]) < 1 and float(rows[0][2]) == 0.1",
        "float(rows[1][1]) == 1 and float(rows[1][2]) < 0.1",
        "np.allclose(found[first], 0.1) and (not any((np.allclose(found[x], 0.1) for x in others)))",
        "[name for name in same if not same[name]] == ['AdamW']",
        "first_loss(1.0) == first_loss(0.0) < first_loss(1.0, in_the_loss=True)",
        "runs['AdamW'][1][-1] > 2 and abs(runs['AdamC'][1][-1] - 1) < 0.15",
    ],
}


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
    wanted = [f"A{n}" for n in range(1, 18)] + [f"B{n}" for n in range(1, 23)]
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


# --- numbers ------------------------------------------------------------------------------------


def numbers_of_cells(chapter):
    """All numbers in code, and in what it printed."""
    texts = []
    for cell in code_cells(chapter):
        texts.append(cell.source)
        for output in cell.outputs:
            data = output.get("data", {})
            texts += [
                output.get("text", ""),
                data.get("text/plain", ""),
                data.get("text/markdown", ""),
            ]
    pattern = r"\d+(?:_\d+)*(?:\.\d*)?(?:[eE][-+−]?\d+)?|\.\d+"
    found = re.findall(pattern, "\n".join(texts))
    return {float(text.replace("_", "").replace("−", "-")) for text in found}


def prose(chapter):
    """All text that readers see: without code, formulas, labels and addresses."""
    texts = [markdown(chapter)]
    for cell in code_cells(chapter):
        rendering = cell.metadata.get("mystnb", {})
        texts.append(rendering.get("figure", {}).get("caption", ""))
        texts.append(rendering.get("image", {}).get("alt", ""))
    pattern = (
        r"```python.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|^\(\S*\)=|^:label:.*?$"
        r"|https?://\S+|\*\*[ABC]\d+\.|^```\{.*?$"
    )
    return re.sub(pattern, " ", "\n\n".join(texts), flags=re.S | re.M)


def equations(text):
    """Sums in the prose: (left side in Python, what the text says it is)."""
    number = r"\d+(?:\.\d+)?"
    term = rf"[-−(]*{number}[)]*"
    for left, right in re.findall(
        rf"((?:{term}\s*[-−+·/]\s*)+{term})\s*=\s*([-−]?{number})", text
    ):
        if left.count("(") == left.count(")"):
            python = left.replace("−", "-").replace("·", "*")
            yield python, right.replace("−", "-")


def decimals(text):
    return len(text.partition(".")[2])


def test_sums_in_prose_are_right(chapter):
    for left, right in equations(prose(chapter)):
        value = eval(left, {})  # digits and operators alone
        assert round(value, decimals(right)) == float(right), f"{left} = {right}"


def test_every_number_in_prose_is_an_input_or_an_output(chapter):
    """So prose cannot drift from what the cells print. Small whole numbers and years are words."""
    text, known = prose(chapter), numbers_of_cells(chapter)
    for left, right in equations(text):
        known |= {abs(float(n)) for n in [*re.findall(r"\d+(?:\.\d+)?", left), right]}
    strange = []
    for match in re.finditer(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?", text):
        shown = match[0].replace(",", "")
        value, places = float(shown), decimals(shown) if "e" not in shown else 12
        if "." not in shown and (value <= 12 or 1900 <= value <= 2100):
            continue
        if not any(value in (round(n, places), round(100 * n, places)) for n in known):
            strange.append(text[max(0, match.start() - 40) : match.end() + 20])
    assert not strange, strange
