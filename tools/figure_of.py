"""A Sphinx extension: ``{figure-of} fig-name`` shows the picture of another page's figure, and leads to it.

So the front page shows what the lessons have drawn, and nothing is drawn or stored twice.
"""

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective


class Borrowed(nodes.General, nodes.Element):
    """The place of a picture, until all pages are read."""


class FigureOf(SphinxDirective):
    required_arguments = 1

    def run(self):
        return [Borrowed("", name=self.arguments[0])]


def fill(app, page, docname) -> None:
    """Put the pictures in."""
    env = app.builder.env
    for place in list(page.findall(Borrowed)):
        name = place["name"]
        home, anchor = env.get_domain("std").anonlabels.get(name, (None, None))
        figures = env.get_doctree(home).findall(nodes.figure) if home else ()
        figure = next((figure for figure in figures if anchor in figure["ids"]), None)
        picture = figure and next(iter(figure.findall(nodes.image)), None)
        if picture is None:
            raise ExtensionError(f"{docname}: no figure {name!r} to be shown")
        link = nodes.reference("", "", picture.deepcopy(), internal=True)
        link["refuri"] = f"{app.builder.get_relative_uri(docname, home)}#{anchor}"
        place.replace_self(nodes.container("", link, classes=["borrowed"]))


def setup(app):
    app.add_directive("figure-of", FigureOf)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
