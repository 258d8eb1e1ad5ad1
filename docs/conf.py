"""The documentation site: `make docs` writes it to build/docs."""

import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

import expunge

project = "expunge"
author = "The expunge developers"
copyright = "2026, The expunge developers"
version = release = expunge.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["**.ipynb_checkpoints"]
html_theme = "furo"
html_title = f"expunge {release}"

myst_heading_anchors = 4
nb_execution_mode = os.environ.get("EXPUNGE_DOCS_NOTEBOOKS", "cache")
nb_execution_timeout = 300
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

SOURCES = os.environ.get("EXPUNGE_SOURCES", "")
"""Where the repository's files are seen in a browser, such as https://host/owner/name/blob/main; empty: nowhere."""


def keep_to_the_site(app: Any, doctree: nodes.document) -> None:  # noqa: ANN401 - Sphinx's application
    """Point links to files outside docs/ to the repository; without an address for it, leave their text alone."""
    root = Path(app.srcdir).parent
    for link in list(doctree.findall(addnodes.pending_xref)) + list(doctree.findall(addnodes.download_reference)):
        target = (Path(app.srcdir) / app.env.docname).parent.joinpath(link["reftarget"]).resolve()
        if not target.is_relative_to(root) or target.is_relative_to(app.srcdir):
            continue
        path = target.relative_to(root).as_posix() + (".md" if target.with_suffix(".md").is_file() else "")
        new = nodes.reference(refuri=f"{SOURCES}/{path}") if SOURCES else nodes.inline()
        new += link.children
        link.replace_self(new)


def setup(app: Any) -> None:  # noqa: ANN401 - Sphinx's application
    """Register what this file adds."""
    app.connect("doctree-read", keep_to_the_site)
