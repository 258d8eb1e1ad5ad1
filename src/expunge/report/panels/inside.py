"""Panels of what changed inside: decision boundaries, feature maps, layers."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from expunge.audit.record import WHEN, Audit, Row, Slice
from expunge.base.visible import visible
from expunge.base.words import plural
from expunge.report.drawing.charts import Axis, Bar, Dots, draw_bars, draw_dots
from expunge.report.drawing.maps import Place, Point, draw_class_map, draw_scatter
from expunge.report.drawing.svg import Drawing
from expunge.report.panels.panel import TITLES, Key, Numbers, Panel, class_name, number_of, say_cell, why_missing
from expunge.report.words import say_share, shorten

COLOURS = 7
MOST_SLICES = 4
MOST_NAMED = 12
MOST_LAYERS = 40
SLICES = Panel(
    "slices",
    "Where do the decision boundaries run?",
    "Each square is a plane through three images, coloured by the answer: A is an image in question, B and C are two "
    "others; after a careful edit the colour changes around A and little elsewhere.",
)
"""The panel of planes through decision boundaries, before anything is drawn."""


def slices_panel(audit: Audit) -> Panel:
    """Return planes through decision boundaries, before and after."""
    slices = audit.slices()
    if not slices:
        return replace(SLICES, reason=why_missing(audit, "slices"))
    shown = slices[:MOST_SLICES]
    styles, keys = style_areas(audit, shown)
    drawings = tuple(
        draw_slice(audit, each, when, styles, f"{shorten(each.names[0])}, {when}") for each in shown for when in WHEN
    )
    more = f" The first {len(shown)} of {len(slices)} are shown." if len(slices) > len(shown) else ""
    return replace(SLICES, reading=SLICES.reading + more, drawings=drawings, keys=keys, together=len(WHEN))


def tsne_panel(audit: Audit) -> Panel:
    """Return the maps of the inner features, before and after."""
    called = audit.subject.words.rows
    title = f"Where do the {called} lie among the others?"
    reading = (
        "Images that the classifier finds alike lie close together (t-SNE, a map that keeps neighbours but not "
        f"distances, made anew for every audit); diamonds are the {called}, small dots other ones, coloured by "
        "label."
    )
    rows = audit.table("tsne")
    if not rows:
        return Panel("tsne", title, reading, reason=why_missing(audit, "tsne"))
    drawings = tuple(_draw_tsne(audit, [row for row in rows if row["when"] == when], when) for when in WHEN)
    return Panel(
        "tsne",
        title,
        reading,
        drawings,
        (Key(called, "forgotten", "diamond"), Key("others", "c0")),
        together=len(WHEN),
    )


def cka_panel(audit: Audit) -> Panel:
    """Return linear CKA between before and after, layer by layer."""
    title = TITLES["cka"]
    reading = (
        "From the first layer (top) to the last: 1 means that a layer computes the same as before, up to rotation and "
        "scale; further left it changed more. Estimates below 0 are drawn at 0."
    )
    rows = audit.table("cka")
    if not rows:
        return Panel("cka", title, reading, reason=why_missing(audit, "cka"))
    found = {(row["layer"], row["part"]): number_of(row["cka"]) for row in rows}
    layers = _thin(list(dict.fromkeys(row["layer"] for row in rows)))
    others = [part for part in dict.fromkeys(row["part"] for row in rows) if part != "forget"]
    parts = [
        ("forget", audit.subject.words.rows, "after", "circle"),
        *((part, f"{part} images", "before", "square") for part in others[:1]),
    ]
    drawn = {key: None if value is None else max(value, 0.0) for key, value in found.items()}
    dots = [Dots(tuple(drawn.get((layer, part)) for layer in layers), style, shape) for part, _, style, shape in parts]
    defined = [(value, layer) for (layer, part), value in found.items() if value is not None and part == "forget"]
    lowest = (
        f"lowest on the {audit.subject.words.rows} {min(defined)[0]:.3f} at {visible(min(defined)[1])}"
        if defined
        else "none defined"
    )
    drawing = draw_dots(layers, dots, Axis("CKA between before and after", high=1), f"CKA by layer: {lowest}.")
    numbers = Numbers.of(
        ("layer", "images", "CKA"), [(row["layer"], row["part"], say_cell(row["cka"], 4)) for row in rows]
    )
    keys = tuple(Key(name, style, shape) for _, name, style, shape in parts)
    return Panel("cka", title, reading, (drawing,), keys, numbers)


def layers_panel(audit: Audit) -> Panel:
    """Return how much the weights of each layer changed."""
    title = "Which weights changed?"
    reading = "Each bar is the size of the change of one layer's weights, in percent of the size that they had before."
    table = audit.table("layers")
    changed = [row for row in table if float(row["l2"]) > 0]
    relative = {row["name"]: float(row["relative"]) for row in changed if row["relative"]}
    if not relative:
        return Panel("layers", title, reading, reason="no weight changed" if table else why_missing(audit, "layers"))
    kept = sorted(relative, key=relative.__getitem__, reverse=True)[:MOST_LAYERS]
    bars = [Bar(name, 100 * share, say_share(share)) for name, share in relative.items() if name in kept]
    most = max(bars, key=lambda bar: bar.value)
    alternative = f"Relative change of the weights by layer; greatest: {visible(most.name)} with {most.said}."
    drawing = draw_bars(bars, Axis("percent of the layer's norm before", 0), alternative)
    if len(relative) > len(kept):
        reading += f" Of {len(relative)} layers that changed, the {len(kept)} with the greatest change are shown."
    return Panel("layers", title, reading, (drawing,), numbers=_layer_numbers(changed))


def _layer_numbers(changed: Sequence[Row]) -> Numbers:
    lines = [
        (row["name"], row["size"], say_cell(row["l2"], 4), say_cell(row["relative"], 4), say_cell(row["share"], 3))
        for row in changed
    ]
    return Numbers.of(("layer", "weights", "L2 change", "relative change", "share touched"), lines)


def style_areas(audit: Audit, slices: Sequence[Slice]) -> tuple[Mapping[int, str], tuple[Key, ...]]:
    """Return a style for every class on the planes, a colour of its own for the most frequent ones, and the legend."""
    areas = Counter[int]()
    for each in slices:
        areas.update(each.before.ravel().tolist())
        areas.update(each.after.ravel().tolist())
    ranked = [number for number, _ in areas.most_common()]
    styles = {number: f"c{rank}" if rank < COLOURS else "other" for rank, number in enumerate(ranked)}
    keys = [Key(class_name(audit, str(number)), styles[number], "area") for number in ranked[:COLOURS]]
    if len(ranked) > COLOURS:
        keys.append(Key("all others", "other", "area"))
    return styles, tuple(keys)


def draw_slice(audit: Audit, each: Slice, when: str, styles: Mapping[int, str], caption: str) -> Drawing:
    """Return the answers on one plane, before or after the edit."""
    grid = each.before if when == "before" else each.after
    left, right, bottom, top = each.extent
    places = [
        Place((u - left) / (right - left), (v - bottom) / (top - bottom), letter)
        for (u, v), letter in zip(each.points.tolist(), "ABC", strict=True)
    ]
    counts = Counter(grid.ravel().tolist())
    said = ", ".join(
        f"{visible(class_name(audit, str(number)))} {100 * count / grid.size:.0f}%"
        for number, count in counts.most_common(4)
    )
    names = ", ".join(f"{letter} is {visible(name)}" for letter, name in zip("ABC", each.names, strict=True))
    alternative = f"Answers on a plane through three images, {when} the edit: {said} of the area. {names}."
    return draw_class_map(grid, styles, places, alternative, caption)


def _draw_tsne(audit: Audit, rows: list[Row], when: str) -> Drawing:
    others = [row for row in rows if row["part"] != "forget"]
    forgotten = [row for row in rows if row["part"] == "forget"]
    numbers = {label: place for place, label in enumerate(audit.subject.class_names)}
    points = [Point(float(row["x"]), float(row["y"]), _class_style(audit, row["label"], numbers)) for row in others]
    diamonds = [
        Place(float(row["x"]), float(row["y"]), f"{row['id']}: {class_name(audit, row['label'])}") for row in forgotten
    ]
    counts = f"{plural(len(forgotten), audit.subject.words.row)} among {plural(len(others), 'other image')}"
    alternative, caption = f"Map of {counts}, {when} the edit.", f"{when} the edit"
    return draw_scatter(points, diamonds, _class_places(audit, others), alternative, caption)


def _class_style(audit: Audit, label: str, numbers: Mapping[str, int]) -> str:
    number = numbers.get(class_name(audit, label))
    return "other" if number is None else f"c{number % COLOURS}"


def _class_places(audit: Audit, rows: list[Row]) -> list[Place]:
    """Return the middle of each class, where there are few enough to be named."""
    by_class: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        by_class[class_name(audit, row["label"])].append((float(row["x"]), float(row["y"])))
    if len(by_class) > MOST_NAMED:
        return []
    return [
        Place(median(x for x, _ in points), median(y for _, y in points), shorten(name))
        for name, points in by_class.items()
    ]


def _thin(layers: list[str]) -> list[str]:
    """Return at most `MOST_LAYERS` layers, evenly spaced, the first and the last among them."""
    if len(layers) <= MOST_LAYERS:
        return layers
    step = (len(layers) - 1) / (MOST_LAYERS - 1)
    return [layers[round(number * step)] for number in range(MOST_LAYERS)]
