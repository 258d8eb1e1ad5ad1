"""Panels that show several audits at once, each under its name, in its colour and shape."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from expunge.audit.record import Audit
from expunge.base.visible import visible
from expunge.report.comparison import Side, words_of
from expunge.report.drawing.charts import Axis, Bar, Curve, Dots, draw_bars, draw_curves, draw_dots
from expunge.report.drawing.svg import Drawing
from expunge.report.panels.inside import SLICES, draw_slice, style_areas, tsne_panel
from expunge.report.panels.outcome import MOST_CLASSES, pattern_panel
from expunge.report.panels.panel import TITLES, Key, Numbers, Panel, class_name, number_of
from expunge.report.panels.traces import ATTACKS, DIAGONAL, relearning_points, roc_points, say_course
from expunge.report.words import say_value, shorten

MOST_PLANES = 2
NOWHERE = "none of these audits has it"


def compare_panels(sides: Sequence[Side]) -> tuple[Panel, ...]:
    """Return the panels that show all audits at once."""
    return (
        _copies_panel(sides),
        _classes_panel(sides),
        _each_panel(pattern_panel, sides, together=2),
        _slices_panel(sides),
        _each_panel(tsne_panel, sides, together=2),
        _membership_panel(sides),
        _relearning_panel(sides),
        _cka_panel(sides),
        _time_panel(sides),
    )


def _keys(sides: Sequence[Side], shape: str | None = None) -> tuple[Key, ...]:
    return tuple(Key(side.name, side.style, shape or side.shape) for side in sides)


def _by_name(
    sides: Sequence[Side], values: Sequence[Mapping[str, float]], names: Sequence[str]
) -> tuple[list[Dots], Numbers]:
    dots = [
        Dots(tuple(found.get(name) for name in names), side.style, side.shape)
        for side, found in zip(sides, values, strict=True)
    ]
    lines = [
        (name, *("not defined" if (value := found.get(name)) is None else f"{value:.3g}" for found in values))
        for name in names
    ]
    return dots, Numbers.of(("name", *(side.name for side in sides)), lines)


def _dots_panel(
    panel: Panel, sides: Sequence[Side], values: Sequence[Mapping[str, float]], axis: Axis, names: Sequence[str]
) -> Panel:
    """Return `panel` with one mark an audit for each name; not defined where there are no names."""
    if not names:
        return Panel(panel.name, panel.title, panel.reading, reason=NOWHERE)
    dots, numbers = _by_name(sides, values, names)
    means = "; ".join(
        f"{visible(side.name)} {sum(found.values()) / len(found):.3g}" if found else f"{visible(side.name)} not defined"
        for side, found in zip(sides, values, strict=True)
    )
    drawing = draw_dots(names, dots, axis, f"{panel.title} Means: {means}.")
    return Panel(panel.name, panel.title, panel.reading, (drawing,), _keys(sides), numbers)


def _copies_panel(sides: Sequence[Side]) -> Panel:
    words = words_of(sides)
    panel = Panel(
        "copies",
        TITLES["copies"],
        f"Each mark is the share of fresh copies, changed as named, that {words.held}; further right is better.",
    )
    values = [{row["kind"]: 100 * float(row["held"]) for row in side.audit.table("copies")} for side in sides]
    axis = Axis(f"percent of copies that {words.held}", 0, 100)
    return _dots_panel(panel, sides, values, axis, list(dict.fromkeys(name for found in values for name in found)))


def _classes_panel(sides: Sequence[Side]) -> Panel:
    values = [_drops(side.audit) for side in sides]
    worst: dict[str, float] = {}
    for found in values:
        for name, drop in found.items():
            worst[name] = max(drop, worst.get(name, drop))
    names = sorted(worst, key=worst.__getitem__, reverse=True)
    shown = f" The {MOST_CLASSES} of {len(names)} classes that lost most." if len(names) > MOST_CLASSES else ""
    panel = Panel(
        "classes",
        TITLES["classes"],
        f"Each mark is how many points of accuracy a class lost on test images; further left is better.{shown}",
    )
    return _dots_panel(panel, sides, values, Axis("points of accuracy lost", 0), names[:MOST_CLASSES])


def _drops(audit: Audit) -> dict[str, float]:
    return {
        class_name(audit, row["label"]): float(row["accuracy_before"]) - float(row["accuracy_after"])
        for row in audit.table("classes")
        if row["part"] == "test" and row["accuracy_before"] and row["accuracy_after"]
    }


def _each_panel(make: Callable[[Audit], Panel], sides: Sequence[Side], together: int) -> Panel:
    """Return one audit's panel with the drawings of all, each under the name of its audit."""
    panels = [make(side.audit) for side in sides]
    shown = [(side, panel) for side, panel in zip(sides, panels, strict=True) if panel.reason is None]
    if not shown:
        return replace(panels[0], reason=NOWHERE)
    drawings = tuple(
        replace(drawing, caption=", ".join(filter(None, (side.name, drawing.caption))))
        for side, panel in shown
        for drawing in panel.drawings
    )
    return replace(shown[0][1], drawings=drawings, numbers=None, together=together)


def _slices_panel(sides: Sequence[Side]) -> Panel:
    """Return the planes that all audits with any have in common, before the edits and after each."""
    found = [(side, {each.names: each for each in side.audit.slices()}) for side in sides]
    shown = [(side, planes) for side, planes in found if planes]
    if not shown:
        return replace(SLICES, reason=NOWHERE)
    first, before = shown[0]
    common = [names for names in before if all(names in planes for _, planes in shown)][:MOST_PLANES]
    if not common:
        return replace(SLICES, reason="these audits cut planes through different images")
    styles, keys = style_areas(first.audit, [planes[names] for names in common for _, planes in shown])
    drawings: list[Drawing] = []
    for names in common:
        drawings.append(draw_slice(first.audit, before[names], "before", styles, f"{shorten(names[0])}, before"))
        drawings += [draw_slice(side.audit, planes[names], "after", styles, side.name) for side, planes in shown]
    return replace(SLICES, drawings=tuple(drawings), keys=keys, together=1 + len(shown))


def _cka_panel(sides: Sequence[Side]) -> Panel:
    panel = Panel(
        "cka",
        TITLES["cka"],
        f"From the first layer (top) to the last, on the {words_of(sides).rows}: 1 is the same as before, up to "
        "rotation and scale.",
    )
    values = [
        {
            row["layer"]: value
            for row in side.audit.table("cka")
            if row["part"] == "forget" and (value := number_of(row["cka"])) is not None
        }
        for side in sides
    ]
    return _dots_panel(
        panel,
        sides,
        values,
        Axis("CKA between before and after", high=1),
        list(dict.fromkeys(name for found in values for name in found)),
    )


def _membership_panel(sides: Sequence[Side]) -> Panel:
    title, called = TITLES["membership"], words_of(sides).rows
    reading = (
        f"Each curve shows how many {called} an attack on the edited classifier finds (up) for how many unseen ones it "
        "accuses wrongly (right); the dotted diagonal is guessing, and far below it is a trace, too."
    )
    tables = [side.audit.table("membership") for side in sides]
    attacks = list(dict.fromkeys(row["attack"] for table in tables for row in table))
    if not attacks:
        return Panel("membership", title, reading, reason=NOWHERE)
    drawings = []
    for attack in attacks:
        points = [roc_points(table, attack, "after") for table in tables]
        curves = [Curve(found, side.style) for found, side in zip(points, sides, strict=True) if found]
        drawings.append(
            draw_curves(
                [DIAGONAL, *curves],
                Axis("unseen images accused wrongly", 0, 1),
                Axis(f"{called} found", 0, 1),
                f"Curves of the attack by {ATTACKS.get(attack, attack)} after each edit.",
                ATTACKS.get(attack, attack),
                height=230.0,
            )
        )
    keys = (*_keys(sides, "line"), Key("guessing", "reference", "line"))
    return Panel("membership", title, reading, tuple(drawings), keys)


def _relearning_panel(sides: Sequence[Side]) -> Panel:
    title, called = TITLES["relearning"], words_of(sides).rows
    reading = (
        f"Each line is the share of {called} answered with their label while the edited classifier is trained on other "
        "images; lower for longer is better."
    )
    points = [relearning_points(side.audit.table("relearning"), "edited") for side in sides]
    curves = [Curve(found, side.style) for found, side in zip(points, sides, strict=True) if found]
    if not curves:
        return Panel("relearning", title, reading, reason=NOWHERE)
    said = "; ".join(
        f"{visible(side.name)} {say_course(found)}" for side, found in zip(sides, points, strict=True) if found
    )
    drawing = draw_curves(
        curves,
        Axis("steps of training on other images", 0),
        Axis(f"% of {called} answered with their label", 0, 100),
        f"Relearning curves: {said}.",
    )
    return Panel("relearning", title, reading, (drawing,), _keys(sides, "line"))


def _time_panel(sides: Sequence[Side]) -> Panel:
    title, reading = "How long did it take?", "Each bar is the time of one edit, on whatever machine it ran."
    bars = [
        Bar(side.name, figure.value, say_value(figure.value, "seconds"), side.style)
        for side in sides
        if (figure := side.audit.figures.get("cost.seconds")) is not None and figure.value is not None
    ]
    if not bars:
        return Panel("time", title, reading, reason="none of these audits knows")
    said = "; ".join(f"{visible(bar.name)} {bar.said}" for bar in bars)
    return Panel("time", title, reading, (draw_bars(bars, Axis("seconds", 0), f"Time of each edit: {said}."),))
