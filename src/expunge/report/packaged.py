"""Styles and script that come with the package."""

from importlib.resources import files

TEMPLATES = "templates"


def packaged(name: str) -> str:
    """Return the text of a file beside the templates."""
    return files("expunge.report").joinpath(TEMPLATES, name).read_text("utf-8")
