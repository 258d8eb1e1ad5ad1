"""Templates filled in, every text escaped."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from expunge._version import __version__
from expunge.base.visible import visible


def render(template: str, content: Mapping[str, Any]) -> str:
    """Return a template filled with `content`."""
    return _environment().get_template(template).render({"version": __version__, "signed_in": False, **content})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("expunge.requests.desk", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["named"] = _named
    return environment


def _named(text: str) -> Markup:
    """Return a hash, its first digits in sight and all of it on demand."""
    return Markup('<code title="{}">{}…</code>').format(text, escape(text[:12]))
