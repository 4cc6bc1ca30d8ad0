"""A Sphinx extension: pages are found by the words that people type, as ``search_words.toml`` lists them.

They become entries of the index, which Sphinx's search asks first, and the page's keywords, so that a query
may mix them with others. ``search.js`` orders what is found.
"""

import re
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.errors import ExtensionError

HERE = Path(__file__).parent
HAN = re.compile(r"[\u4e00-\u9fff]+")


def table() -> dict:
    """Read the words of each page, and the queries that are to find one."""
    return tomllib.loads((HERE / "search_words.toml").read_text(encoding="utf-8"))


def words_of(phrases: list[str]) -> list[str]:
    """Split phrases as the search does a query: Chinese is a word of its own."""
    spaced = HAN.sub(r" \g<0> ", " ".join(phrases))
    return list(dict.fromkeys(re.findall(r"\w+", spaced.lower())))


def entries_of(phrases: list[str]) -> list[str]:
    """Add to each phrase in Chinese and Latin letters its other spelling, without the spaces between."""
    close = [phrase.replace(" ", "") for phrase in phrases if HAN.search(phrase)]
    return list(dict.fromkeys(phrases + close))


def place_of(doctree, docname: str, label: str) -> str:
    """Return the anchor of the section with that label: the search quotes what is inside of it."""
    if not label:
        return ""
    labelled = [node for node in doctree.findall(nodes.Element) if label in node.get("ids", ())]
    # The section itself, or, of a table's label, the one that it is in.
    for node in sorted(labelled, key=lambda node: not isinstance(node, nodes.section)):
        while node and not isinstance(node, nodes.section):
            node = node.parent
        if node:
            return node["ids"][0]
    raise ExtensionError(f"search_words.toml: {docname} has no section {label!r}")


def add(app, doctree) -> None:
    docname = app.env.docname
    found = []
    for place, phrases in app.config.search_words.items():
        page, _, label = place.partition("#")
        if page == docname:
            found += phrases
            entries = [
                ("single", phrase, place_of(doctree, docname, label), "main", None)
                for phrase in entries_of(phrases)
            ]
            doctree.append(addnodes.index(entries=entries))
    if found:
        doctree.insert(0, nodes.meta(name="keywords", content=", ".join(words_of(found))))


def check(app, env) -> set[str]:
    """A page that is not there would be found by nobody; and a build of some pages is made one of all.

    Sphinx forgets the index entries of the pages that it does not write again.
    """
    for place in app.config.search_words:
        if place.partition("#")[0] not in env.found_docs:
            raise ExtensionError(f"search_words.toml: there is no page {place!r}")
    return set(env.found_docs) if any(app.builder.get_outdated_docs()) else set()


def configure(app, config) -> None:
    config.html_search_scorer = str(HERE / "search.js")
    config.search_script = (HERE / "search.js").read_text(encoding="utf-8")
    if config.search_words is None:
        config.search_words = table()["words"]


def setup(app):
    app.add_config_value("search_words", None, "env")
    app.add_config_value("search_script", "", "html")  # when it changes, the site is written anew
    app.connect("config-inited", configure)
    # After the targets before headings have become the sections' names.
    app.connect("doctree-read", add, priority=700)
    app.connect("env-updated", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
