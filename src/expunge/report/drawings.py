"""Drawings as SVG files of their own, for documents: with legend and style inside, in dark and light."""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from expunge.base.disk import write_text
from expunge.base.folders import locked_folder
from expunge.report.drawing.svg import CHARACTER, Drawing, draw_named, element, line, mark, text
from expunge.report.panels.panel import Key, Panel
from expunge.report.words import shorten

EDGE = 12.0
ROW = 20.0
GAP = 24.0
SWATCH = 26.0
LONGEST = 50
TEMPLATES = "templates"


def write_drawings(panels: Iterable[Panel], out: Path) -> tuple[Path, ...]:
    """Write the drawings of `panels` to the folder `out`, made if missing, and return the files.

    Those that belong together stand side by side in one file.

    Raises:
        OutputError: a file can't be written.
    """
    written = []
    with locked_folder(out):
        for panel in panels:
            starts = range(0, len(panel.drawings), panel.together)
            groups = [panel.drawings[start : start + panel.together] for start in starts]
            for number, group in enumerate(groups, 1):
                name = panel.name if len(groups) == 1 else f"{panel.name}-{number}"
                written.append(out / f"{name}.svg")
                write_text(written[-1], render_drawings(panel, group, name))
    return tuple(written)


def render_drawings(panel: Panel, group: Sequence[Drawing], name: str) -> str:
    """Return drawings of `panel`, side by side under its legend, as a whole SVG document."""
    width = sum(drawing.width for drawing in group) + GAP * (len(group) - 1)
    legend, top = _draw_legend(panel.keys, width)
    heading = ROW if any(drawing.caption for drawing in group) else 0.0
    parts, x = [*legend], 0.0
    for drawing in group:
        if drawing.caption:
            longest = min(LONGEST, int(drawing.width / CHARACTER))
            parts.append(text(x, top + ROW - 6, shorten(drawing.caption, longest), "heading"))
        parts.append(_move(drawing.content, x, top + heading))
        x += drawing.width + GAP
    width += 2 * EDGE
    height = max(drawing.height for drawing in group) + top + heading + 2 * EDGE
    content = (
        element("style", {}, Markup(packaged("drawing.css"))),  # noqa: S704 - our own file
        element("rect", {"width": width, "height": height, "class": "sheet"}),
        _move(parts, EDGE, EDGE),
    )
    alternative = " ".join(drawing.alternative for drawing in group)
    caption = ", ".join(drawing.caption for drawing in group if drawing.caption)
    whole = Drawing(width, height, content, alternative, caption)
    return draw_named(whole, name, panel.title, {"xmlns": "http://www.w3.org/2000/svg"}) + "\n"


def packaged(name: str) -> str:
    """Return the text of a file beside the templates."""
    return files("expunge.report").joinpath(TEMPLATES, name).read_text("utf-8")


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
