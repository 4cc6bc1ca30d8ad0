"""A Sphinx extension: what is so stays folded until the reader has guessed.

A lesson asks in an admonition of class ``guess``, with its choices in a numbered list, and answers in a section
named "What is so"; class ``answer-2`` says that the second choice is so. Here that section becomes a fold,
which needs no script; ``static/guess.js`` makes the choices buttons. In JupyterLab its heading is collapsed.
"""

from pathlib import Path

from docutils import nodes

TITLE = "What is so"


def fold(app, page) -> None:
    """Turn the sections of that name into folds, before the table of contents takes them in."""
    for section in list(page.findall(nodes.section)):
        if isinstance(section[0], nodes.title) and section[0].astext() == TITLE:
            anchors = "".join(f'<span id="{name}"></span>' for name in section["ids"])
            start = f'<details class="outcome">{anchors}<summary>{TITLE}</summary>'
            raw = [nodes.raw("", text, format="html") for text in (start, "</details>")]
            section.replace_self([raw[0], *section.children[1:], raw[1]])


def add_script(app) -> None:
    # Not in _static: Jupyter Book loads all scripts there, once more and before the page is there.
    app.config.html_static_path.append(str(Path(__file__).with_name("static")))


def setup(app):
    app.connect("builder-inited", add_script)
    app.connect("doctree-read", fold, priority=400)
    app.add_js_file("guess.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
