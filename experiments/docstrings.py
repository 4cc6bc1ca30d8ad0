"""Which package is this docstring from? The book's one real corpus, as counts of words.

Writes src/lessons/data/docstrings.npz, in about a minute. :func:`lessons.problems.docstrings` reads it. The
file is stored with the package, so that the data are the same on every machine.

The packages are those of requirements.txt that have one pin for all versions of Python. Their source is
parsed, not imported. The docstrings are under the packages' licences: BSD with three clauses (scikit-learn,
SymPy, PyTorch), and Matplotlib's own, which is like it. Stored are counts of words, no text.
"""

import ast
import hashlib
import importlib.util
import re
from collections import Counter
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parents[1] / "src" / "lessons" / "data" / "docstrings.npz"
PACKAGES = ("matplotlib", "sklearn", "sympy", "torch")  # the classes 0 to 3
# Words with one of these in them give the class away, as do the usual short names.
NAMES = re.compile("matplotlib|pyplot|sklearn|scikit|sympy|torch")
SHORT_NAMES = {"mpl", "plt"}
DOCUMENTS = 1000  # of each package
SHORTEST = 30  # words in a document
RAREST, WORDS = 10, 3000  # documents that hold a word, at least; words, at most


def words_of(text: str) -> list[str]:
    """Return the words of two or more letters, in lower case, without the packages' names."""
    return [
        word
        for word in re.findall("[a-z]{2,}", text.lower())
        if not NAMES.search(word) and word not in SHORT_NAMES
    ]


def docstrings_of(package: str) -> list[list[str]]:
    """Return each distinct docstring of a package's modules, classes and functions as its words."""
    (root,) = importlib.util.find_spec(package).submodule_search_locations
    found = {}
    for path in Path(root).rglob("*.py"):
        if {"tests", "testing", "_vendor"} & set(path.relative_to(root).parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:  # a template, not a module
            continue
        for node in ast.walk(tree):
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                words = words_of(ast.get_docstring(node) or "")
                if len(words) >= SHORTEST:
                    found[hashlib.sha256(" ".join(words).encode()).digest()] = words
    # In the order of a hash: a choice without favourites, the same on every machine.
    return [found[digest] for digest in sorted(found)[:DOCUMENTS]]


def main() -> None:
    documents, classes = [], []
    for number, package in enumerate(PACKAGES):
        found = docstrings_of(package)
        print(f"{package}: {len(found)} documents")
        documents += [Counter(words) for words in found]
        classes += [number] * len(found)
    held_by = Counter(word for counts in documents for word in counts)
    frequent = [word for word, held in held_by.items() if held >= RAREST]
    frequent.sort(key=lambda word: (-held_by[word], word))
    words = sorted(frequent[:WORDS])
    place = {word: column for column, word in enumerate(words)}
    rows = [
        sorted((place[w], n) for w, n in counts.items() if w in place)
        for counts in documents
    ]
    columns, counts = np.array([pair for row in rows for pair in row]).T
    print(f"{len(words)} words, {len(columns)} counts")
    np.savez_compressed(
        OUTPUT,
        packages=np.array(PACKAGES),
        words=np.array(" ".join(words)),
        classes=np.array(classes, dtype=np.uint8),
        lengths=np.array([len(row) for row in rows], dtype=np.uint16),  # pairs a document
        columns=columns.astype(np.uint16),
        counts=counts.clip(max=255).astype(np.uint8),
    )


if __name__ == "__main__":
    main()
