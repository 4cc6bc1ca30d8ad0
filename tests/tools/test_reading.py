"""What the command counts on small pages made for it, and that it reads every page of the book."""

import runpy
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
    new_raw_cell,
)

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools/reading.py"))
TABLE = "| a | b |\n|:--|--:|\n| one | 2 |"


def shown(**data):
    kinds = {"png": "image/png", "markdown": "text/markdown", "html": "text/html"}
    return new_output("display_data", data={kinds[k]: v for k, v in data.items()})


@pytest.fixture
def read(tmp_path):
    """Read a notebook of the given cells: strings are markdown."""

    def read(*cells):
        cells = [new_markdown_cell(c) if isinstance(c, str) else c.copy() for c in cells]
        for number, cell in enumerate(cells):
            cell["id"] = str(number)
        path = tmp_path / "page.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        return TOOL["read"](path)

    return read


def code(source="a = 1", *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


@pytest.mark.parametrize(
    "text, words",
    [
        ("One two *three* `four` [five six](page.md).", 6),
        ("(label)=\n# A title of words\n\nTwo words", 6),
        ("See {ref}`the whole answer <ch-adam>` and {cite:t}`polyak1964some`.", 6),
        ("A formula $a + b$ is – no word.\n\n$$\na = b\n$$", 5),
        ("- one\n- two\n\n> three", 3),
        (TABLE, 0),
        ("```python\na = 1\n```", 0),
        ("```{admonition} A title\n:class: tip\ntwo words\n```", 2),
        (":::{note}\ntwo words\n:::", 2),
        ("````{note}\none\n```{tip}\ntwo\n```\n````", 2),
        ("```{admonition} Hint\n:class: dropdown\ntwo words\n```", 0),
        ("```{admonition} Hint\n---\nclass: tip dropdown\n---\ntwo words\n```", 0),
        (":::{dropdown} More\ntwo words\n:::", 0),
        ("```{toggle}\ntwo words\n```", 0),
        ("```{exercise} Name\n:label: ex\ntwo words\n```", 0),
        ("````{solution} ex\ntwo words\n````", 0),
        ("```{figure} a.png\n:alt: what\nThe caption\n```\nword", 1),
        ("<!-- a remark -->\n\n% another\n\nword", 1),
        ("---\ntitle: front\n---\nword", 1),
        ("one\ntwo  \nthree\n– four", 4),
        ("See {ref}`<ch-adam>`.", 1),
        ("``` {note}\ntwo words\n```", 2),
        ("```{note}\n---\n\n---\ntwo words\n```", 2),
        ("````{figure} a.png\n```{note}\nof the caption\n```\n````\nword", 1),
        ("```{csv-table}\na, b\n```\nword", 1),
        ("one $$x + y$$ two", 2),
        (f"{TABLE}\n\nword", 1),
        (f"```{{table}} A title\n{TABLE}\n```\nword", 1),
        ("```{admonition} x\n:class: tip toggle\ntwo words\n```", 0),
    ],
)
def test_words(read, text, words):
    assert read(text).words == words


@pytest.mark.parametrize(
    "name",
    [
        *("dropdown", "toggle", "details", "exercise", "solution", "hint"),
        *("math", "bibliography", "contents", "tableofcontents", "raw", "eval-rst"),
    ],
)
def test_directives_without_prose(read, name):
    page = read(f"```{{{name}}} x\ntwo words\n```\nword")
    assert (page.words, page.code, page.pictures) == (1, 0, 0)


@pytest.mark.parametrize(
    "name", ["code", "code-block", "code-cell", "literalinclude", "sourcecode"]
)
def test_directives_of_code(read, name):
    page = read(f"```{{{name}}} python\n:class: x\na = 1\nb = 2\n```\nword")
    assert (page.words, page.code, page.pictures) == (1, 2, 0)


@pytest.mark.parametrize("name", ["figure", "figure-md", "glue:figure", "image", "video"])
def test_directives_of_pictures(read, name):
    page = read(f"```{{{name}}} x\nThe caption\n```\nword")
    assert (page.words, page.code, page.pictures) == (1, 0, 1)


@pytest.mark.parametrize("title", ["Exercises", "Solutions", "Further reading"])
def test_sections_that_do_not_count(read, title):
    page = read(f"## {title} \nno\n\n{TABLE}\n\n    a\n\n```python\na\n```\n![b](b.png)")
    assert (page.words, page.code, page.tables, page.pictures) == (0, 0, 0, 0)


def test_sections_that_do_not_count_end_with_the_next_of_their_level(read):
    page = read("# One", "## Exercises\nno", "### no\nno", code(), "## Two\nword")
    assert (page.words, page.code) == (3, 0)
    page = read("## Exercises", "### Solutions\nno", "### no", code(), "## Two\nword")
    assert (page.words, page.code) == (2, 0)
    assert read("## Further reading\n- no", "no").words == 0


def test_what_stands_between_the_ends_of_a_solution_does_not_count(read):
    start, end = "```{solution-start} ex\n```", "```{solution-end}\n```"
    page = read("one", start, "no", code("a", shown(png="")), end, "two", code("b"))
    assert (page.words, page.code, page.pictures) == (2, 1, 0)


@pytest.mark.parametrize(
    "tags, lines, tables",
    [
        ([], 2, 1),
        (["nbval-ignore-output"], 2, 1),
        (["hide-input"], 0, 1),
        (["remove-input"], 0, 1),
        (["hide-output"], 2, 0),
        (["remove-output"], 2, 0),
        (["hide-cell"], 0, 0),
        (["remove-cell"], 0, 0),
    ],
)
def test_tags_of_a_cell(read, tags, lines, tables):
    page = read(code("a = 1\n\nb = 2", shown(markdown=TABLE), tags=tags))
    assert (page.code, page.tables, page.words) == (lines, tables, 0)


def test_code_in_prose_and_in_outputs(read):
    assert read("```python\na\n  \nb\n```\n\n    c").code == 3
    assert read(new_raw_cell("a\nb")).code == 0
    assert read("```{code-block} python\n:linenos:\na\n```").code == 1
    assert read("```{admonition} x\n:class: dropdown\n~~~python\na\n~~~\n```").code == 0
    assert read(code("source(f)", shown(markdown="```python\na\nb\n```"))).code == 3


def test_tables(read):
    assert read(f"{TABLE}\n\nword\n\n{TABLE}").tables == 2
    assert read(code("a", shown(html="<table></table>"))).tables == 1
    assert read("```{list-table}\n* - a\n```").tables == 1
    assert read("```{csv-table}\na, b\n```").tables == 1
    assert read(f"```{{dropdown}} x\n{TABLE}\n```").tables == 0


@pytest.mark.parametrize(
    "picture",
    [
        "![alt](a.png)",
        "```{figure} a.png\n```",
        "```{image} a.png\n```",
        code("a", shown(png="")),
        code("a", shown(html="<svg></svg>")),
        code("a", shown(png="", html="<img>"), tags=["hide-input"]),
    ],
)
def test_pictures(read, picture):
    page = read("two words", picture, "more", picture)
    assert (page.pictures, page.first, page.tables) == (2, 2, 0)


def test_a_page_without_pictures_has_no_first(read):
    assert read("word", code("a", shown(png=""), tags=["hide-cell"])).first is None


def test_long_sentences(read):
    def long(*parts):
        return read(" ".join(parts)).long

    assert long("word " * 34 + "end.") == 0
    assert long("word " * 35 + "end.") == 1
    assert long("word " * 20 + "end.", "word " * 20 + "end!") == 0
    assert long("word " * 20 + "(end.)", "lr " * 20 + "end?") == 0
    assert long("word " * 20 + "e.g.", "word " * 20 + "end.") == 1
    assert long("word " * 20 + "1.5", "word " * 20 + "end.") == 1
    assert read("- " + "word " * 20 + "\n- " + "word " * 20).long == 0


def test_limits(read):
    picture = "![alt](a.png)"
    assert read("word", picture, picture, picture).beyond() == []
    assert read("word " * 35 + "end.", picture).beyond() == ["long", "pictures"]
    late = read(*["word. " * 121, picture, picture, picture])
    assert late.beyond() == ["first"]
    much = read("word. " * 1501, code("a\n" * 61), *[TABLE] * 4)
    assert much.beyond() == ["words", "code", "tables", "pictures"]


def test_reads_every_page_of_the_book(capsys):
    TOOL["main"]([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == [
        str(path.relative_to(ROOT)) for path in TOOL["pages"](ROOT)
    ]
    assert set((ROOT / "chapters").glob("*.ipynb")) <= set(TOOL["pages"](ROOT))


def test_only_lessons_have_limits(tmp_path, capsys, monkeypatch):
    for folder in ("chapters", "chapters/evidence"):
        (tmp_path / folder).mkdir()
        nbformat.write(new_notebook(), tmp_path / folder / "01_page.ipynb")
    (tmp_path / "_toc.yml").write_text(
        "root: intro\nparts:\n- chapters:\n  - file: chapters/01_page\n"
        "    sections:\n    - file: chapters/evidence/01_page.ipynb\n"
    )
    with pytest.raises(FileNotFoundError, match="intro"):
        TOOL["pages"](tmp_path)
    (tmp_path / "intro.md").write_text("word")
    files = TOOL["pages"](tmp_path)
    assert len(files) == 3
    TOOL["main"](list(map(str, files)))
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["words", "code", "tables", "pictures", "first", "long", "page"]
    assert ["*" in row for row in rows] == [False, True, False]
    assert rows[0].split() == ["1", "0", "0", "0", "–", "0", str(files[0])]
    assert {row.index(str(file)) for row, file in zip(rows, files, strict=True)} == {62}
    monkeypatch.chdir(tmp_path / "chapters")
    TOOL["main"](["01_page.ipynb"])
    assert "*" in capsys.readouterr().out
    assert not TOOL["is_lesson"](tmp_path / "chapters/page.md")


def test_refuses_other_files():
    with pytest.raises(ValueError, match="Makefile"):
        TOOL["read"](ROOT / "Makefile")
