"""The plots of a grid, as SVG.

Accuracy against k, damage against exact and robust forgetting, streams of requests, distance to a reference.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expunge.bench.records import MeanOverSets, Record, group_records

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
MARKERS = "os^Dv<>P"
FILLS: tuple[Literal["full", "none", "left"], ...] = ("full", "none", "left")
"""How markers are filled the first time that colours are used, the second, the third."""
SIZE, LARGER = 4.0, 1.5
LEGEND_COLUMNS, LEGEND_LINE = 4, 0.2
ACCURACIES, CHURNS = ("test", "retain"), ("test churn, %", "retain churn, %")
COUNT, REQUEST = 2, 3
PERCENTS = (0, 1, 3, 10, 30, 100)
HELD, GAP = "all so far, %", "gap"
FORGOTTEN = {"goal, %": "rows forgotten as they are, %", "robust, %": "transformed copies that stay forgotten, %"}


@dataclass(frozen=True, slots=True)
class Curve:
    """The records of one method, on one classifier, with one goal, along k or along requests."""

    label: str
    style: int
    positions: tuple[int, ...]
    records: tuple[tuple[Record, ...], ...]

    def estimates(self, column: str) -> list[MeanOverSets]:
        """Return a column's estimate at each position."""
        return [MeanOverSets.of([record.figures[column] for record in chosen]) for chosen in self.records]


def make_plots(records: Sequence[Record], title: str) -> dict[str, str]:
    """Return the plots that the records allow, by name; the same records give the same bytes."""
    columns = {name for name in records[0].figures if all(isfinite(each.figures[name]) for each in records)}
    if GAP in columns:
        return {"gap": _draw_gaps(records, title)}
    accuracy = next((name for name in ACCURACIES if name in columns), None)
    churn = next((name for name in CHURNS if name in columns), None)
    if accuracy is None or churn is None:
        return {}
    if HELD in columns:
        return {"stream": _draw_stream(find_curves(records, along=REQUEST), accuracy, title)}
    curves = find_curves(records, along=COUNT)
    plots = {"trade-off": _draw_trade_off(curves, churn, title)}
    if any(len(curve.positions) > 1 for curve in curves):
        plots["accuracy"] = _draw_accuracy(curves, accuracy, title)
    return plots


def find_curves(records: Sequence[Record], *, along: int) -> list[Curve]:
    """Return one curve for each method, classifier, goal (and k, along requests); `along` is the group's position."""
    found: dict[tuple[object, ...], dict[int, list[Record]]] = {}
    for record in records:
        rest = tuple(part for position, part in enumerate(record.group) if position != along)
        position = record.group[3] if along == REQUEST else record.group[2]
        found.setdefault((record.label, *rest), {}).setdefault(position, []).append(record)
    differ = [len({key[position] for key in found}) > 1 for position in range(len(next(iter(found))))]
    curves = []
    for style, (key, by_position) in enumerate(found.items()):
        words = [str(key[0]), *(str(part) for part, shown in zip(key[1:], differ[1:], strict=True) if shown)]
        positions = tuple(sorted(by_position))
        curves.append(Curve(", ".join(words), style, positions, tuple(tuple(by_position[each]) for each in positions)))
    return curves


def _draw_accuracy(curves: Sequence[Curve], column: str, title: str) -> str:
    figure, axes = _figure(title, 1)
    for curve in curves:
        _plot(axes[0], curve, list(curve.positions), curve.estimates(column))
    _mark_before(axes[0], curves, column)
    axes[0].set_xscale("log", base=2)
    ticks = sorted({position for curve in curves for position in curve.positions})
    axes[0].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[0].set_xlabel("rows to forget (k)")
    axes[0].set_ylabel(f"{column} accuracy, %")
    _keep_to_percent(axes[0])
    return _to_svg(figure, axes)


def _draw_trade_off(curves: Sequence[Curve], column: str, title: str) -> str:
    """Draw a point for each method and k: to the right what is forgotten, as it is and as copies, upward the cost.

    The more rows, the larger the point.
    """
    figure, axes = _figure(title, len(FORGOTTEN))
    counts = sorted({position for curve in curves for position in curve.positions})
    for axis, (share, name) in zip(axes, FORGOTTEN.items(), strict=True):
        for curve in curves:
            shares, damage = [each.mean for each in curve.estimates(share)], curve.estimates(column)
            axis.plot(shares, [each.mean for each in damage], ":", color=choose_style(curve)["color"], linewidth=1.2)
            for x, each, position in zip(shares, damage, curve.positions, strict=True):
                size = SIZE + LARGER * counts.index(position)
                axis.errorbar(x, each.mean, each.half or 0.0, label=curve.label, markersize=size, **choose_style(curve))
        axis.set_xlim(-2, 102)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_ylim(-0.1, 130)
        axis.set_yticks(PERCENTS, list(map(str, PERCENTS)))
        axis.set_xlabel(name)
    axes[0].set_ylabel(f"{column.removesuffix(', %')}: answers changed, %")
    if len(counts) > 1:
        named = ", ".join(map(str, counts))
        axes[0].set_title(f"rows to forget, from the smallest point to the largest: {named}", fontsize=8, loc="left")
    return _to_svg(figure, axes)


def _draw_stream(curves: Sequence[Curve], accuracy: str, title: str) -> str:
    figure, axes = _figure(title, 2)
    names = (f"{accuracy} accuracy, %", "rows of all requests still forgotten, %")
    for axis, column, name in zip(axes, (accuracy, HELD), names, strict=True):
        for curve in curves:
            _plot(axis, curve, list(curve.positions), curve.estimates(column))
        if column == accuracy:
            _mark_before(axis, curves, column)
        axis.set_xticks(sorted({position for curve in curves for position in curve.positions}))
        axis.set_xlabel("requests so far")
        axis.set_ylabel(name)
        _keep_to_percent(axis)
    return _to_svg(figure, axes)


def _draw_gaps(records: Sequence[Record], title: str) -> str:
    """Draw a panel for each group: a method a line, to the right how far it is from the reference."""
    groups = group_records(records)
    differ = [len({group[position] for group in groups}) > 1 for position in range(4)]
    figure, axes = _figure(title, len(groups), height=1.5 + 0.25 * max(map(len, groups.values())))
    for axis, (group, by_label) in zip(axes, groups.items(), strict=True):
        for position, chosen in enumerate(by_label.values()):
            gap = MeanOverSets.of([record.figures[GAP] for record in chosen])
            colour = COLOURS[0] if chosen[0].competes else COLOURS[-1]
            axis.errorbar(gap.mean, position, xerr=gap.half or 0.0, color=colour, marker="o", markersize=5, capsize=2)
        axis.set_yticks(range(len(by_label)), list(by_label), fontsize=8)
        axis.invert_yaxis()
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xlim(left=-0.1)
        axis.set_xlabel("difference of accuracies, points")
        words = [f"k = {part}" if position == COUNT else str(part) for position, part in enumerate(group)]
        shown = [word for position, word in enumerate(words) if differ[position] or position == COUNT]
        axis.set_title(", ".join(shown), fontsize=9)
    return _to_svg(figure, axes, legend=False)


def _keep_to_percent(axes: Axes) -> None:
    """Cut off what an interval says below 0 or above 100."""
    lowest, highest = axes.get_ylim()
    axes.set_ylim(max(lowest, -2), min(highest, 102))


def _mark_before(axes: Axes, curves: Sequence[Curve], column: str) -> None:
    """Draw the accuracy that there was before, if all curves begin at the same."""
    befores = {one.result["before"][column]["accuracy"] for curve in curves for one in curve.records[0]}
    if len(befores) == 1:
        axes.axhline(befores.pop(), color="black", linestyle="--", linewidth=0.8, label="before")


def _figure(title: str, panels: int, *, height: float = 4.5) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(7.5 if panels == 1 else 5.5 * panels, height), layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False)
    figure.suptitle(title, fontsize=10)
    return figure, [grid[0, position] for position in range(panels)]


def _plot(axes: Axes, curve: Curve, x: Sequence[float], y: Sequence[MeanOverSets]) -> None:
    means, halves = [each.mean for each in y], [each.half or 0.0 for each in y]
    axes.errorbar(x, means, halves, label=curve.label, markersize=5, linewidth=1.2, **choose_style(curve))


def choose_style(curve: Curve) -> dict[str, Any]:
    """Return colour, marker and filling, as matplotlib's keywords: different ones for each of the first 24 curves."""
    times_used, position = divmod(curve.style, len(COLOURS))
    fill = FILLS[times_used % len(FILLS)]
    return {"color": COLOURS[position], "marker": MARKERS[position], "fillstyle": fill, "capsize": 2}


def _to_svg(figure: Figure, axes: Sequence[Axes], *, legend: bool = True) -> str:
    for axis in axes:
        axis.grid(alpha=0.3)
    if legend:
        _add_legend(figure, axes[0])
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "expunge"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Name the curves below the panels, in as many lines as it takes; the figure grows by them."""
    named: dict[str, Any] = {}
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        named.setdefault(label, handle)
    lines = ceil(len(named) / LEGEND_COLUMNS)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LEGEND_LINE * lines)
    columns = ceil(len(named) / lines)
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns, fontsize=8)
