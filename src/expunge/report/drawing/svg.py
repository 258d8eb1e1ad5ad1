"""Pictures as SVG text: elements, scales and axes. Colours are classes: the page's style sheet decides on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from types import MappingProxyType

from markupsafe import Markup, escape

from expunge.base.visible import visible
from expunge.report.words import shorten

WIDTH = 440.0
CHARACTER = 7.2
LINE = 18.0
MARK = 4.5
Attributes = Mapping[str, str | float]
NOTHING: Attributes = MappingProxyType({})


def element(name: str, attributes: Attributes, *children: str) -> Markup:
    """Return one element; values and plain text are escaped, coordinates rounded to a tenth of a unit."""
    written = Markup("").join(Markup(' {}="{}"').format(key, _plain(value)) for key, value in attributes.items())
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, inside)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture with the words that stand for it.

    Args:
        width: in units of the picture; about a pixel on a wide screen.
        height: the same.
        content: elements.
        alternative: what it shows, in words, for who can't see it.
        caption: a short line above it, where several stand side by side.
    """

    width: float
    height: float
    content: tuple[Markup, ...]
    alternative: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values in low..high to coordinates in start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of `value`; values outside are put on the edge."""
        span = self.high - self.low
        share = 0.5 if span == 0 else (value - self.low) / span
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """Return about `count` round values within the range."""
        step = _round_step((self.high - self.low) / count)
        first = floor(self.low / step)
        found = (round((first + number) * step, 10) for number in range(count * 3))
        return tuple(value for value in found if self.low - step / 1e6 <= value <= self.high + step / 1e6)


def draw_named(drawing: Drawing, name: str, title: str, more: Attributes = NOTHING) -> Markup:
    """Return a drawing as SVG that a screen reader announces by its title and alternative; `name` is unique."""
    attributes: Attributes = {
        **more,
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "class": "drawing",
        "viewBox": f"0 0 {drawing.width:.0f} {drawing.height:.0f}",
        "width": drawing.width,
        "height": drawing.height,
    }
    shown = f"{title} ({visible(drawing.caption)})" if drawing.caption else title
    return element(
        "svg",
        attributes,
        element("title", {"id": f"{name}-title"}, shown),
        element("desc", {"id": f"{name}-desc"}, drawing.alternative),
        *drawing.content,
    )


def fit_range(values: Sequence[float], *, low: float | None = None, high: float | None = None) -> tuple[float, float]:
    """Return a range that holds all finite `values`, and `low` and `high` where given; never an empty one."""
    finite = [value for value in values if isfinite(value)] + [limit for limit in (low, high) if limit is not None]
    least, most = (min(finite), max(finite)) if finite else (0.0, 1.0)
    return (least, most) if most > least else (least, least + 1.0)


def text(x: float, y: float, content: str, kind: str = "tick", anchor: str = "start") -> Markup:
    """Return a line of text."""
    return element("text", {"x": x, "y": y, "class": kind, "text-anchor": anchor}, content)


def label(x: float, y: float, content: str, anchor: str = "end") -> Markup:
    """Return a name from the data: unseen characters are written out, a long one is cut and whole in its tooltip."""
    short = shorten(content)
    tooltip = () if short == content else (element("title", {}, visible(content)),)
    return element("text", {"x": x, "y": y, "class": "label", "text-anchor": anchor}, short, *tooltip)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line."""
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": kind})


def mark(x: float, y: float, style: str, shape: str = "circle") -> Markup:
    """Return a mark: a circle, square or diamond."""
    attributes = {"class": f"mark {style}"}
    if shape == "circle":
        return element("circle", {"cx": x, "cy": y, "r": MARK, **attributes})
    if shape == "square":
        side = 1.8 * MARK
        return element("rect", {"x": x - side / 2, "y": y - side / 2, "width": side, "height": side, **attributes})
    reach = 1.3 * MARK
    corners = ((x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y))
    return element("path", {"d": path(corners) + "Z", **attributes})


def path(points: Sequence[tuple[float, float]]) -> str:
    """Return the path through `points`."""
    return "M" + "L".join(f"{_plain(x)} {_plain(y)}" for x, y in points)


def label_room(labels: Sequence[str]) -> float:
    """Return how much space the longest of `labels` takes."""
    return CHARACTER * max((len(shorten(label)) for label in labels), default=0) + 12


def bottom_axis(scale: Scale, top: float, bottom: float, title: str) -> tuple[Markup, ...]:
    """Return vertical grid lines with numbers below them, and a title below those."""
    parts = []
    for value in scale.ticks():
        x = scale(value)
        parts += [line(x, top, x, bottom, "grid"), text(x, bottom + 16, say_tick(value), "tick", "middle")]
    return (*parts, text((scale.start + scale.end) / 2, bottom + 34, title, "axis", "middle"))


def left_axis(scale: Scale, left: float, right: float, title: str) -> tuple[Markup, ...]:
    """Return horizontal grid lines with numbers left of them, and a title above."""
    parts = []
    for value in scale.ticks():
        y = scale(value)
        parts += [line(left, y, right, y, "grid"), text(left - 6, y + 4, say_tick(value), "tick", "end")]
    return (*parts, text(0, min(scale.start, scale.end) - 12, title, "axis"))


def say_tick(value: float) -> str:
    """Return a tick's number without needless digits.

    >>> say_tick(0.0), say_tick(0.25), say_tick(1500.0), say_tick(-2.0)
    ('0', '0.25', '1,500', '-2')
    """
    return f"{value:,.0f}" if value == round(value) else f"{value:.4g}"


def _round_step(rough: float) -> float:
    magnitude = 10.0 ** floor(log10(rough))
    return next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
