"""A Sphinx extension: the chapters have numbers, their sections have none.

``_toc.yml`` says ``numbered: true``, all that Jupyter Book 2's migrator reads; Sphinx takes it for every depth.
"""

from sphinx import addnodes


def chapters_alone(app, doctree) -> None:
    """Keep the numbers of a table of contents to its first level."""
    for toctree in doctree.findall(addnodes.toctree):
        toctree["numbered"] = min(toctree.get("numbered", 0), 1)


def setup(app):
    # sphinx-external-toc puts the tables of contents in by a transform, before this event.
    app.connect("doctree-read", chapters_alone, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
