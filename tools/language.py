"""A Sphinx extension: a page that names its language in its front matter (``lang: zh-Hans``) is marked so.

Browsers choose the fonts by it, and screen readers the voice.
"""

from docutils import nodes


def mark(app, doctree) -> None:
    """Wrap the page's text in an element with that language."""
    if lang := app.env.metadata[app.env.docname].get("lang"):
        doctree.insert(0, nodes.raw("", f'<div lang="{lang}">', format="html"))
        doctree.append(nodes.raw("", "</div>", format="html"))


def setup(app):
    app.connect("doctree-read", mark, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
