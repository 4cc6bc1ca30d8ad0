"""The book's claims: each stands once, in the chapter that settles it, and is read from there.

A claim is a paragraph of a notebook of this form, with an id of a letter and a number::

    (claim-a10)=
    **A10. “The claim, in the book's words.”** — *Verdict.* The reason. Settled by {ref}`what <label>`.

Its deciding cell is the first one below the label that the paragraph's first reference names or, where it has
none, below ``(decides-a10)=``; or it is the cell that draws the figure of that name.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from lessons.display import Markdown

CLAIM = re.compile(r"^\(claim-(\w+)\)=\n\*\*(\w+)\. “(.+?)”\*\* — \*(.+?)\*(.*)$", re.M)
REFERENCE = re.compile(r"\{(?:ref|numref)\}`(?:([^`<]*?)\s*<)?([^`<>]+)>?`")


@dataclass(frozen=True)
class Claim:
    """One claim and its verdict.

    Attributes:
        id: as in ``"A10"``.
        text: what is claimed, or asked.
        verdict: a few words, such as ``"Half-true."``.
        reason: the rest of the paragraph, in Markdown.
        place: the label of the deciding cell.
        chapter: the notebook's path in the folder, without its ending.
    """

    id: str
    text: str
    verdict: str
    reason: str
    place: str
    chapter: str


def claims(folder: str | Path) -> list[Claim]:
    """Return the claims of all notebooks in ``folder`` and below it, A1 first.

    Raises:
        ValueError: a claim has not the form above.
    """
    found = []
    for path in sorted(Path(folder).glob("**/[!.]*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "markdown":
                continue
            matches = list(CLAIM.finditer(cell.source))
            if len(matches) != len(re.findall(r"^\(claim-", cell.source, re.M)):
                raise ValueError(f"{path.name}: a claim of another form: {cell.source!r}")
            for label, name, text, verdict, reason in (m.groups() for m in matches):
                if label != name.lower():
                    raise ValueError(f"{path.name}: claim {name} has the label {label!r}")
                reference = REFERENCE.search(verdict + reason)
                place = reference[2].strip() if reference else f"decides-{label}"
                chapter = path.relative_to(folder).with_suffix("").as_posix()
                found.append(Claim(name, text, verdict, reason.strip(), place, chapter))
    return sorted(found, key=lambda claim: (claim.id[0], int(claim.id[1:])))


def verdicts(claims: list[Claim]) -> Markdown:
    """Return a list of claims with their verdicts, linked to where each is settled."""
    lines = [f"- “{claim.text}” {_verdict_and_reason(claim)}" for claim in claims]
    return Markdown("\n".join(lines))


CHOICES = ("True", "Half-true", "False")


def quiz(claims: list[Claim]) -> Markdown:
    """Return the claims as guesses, the false ones first; what is so is folded in each.

    ``tools/static/guess.js`` makes the choices buttons and counts; without it each is a list and a fold.

    Raises:
        ValueError: a verdict is none of true, half-true and false.
    """
    parts = []
    for claim in claims:
        verdict = next((choice for choice in CHOICES if claim.verdict.startswith(choice)), None)
        if verdict is None:
            raise ValueError(f"claim {claim.id} must be true, half-true or false: {claim.verdict!r}")
        number = CHOICES.index(verdict) + 1
        choices = "\n".join(f"{i}. {choice}" for i, choice in enumerate(CHOICES, start=1))
        fold = f":::{{dropdown}} What is so\n{_verdict_and_reason(claim)}\n:::"
        head = f"::::{{admonition}} “{claim.text}”\n:class: guess quiz answer-{number}"
        parts.append((-number, f"{head}\n{choices}\n\n{fold}\n::::"))
    return Markdown("\n\n".join(part for _, part in sorted(parts, key=lambda part: part[0])))


def _verdict_and_reason(claim: Claim) -> str:
    """Return what a page says of a claim, with links to where it is settled."""

    def link(reference):
        return f"[{reference[1] or 'the figure'}](#{reference[2].strip()})"

    reason = re.sub(r"\s*\{cite:\w\}`[^`]*`", "", REFERENCE.sub(link, claim.reason))
    if not REFERENCE.search(claim.verdict + claim.reason):
        reason += f" Settled [below it](#claim-{claim.id.lower()})."
    verdict = f"**{REFERENCE.sub(link, claim.verdict)}**"
    space = "" if reason.startswith((",", ";", ":")) else " "
    return f"{verdict}{space}{reason}"


def deciding_cell(notebook, place: str):
    """Return the cell that decides a claim of ``notebook`` whose place is ``place``, or None."""
    below = False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            if below or name == place:
                return cell
        elif f"({place})=" in cell.source:
            below = "\n## " not in cell.source.partition(f"({place})=")[2]
        elif re.search(r"^## ", cell.source, re.M):
            below = False
    return None
