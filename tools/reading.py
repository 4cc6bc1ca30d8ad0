"""Print what a reader of each page has before them: words, lines of code, tables, pictures, long sentences.

Usage: reading.py [PAGE …]; without names, all pages of _toc.yml. Numbers beyond a lesson's limit carry a *.

Counted is what stands open in the body of a page. Exercises, solutions, further reading and whatever is folded
are not; nor are, as words, formulas, code blocks, tables and captions. Blank lines of code are not counted. The
column "first" is the number of words before the first picture.
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

ROOT = Path(__file__).parents[1]
LONG = 35  # words in a sentence
FIRST_SCREEN = 120  # words that stand above the first picture at most
MOST = {"words": 1500, "code": 60, "tables": 3, "first": FIRST_SCREEN, "long": 0}
PICTURES = 3  # at least

UNCOUNTED_SECTIONS = ("exercises", "solutions", "further reading")
FOLDED = {"dropdown", "toggle", "details", "exercise", "solution", "hint"}
PICTURE = {"figure", "figure-md", "glue:figure", "image", "video"}
CODE = {"code", "code-block", "code-cell", "literalinclude", "sourcecode"}
NO_PROSE = {"math", "bibliography", "contents", "tableofcontents", "raw", "eval-rst"}
INPUT_HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
OUTPUT_HIDDEN = {"hide-output", "hide-cell", "remove-output", "remove-cell"}

MARKDOWN = MarkdownIt("commonmark").enable("table")
for plugin in (
    front_matter_plugin,
    colon_fence_plugin,
    myst_block_plugin,
    myst_role_plugin,
):
    MARKDOWN.use(plugin)
MARKDOWN.use(dollarmath_plugin)


@dataclass
class Reading:
    """What stands open on one page: counts, and the long sentences themselves."""

    words: int = 0
    code: int = 0
    tables: int = 0
    pictures: int = 0
    first: int | None = None  # words before the first picture
    sentences: list[str] = field(default_factory=list)  # those that are too long

    @property
    def long(self) -> int:
        return len(self.sentences)

    def beyond(self) -> list[str]:
        """Return the names of the counts with which a lesson would be beyond its limits."""
        names = [n for n, most in MOST.items() if (getattr(self, n) or 0) > most]
        return names + ["pictures"] * (self.pictures < PICTURES)


class Page:
    """Reads a page from its top, cell by cell: some folds and sections span several cells."""

    def __init__(self, cells):
        self.reading = Reading()
        self.skipped_level = None  # of the heading of the section that is not counted
        self.in_solution = False
        for cell in cells:
            if cell.cell_type == "markdown":
                self.read_markdown(cell.source)
            elif cell.cell_type == "code" and self.counts():
                self.read_code(cell)

    def counts(self) -> bool:
        return self.skipped_level is None and not self.in_solution

    def picture(self):
        self.reading.pictures += 1
        if self.reading.first is None:
            self.reading.first = self.reading.words

    def lines(self, code: str):
        self.reading.code += sum(bool(line.strip()) for line in code.splitlines())

    def read_code(self, cell):
        tags = set(cell.metadata.get("tags", ()))
        if not tags & INPUT_HIDDEN:
            self.lines(cell.source)
        if tags & OUTPUT_HIDDEN:
            return
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            html = data.get("text/html", "")
            if any(kind.startswith("image/") for kind in data):
                self.picture()
            elif "text/markdown" in data:
                self.read_markdown(data["text/markdown"])
            elif re.search(r"<(svg|img|video|canvas)\b", html):
                self.picture()
            else:
                self.reading.tables += len(re.findall(r"<table\b", html))

    def read_markdown(self, text: str, prose: bool = True):
        """Count what ``text`` holds; ``prose`` False leaves its words out, as a caption's."""
        tokens = MARKDOWN.parse(text)
        in_table = False
        for index, token in enumerate(tokens):
            if token.type == "heading_open":
                self.heading(int(token.tag[1]), tokens[index + 1].content)
            elif token.type in ("fence", "colon_fence"):
                self.fence(token, prose)
            elif not self.counts():
                pass
            elif token.type == "code_block":
                self.lines(token.content)
            elif token.type == "table_open":
                self.reading.tables += 1
                in_table = True
            elif token.type == "table_close":
                in_table = False
            elif token.type == "inline":
                self.inline(token, prose and not in_table)

    def heading(self, level: int, title: str):
        if self.skipped_level is not None and level <= self.skipped_level:
            self.skipped_level = None
        if self.skipped_level is None and title.lower() in UNCOUNTED_SECTIONS:
            self.skipped_level = level

    def fence(self, token, prose: bool):
        match = re.match(r"\{([\w:-]+)\}", token.info.strip())
        name = match[1] if match else None
        if name in ("solution-start", "solution-end"):
            self.in_solution = name == "solution-start"
        if not self.counts() or name in FOLDED or name in NO_PROSE:
            return
        if name is None or name in CODE:
            self.lines(options_and_body(token.content)[1] if name else token.content)
            return
        options, body = options_and_body(token.content)
        if {"dropdown", "toggle"} & set(options.get("class", "").split()):
            return
        if name in PICTURE:
            self.picture()
        if name in ("list-table", "csv-table"):
            self.reading.tables += 1
            return
        self.read_markdown(body, prose=prose and name not in PICTURE)

    def inline(self, token, prose: bool):
        parts = []
        for child in token.children:
            if child.type == "image":
                self.picture()
            elif child.type in ("text", "code_inline"):
                parts.append(child.content)
            elif child.type == "myst_role":
                parts.append(re.sub(r"\s*<[^>]*>$", "", child.content))
            elif child.type in ("softbreak", "hardbreak"):
                parts.append(" ")
        if not prose:
            return
        text = "".join(parts)
        self.reading.words += count(text)
        self.reading.sentences += [s for s in sentences(text) if count(s) > LONG]


def count(text: str) -> int:
    """Return the number of words: what stands between spaces and holds a letter or a digit."""
    return sum(any(map(str.isalnum, word)) for word in text.split())


def sentences(text: str) -> list[str]:
    """Part a paragraph where a sentence ends; names such as *lr* may begin the next one."""
    end = r"(?:(?<=[.!?])|(?<=[.!?][\"”’)]))(?<!e\.g\.)(?<!i\.e\.)(?<!al\.)(?<!vs\.)(?<!cf\.)\s+"
    return re.split(end, text)


def options_and_body(content: str) -> tuple[dict, str]:
    """Part a directive's content into its options, ``:name: value`` or YAML, and the rest."""
    yaml_block = re.match(r"---\n(.*?)\n---\n?", content, re.DOTALL)
    if yaml_block:
        options = yaml.safe_load(yaml_block[1]) or {}
        return {k: str(v) for k, v in options.items()}, content[yaml_block.end() :]
    lines, options = content.splitlines(), {}
    while lines and (match := re.match(r":([\w-]+):\s*(.*)", lines[0])):
        options[match[1]] = match[2]
        lines.pop(0)
    return options, "\n".join(lines)


def read(path: Path) -> Reading:
    """Return the reading of a notebook, or of a page of markdown.

    Raises:
        ValueError: ``path`` is of another kind.
    """
    if path.suffix == ".ipynb":
        return Page(nbformat.read(path, as_version=4).cells).reading
    if path.suffix == ".md":
        cell = nbformat.v4.new_markdown_cell(path.read_text(encoding="utf-8"))
        return Page([cell]).reading
    raise ValueError(f"{path} is neither a notebook (.ipynb) nor a page of markdown (.md)")


def pages(root: Path) -> list[Path]:
    """Return the files of ``_toc.yml`` below ``root``, in the order of the book.

    Raises:
        FileNotFoundError: a page is there neither as a notebook nor as markdown.
    """

    def names(entry):
        if isinstance(entry, dict):
            yield from (entry[key] for key in ("root", "file") if key in entry)
            entry = list(entry.values())
        for part in entry if isinstance(entry, list) else ():
            yield from names(part)

    found = []
    for name in names(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))):
        stem = re.sub(r"\.(ipynb|md)$", "", name)
        files = [root / f"{stem}{suffix}" for suffix in (".ipynb", ".md")]
        if not any(file.exists() for file in files):
            raise FileNotFoundError(f"_toc.yml names {name}, which is not there")
        found.append(next(file for file in files if file.exists()))
    return found


def is_lesson(path: Path) -> bool:
    """True for a numbered notebook right in ``chapters``: the evidence lies a folder deeper."""
    return path.parent.name == "chapters" and path.suffix == ".ipynb"


def main(arguments: list[str]) -> None:
    files = [Path(name) for name in arguments] or pages(ROOT)
    columns = ("words", "code", "tables", "pictures", "first", "long")
    print("".join(f"{name:>10}" for name in columns) + "  page")
    for file in files:
        reading = read(file)
        beyond = reading.beyond() if is_lesson(file.resolve()) else []
        cells = []
        for name in columns:
            value = getattr(reading, name)
            cells.append(f"{'–' if value is None else value}{'*' if name in beyond else ' '}")
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        print("".join(f"{cell:>10}" for cell in cells) + f"  {shown}")


if __name__ == "__main__":
    main(sys.argv[1:])
