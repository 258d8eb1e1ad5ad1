"""Pages from templates: one file each, with styles and script inside, and a policy that lets nothing else be loaded."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from expunge._version import __version__
from expunge.audit.audit_json import read_audit
from expunge.audit.record import AUDIT_FILE, REPORT_FILE, Audit
from expunge.base.disk import sha256_file, write_text
from expunge.base.errors import DataError, ExpungeError
from expunge.base.visible import visible
from expunge.base.words import plural
from expunge.report import words
from expunge.report.answers import first_screen
from expunge.report.comparison import Side, differences, figure_groups, headline_lines, read_sides
from expunge.report.drawing.svg import draw_named
from expunge.report.drawings import TEMPLATES, packaged, write_drawings
from expunge.report.panels.gallery import read_rows
from expunge.report.shared_panels import compare_panels
from expunge.report.view import cards_of, find_audit, groups_of, panels_of, undefined_figures, undefined_panels

PIXELATED_BELOW = 100
DAMAGES = (ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError, ValueError)


def write_report(folder: Path, *, images: bool = True, out: Path | None = None) -> Path:
    """Write the page of the audit in `folder`, and return its place.

    Args:
        folder: what `expunge audit` wrote, or `expunge run --audit`.
        images: show the forgotten images, where the audit kept them.
        out: the page; default: report.html beside audit.json.

    Raises:
        DataError: there is no audit, or a file of it is missing or damaged.
        OutputError: the page can't be written.
    """
    folder = find_audit(folder)
    out = folder / REPORT_FILE if out is None else out
    with _blaming_tables(str(folder)):
        content = render_report(read_audit(folder), images=images)
    write_text(out, content)
    return out


def render_report(audit: Audit, *, images: bool) -> str:
    """Return the page of one audit as HTML."""
    settings, cards = audit.subject.settings, cards_of(audit)
    content = {
        "audit": audit,
        "audit_sha256": sha256_file(audit.folder / AUDIT_FILE),
        "first": first_screen(audit),
        "cards": cards,
        "undefined_cards": {card.reason: (card.heading,) for card in cards if card.figure is None},
        "groups": groups_of(audit.figures, audit.subject.words),
        "undefined": undefined_figures(audit.figures),
        "panels": panels_of(audit),
        "rows": read_rows(audit, images=images),
        "settings": json.dumps(settings, indent=2, ensure_ascii=False) if settings else "",
    }
    return render("report.html.j2", content)


def write_comparison(folders: Sequence[Path], out: Path, names: Sequence[str] = ()) -> Path:
    """Write one page that shows the audits in `folders` side by side, and return its place.

    Args:
        folders: what `expunge audit` wrote, or `expunge run --audit`.
        out: the page.
        names: what each is called; default: its method.

    Raises:
        DataError: there are fewer than two folders or more than seven, names don't fit, or one has no whole audit.
        OutputError: the page can't be written.
    """
    with _blaming_tables("folders"):
        content = render_comparison(read_sides(folders, names))
    write_text(out, content)
    return out


def write_report_drawings(folder: Path, out: Path) -> tuple[Path, ...]:
    """Write the drawings of the audit in `folder` as SVG files to the folder `out`, and return them.

    Raises:
        DataError: there is no audit, or a file of it is missing or damaged.
        OutputError: a file can't be written.
    """
    with _blaming_tables(str(folder)):
        panels = panels_of(read_audit(find_audit(folder)))
    return write_drawings(chain.from_iterable(panels.values()), out)


def write_comparison_drawings(folders: Sequence[Path], out: Path, names: Sequence[str] = ()) -> tuple[Path, ...]:
    """Write the drawings that show all audits in `folders` as SVG files to the folder `out`, and return them.

    Args:
        folders: what `expunge audit` wrote, or `expunge run --audit`.
        out: made if missing.
        names: what each is called; default: its method.

    Raises:
        DataError: there are fewer than two folders or more than seven, names don't fit, or one has no whole audit.
        OutputError: a file can't be written.
    """
    with _blaming_tables("folders"):
        panels = compare_panels(read_sides(folders, names))
    return write_drawings(panels, out)


def render_comparison(sides: Sequence[Side]) -> str:
    """Return the page of several audits as HTML."""
    content = {
        "sides": sides,
        "first": [first_screen(side.audit) for side in sides],
        "warnings": differences(sides),
        "headline": headline_lines(sides),
        "groups": figure_groups(sides),
        "panels": compare_panels(sides),
        "limits": list(dict.fromkeys(sentence for side in sides for sentence in side.audit.limits)),
    }
    return render("compare.html.j2", content)


def render(template: str, content: Mapping[str, Any]) -> str:
    """Return a template filled with `content`; every text in it is escaped."""
    style, script = packaged("drawing.css") + packaged("style.css"), packaged("page.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    own = {"style": Markup(style), "script": Markup(script), "policy": policy}  # noqa: S704 - our own files
    return _environment().get_template(template).render({**content, **own, "version": __version__})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("expunge.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    said = (words.say_figure, words.say_interval, words.say_target, words.say_unit, words.say_status)
    for function in (visible, *said):
        environment.filters[function.__name__] = function
    environment.globals.update(draw=draw_named, plural=plural, slug=words.slug, pixelated_below=PIXELATED_BELOW)
    environment.globals["undefined_panels"] = undefined_panels
    return environment


@contextmanager
def _blaming_tables(name: str) -> Iterator[None]:
    """Turn what a damaged table leads to into an error that says so."""
    try:
        yield
    except ExpungeError:
        raise
    except DAMAGES as error:
        raise DataError(name, "tables as an audit writes them", f"{error!r}", "make the audit anew") from error


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
