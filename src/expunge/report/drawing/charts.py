"""Charts of categories and curves: bars, dots on a shared scale, lines."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from expunge.report.drawing.svg import (
    CHARACTER,
    LINE,
    WIDTH,
    Drawing,
    Scale,
    bottom_axis,
    element,
    fit_range,
    label,
    label_room,
    left_axis,
    line,
    mark,
    path,
    text,
)

AXIS_ROOM = 42.0
BAR = 11.0
CURVE_HEIGHT = 270.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A value axis: its title, and limits that it reaches at least."""

    title: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its name and, at its end, its value in words."""

    name: str
    value: float
    said: str
    style: str = "after"


@dataclass(frozen=True, slots=True)
class Dots:
    """One value (or none) for each category, drawn as marks of one style and shape."""

    values: tuple[float | None, ...]
    style: str
    shape: str = "circle"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points (x, y)."""

    points: tuple[tuple[float, float], ...]
    style: str


def draw_bars(bars: Sequence[Bar], axis: Axis, alternative: str) -> Drawing:
    """Return horizontal bars from zero, the first at the top."""
    low, high = fit_range([bar.value for bar in bars], low=min(0.0, axis.low or 0.0), high=axis.high)
    room = label_room([bar.name for bar in bars])
    said = CHARACTER * max(len(bar.said) for bar in bars) + 8
    scale = Scale(low, high, room, WIDTH - said)
    bottom = LINE * len(bars) + 8
    content = [*bottom_axis(scale, 4, bottom, axis.title)]
    for number, bar in enumerate(bars):
        middle = 4 + LINE * (number + 0.5)
        start, end = sorted((scale(0.0), scale(bar.value)))
        box = {"x": start, "y": middle - BAR / 2, "width": max(end - start, 0.8), "height": BAR}
        content += [
            label(room - 8, middle + 4, bar.name),
            element("rect", {**box, "class": f"bar {bar.style}"}),
            text(end + 5, middle + 4, bar.said),
        ]
    return Drawing(WIDTH, bottom + AXIS_ROOM, tuple(content), alternative)


def draw_dots(names: Sequence[str], dots: Sequence[Dots], axis: Axis, alternative: str) -> Drawing:
    """Return one line a category, the first at the top, with a mark for each value and a bar between them."""
    every = [value for series in dots for value in series.values if value is not None]
    low, high = fit_range(every, low=axis.low, high=axis.high)
    room = label_room(names)
    scale = Scale(low, high, room, WIDTH - 12)
    bottom = LINE * len(names) + 8
    content = [*bottom_axis(scale, 4, bottom, axis.title)]
    for number, name in enumerate(names):
        middle = 4 + LINE * (number + 0.5)
        content.append(label(room - 8, middle + 4, name))
        content += _dots_of_row(dots, number, scale, middle)
    return Drawing(WIDTH, bottom + AXIS_ROOM, tuple(content), alternative)


def draw_curves(
    curves: Sequence[Curve], across: Axis, up: Axis, alternative: str, caption: str = "", height: float = CURVE_HEIGHT
) -> Drawing:
    """Return curves over a shared pair of axes."""
    points = [point for curve in curves for point in curve.points]
    x_range = fit_range([x for x, _ in points], low=across.low, high=across.high)
    y_range = fit_range([y for _, y in points], low=up.low, high=up.high)
    x, y = Scale(*x_range, 48, WIDTH - 14), Scale(*y_range, height, 26)
    content = [*bottom_axis(x, 26, height, across.title), *left_axis(y, 48, WIDTH - 14, up.title)]
    for curve in curves:
        placed = [(x(across_value), y(up_value)) for across_value, up_value in curve.points]
        content.append(element("path", {"d": path(placed), "class": f"curve {curve.style}"}))
    return Drawing(WIDTH, height + AXIS_ROOM, tuple(content), alternative, caption)


def _dots_of_row(dots: Sequence[Dots], number: int, scale: Scale, middle: float) -> list[Markup]:
    placed = [(scale(value), each) for each in dots if (value := each.values[number]) is not None]
    if not placed:
        return [text(scale.start, middle + 4, "not defined", "tick")]
    ends = sorted(x for x, _ in placed)
    between = [line(ends[0], middle, ends[-1], middle, "between")] if len(placed) > 1 else []
    return between + [mark(x, middle, each.style, each.shape) for x, each in placed]
