"""Drawings as SVG files of their own, for documents: with legend and style inside, in dark and light."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from expunge.disk import write_text
from expunge.errors import OutputError
from expunge.report.packaged import packaged
from expunge.report.panel import Key, Panel
from expunge.report.svg import CHARACTER, Drawing, draw_named, element, line, mark, text
from expunge.report.words import shorten

EDGE = 12.0
ROW = 20.0
SWATCH = 26.0
LONGEST = 50


def write_drawings(panels: Iterable[Panel], out: Path) -> tuple[Path, ...]:
    """Write every drawing of `panels` to the folder `out`, made if missing, and return the files.

    Raises:
        OutputError: a file can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(out), "a folder that can be made", f"{error.strerror}") from error
    written = []
    for panel in panels:
        for number, drawing in enumerate(panel.drawings, 1):
            name = panel.name if len(panel.drawings) == 1 else f"{panel.name}-{number}"
            written.append(out / f"{name}.svg")
            write_text(written[-1], render_drawing(panel, drawing, name))
    return tuple(written)


def render_drawing(panel: Panel, drawing: Drawing, name: str) -> str:
    """Return one drawing of `panel` as a whole SVG document."""
    legend, used = _draw_legend(panel.keys, drawing.width)
    heading = (text(0, ROW - 6, shorten(drawing.caption, LONGEST), "heading"),) if drawing.caption else ()
    top = ROW * len(heading) + used
    width, height = drawing.width + 2 * EDGE, drawing.height + top + 2 * EDGE
    parts = (*heading, _move(legend, 0, top - used), _move(drawing.content, 0, top))
    content = (
        element("style", {}, Markup(packaged("drawing.css"))),  # noqa: S704 - our own file
        element("rect", {"width": width, "height": height, "class": "sheet"}),
        _move(parts, EDGE, EDGE),
    )
    whole = Drawing(width, height, content, drawing.alternative, drawing.caption)
    return draw_named(whole, name, panel.title, {"xmlns": "http://www.w3.org/2000/svg"}) + "\n"


def _move(parts: Sequence[Markup], right: float, down: float) -> Markup:
    return element("g", {"transform": f"translate({right:.0f} {down:.0f})"}, *parts)


def _draw_legend(keys: Sequence[Key], width: float) -> tuple[tuple[Markup, ...], float]:
    """Return the entries of a legend, row by row, and how high they are."""
    parts: list[Markup] = []
    x = y = 0.0
    for key in keys:
        name = shorten(key.name, LONGEST)
        needed = SWATCH + CHARACTER * len(name) + 14
        if x > 0 and x + needed > width:
            x, y = 0.0, y + ROW
        parts += [_draw_swatch(key, x, y + ROW / 2), text(x + SWATCH, y + ROW / 2 + 4, name, "label")]
        x += needed
    return tuple(parts), y + ROW + 4 if keys else 0.0


def _draw_swatch(key: Key, x: float, y: float) -> Markup:
    if key.shape == "line":
        return line(x, y, x + 20, y, f"curve {key.style}")
    if key.shape == "area":
        return element("rect", {"x": x + 2, "y": y - 6, "width": 16, "height": 12, "class": f"area {key.style}"})
    return mark(x + 10, y, key.style, key.shape)
