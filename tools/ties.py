"""Tie every number in a chapter's prose to the cell that has it, so that neither can change alone.

Usage: ties.py NOTEBOOK …  Prints each tie that it makes anew, to be read: is that cell's number what is meant?

A tie is kept in the metadata of the cell whose prose it is, as "0.13 757e4989": the number as it is written,
with a "%" if it is a percentage or counts points, and the id of the code cell that has it in its code or its
output, rounded or not. In place of an id, "sum" is said of a sum that is written out, as in 0.1 · 0.5 = 0.05.
Captions and alt texts are their own cell's prose. Whole numbers up to 12 and years are taken for words.
"""

import re
import sys
from pathlib import Path

import nbformat

NUMBER = re.compile(r"((?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?)(\s(?:%|percent|points?\b))?")
NO_PROSE = re.compile(
    r"```python.*?```|^`{3,}[^\n]*$|^:(?:label|class):[^\n]*$|^\(\S*\)=|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`"
    r"|https?://\S+",
    re.S | re.M,
)
TERM = r"[-−(]*\d+(?:\.\d+)?[)]*"
SUM = re.compile(rf"((?:{TERM}\s*[-−+·/]\s*)+{TERM})\s*=\s*([-−]?\d+(?:\.\d+)?)")


def prose(cell) -> str:
    """Return what readers see as text of a cell: without code, formulas, labels and addresses."""
    if cell.cell_type == "markdown":
        return NO_PROSE.sub(" ", cell.source)
    rendering = cell.metadata.get("mystnb", {})
    parts = rendering.get("figure", {}).get("caption", ""), rendering.get("image", {}).get("alt", "")
    return NO_PROSE.sub(" ", "\n\n".join(parts))


def sums(text: str):
    """Yield the sums in a text: (left side in Python, what the text says it is)."""
    for left, right in SUM.findall(text):
        if left.count("(") == left.count(")"):
            yield left.replace("−", "-").replace("·", "*"), right.replace("−", "-")


def written(text: str) -> list[str]:
    """Return the numbers of a text that want a tie, in order; a percentage ends in %."""
    return [
        number + "%" * bool(unit)
        for number, unit in NUMBER.findall(text)
        if re.search("[.e]", number) or not (value(number) <= 12 or 1900 <= value(number) <= 2100)
    ]


def value(shown: str) -> float:
    return float(shown.rstrip("%").replace(",", ""))


def numbers(cell) -> set[float]:
    """Return all numbers in a cell's code and in what it printed."""
    texts = [cell.source]
    for output in cell.outputs:
        data = output.get("data", {})
        texts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")]
    pattern = r"\d+(?:[_,]\d{3})*(?:\.\d*)?(?:[eE][-+−]?\d+)?|\.\d+"
    found = re.findall(pattern, "\n".join(texts))
    return {float(re.sub("[_,]", "", text).replace("−", "-")) for text in found}


def has(cell, shown: str) -> bool:
    """Return whether a cell has a number, rounded as it is written."""
    number = shown.rstrip("%")
    places = len(number.partition(".")[2]) if "e" not in number else 12
    factors = (1, 100) if "%" in shown else (1,)
    return any(value(shown) == round(f * n, places) for n in numbers(cell) for f in factors)


def in_sums(text: str) -> set[float]:
    found = [n for left, right in sums(text) for n in [*re.findall(r"\d+(?:\.\d+)?", left), right]]
    return {abs(float(n)) for n in found}


def holds(notebook, cell, shown: str, source: str) -> bool:
    """Return whether a tie is true."""
    if source == "sum":
        return value(shown) in in_sums(prose(cell))
    return any(c.id == source and c.cell_type == "code" and has(c, shown) for c in notebook.cells)


def nearest(notebook, cell, shown: str) -> str | None:
    """Return the source of a number: the nearest cell that has it, before it rather than after it.

    One that has it as it is written counts as three cells nearer than one that has it unrounded.
    """
    at, there = notebook.cells.index(cell), []
    for i, c in enumerate(notebook.cells):
        if c.cell_type == "code" and has(c, shown):
            rounded = value(shown) not in numbers(c)
            there.append((abs(i - at) + 3 * rounded, i > at, c.id))
    if value(shown) in in_sums(prose(cell)) and not (there and min(there)[0] <= 1):
        return "sum"
    return min(there)[2] if there else None


def tie(notebook) -> list[str]:
    """Tie what is not tied yet; return what was done, and what could not be."""
    news = []
    for cell in notebook.cells:
        old, ties = list(cell.metadata.get("ties", ())), []
        for shown in written(prose(cell)):
            kept = [t for t in old if t.split()[0] == shown and holds(notebook, cell, *t.split())]
            if kept:
                old.remove(kept[0])  # of a number that is there twice, the next one is the other's
            source = kept[0].split()[1] if kept else nearest(notebook, cell, shown)
            if source is None:
                news.append(f"{shown} is in no cell")
                continue
            if not kept:
                news.append(f"{shown} ← {source}")
            ties.append(f"{shown} {source}")
        cell.metadata.pop("ties", None)
        if ties:
            cell.metadata["ties"] = ties
    return news


def loose(notebook) -> list[str]:
    """Return the numbers in prose that are not tied, and the ties that are not true."""
    wrong = []
    for cell in notebook.cells:
        ties = [entry.split() for entry in cell.metadata.get("ties", ())]
        shown = written(prose(cell))
        if [number for number, _ in ties] != shown:
            wrong.append(f"numbers {shown} in the prose, but ties {ties}")
        wrong += [f"{n} is not in {s}" for n, s in ties if not holds(notebook, cell, n, s)]
    return wrong


def main(files: list[str]) -> None:
    for file in map(Path, files):
        notebook = nbformat.read(file, as_version=4)
        news = tie(notebook)
        print(*(f"{file}: {line}" for line in news), sep="\n")
        nbformat.write(notebook, file)


if __name__ == "__main__":
    main(sys.argv[1:])
