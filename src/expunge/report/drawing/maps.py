"""Charts of two dimensions: a matrix of counts, a scatter of points, a map of predicted classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int
from markupsafe import Markup

from expunge.base.visible import visible
from expunge.report.drawing.svg import (
    WIDTH,
    Attributes,
    Drawing,
    Scale,
    element,
    fit_range,
    label,
    label_room,
    mark,
    text,
)

SIDE = 220.0
CELL = 30.0
SHADES = 6
UPRIGHT = 3
HEADING = 20.0


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a style."""

    x: float
    y: float
    style: str


@dataclass(frozen=True, slots=True)
class Place:
    """A named place in a scatter or a map."""

    x: float
    y: float
    name: str


def draw_matrix(
    counts: Mapping[tuple[str, str], int], rows: Sequence[str], columns: Sequence[str], alternative: str
) -> Drawing:
    """Return a table of counts, darker where there are more; `counts` is by (row, column)."""
    left, top = label_room(rows), max(label_room(columns), HEADING)
    most = max(counts.values(), default=1)
    content = [text(0, 12, "label in the data ↓ · answer now →", "axis")]
    turned = max(map(len, columns), default=0) > UPRIGHT
    for number, name in enumerate(columns):
        x = left + CELL * (number + (0.6 if turned else 0.5))
        turn = {"transform": f"rotate(-60 {x:.1f} {top + 14:.1f})"} if turned else {}
        content.append(element("g", turn, label(x, top + 14, name, "start" if turned else "middle")))
    for number, row in enumerate(rows):
        y = top + 20 + CELL * number
        content.append(label(left - 8, y + CELL / 2 + 4, row))
        for place, column in enumerate(columns):
            content += _cell(left + CELL * place, y, counts.get((row, column), 0), most)
    width = left + CELL * len(columns) + top * 0.6
    return Drawing(max(width, WIDTH / 2), top + 24 + CELL * len(rows), tuple(content), alternative)


def draw_scatter(
    points: Sequence[Point], diamonds: Sequence[Place], places: Sequence[Place], alternative: str, caption: str
) -> Drawing:
    """Return small dots in a square without axes, diamonds with a name each above them, and names at places."""
    every: Sequence[Point | Place] = (*points, *diamonds)
    x_range, y_range = fit_range([each.x for each in every]), fit_range([each.y for each in every])
    x, y = Scale(*x_range, 10, WIDTH - 10), Scale(*y_range, WIDTH - 10, 10)
    content = [element("rect", {"x": 0.5, "y": 0.5, "width": WIDTH - 1, "height": WIDTH - 1, "class": "frame"})]
    dots: dict[str, list[str]] = {}
    for point in points:
        dots.setdefault(point.style, []).append(f"M{x(point.x):.1f} {y(point.y):.1f}h0")
    content += [element("path", {"d": "".join(each), "class": f"dots {style}"}) for style, each in dots.items()]
    for diamond in diamonds:
        drawn = mark(x(diamond.x), y(diamond.y), "forgotten", "diamond")
        content.append(element("g", {}, drawn, element("title", {}, visible(diamond.name))))
    content += [text(x(place.x), y(place.y), place.name, "name", "middle") for place in places]
    return Drawing(WIDTH, WIDTH, tuple(content), alternative, caption)


def draw_class_map(
    grid: Int[np.ndarray, "n n"], styles: Mapping[int, str], marks: Sequence[Place], alternative: str, caption: str
) -> Drawing:
    """Return predicted classes as areas, lowest row of `grid` at the bottom; `marks` lie at 0..1 of each side."""
    height, width = grid.shape
    side, rise = SIDE / width, SIDE / height
    areas: dict[str, list[str]] = {}
    for row in range(height):
        for start, length, value in _runs(grid[row]):
            y = SIDE - (row + 1) * rise
            run = f"M{start * side:.1f} {y:.1f}h{length * side:.1f}v{rise:.1f}h{-length * side:.1f}z"
            areas.setdefault(styles[value], []).append(run)
    content = [element("path", {"d": "".join(runs), "class": f"area {style}"}) for style, runs in areas.items()]
    for place in marks:
        x, y = place.x * SIDE, SIDE - place.y * SIDE
        toward = -9 if x > SIDE / 2 else 9
        content += [
            mark(x, y, "spot", "diamond"),
            text(x + toward, y + 4, place.name, "name", "end" if toward < 0 else "start"),
        ]
    return Drawing(SIDE, SIDE, tuple(content), alternative, caption)


def _cell(x: float, y: float, count: int, most: int) -> list[Markup]:
    shade = -(-SHADES * count // most)
    box: Attributes = {
        "x": x + 1,
        "y": y + 1,
        "width": CELL - 2,
        "height": CELL - 2,
        "rx": 3,
        "class": f"cell shade{shade}",
    }
    number = [text(x + CELL / 2, y + CELL / 2 + 4, str(count), f"count shade{shade}", "middle")] if count else []
    return [element("rect", box), *number]


def _runs(values: Int[np.ndarray, " n"]) -> list[tuple[int, int, int]]:
    """Return (start, length, value) of each run of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(start, end - start, int(values[start])) for start, end in pairwise(edges)]
