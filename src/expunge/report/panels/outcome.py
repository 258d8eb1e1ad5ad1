"""Panels of what the classifier answers now: copies, classes, the pattern of new answers, what it cost."""

from collections import Counter
from collections.abc import Mapping, Sequence

from expunge.audit.record import Audit, Row
from expunge.base.visible import visible
from expunge.base.words import plural
from expunge.report.drawing.charts import Axis, Bar, Dots, draw_bars, draw_dots
from expunge.report.drawing.maps import draw_matrix
from expunge.report.panels.panel import TITLES, Key, Numbers, Panel, class_name, number_of, say_cell, why_missing
from expunge.report.words import say_value

MOST_CLASSES = 25
MOST_SIDES = 16
OTHERS = "all others"
PART_NAMES = {"test": "test images", "retain": "other training images", "forget": "the forgotten images"}


def copies_panel(audit: Audit) -> Panel:
    """Return how well the goal holds on transformed copies, the worst first."""
    title, words = TITLES["copies"], audit.subject.words
    reading = (
        f"Each bar is the share of fresh copies, changed as named, that {words.held}; a short bar means that "
        f"{words.brittle}."
    )
    rows = sorted(audit.table("copies"), key=lambda row: float(row["held"]))
    if not rows:
        return Panel("copies", title, reading, reason=why_missing(audit, "copies"))
    bars = [Bar(row["kind"], 100 * float(row["held"]), f"{100 * float(row['held']):.0f}%") for row in rows]
    alternative = (
        f"Copies that {words.held}, by change: worst {bars[0].name} with {bars[0].said}, "
        f"best {bars[-1].name} with {bars[-1].said}."
    )
    drawing = draw_bars(bars, Axis(f"percent of copies that {words.held}", 0, 100), alternative)
    numbers = Numbers.of(("change", words.held), [(bar.name, bar.said) for bar in bars])
    return Panel("copies", title, reading, (drawing,), numbers=numbers)


def classes_panel(audit: Audit) -> Panel:
    """Return accuracy before and after by class, the greatest drop first, on the best set there is."""
    every = [row for row in audit.table("classes") if row["accuracy_before"] and row["accuracy_after"]]
    part = next((name for name in PART_NAMES if any(row["part"] == name for row in every)), None)
    title = TITLES["classes"]
    reading = (
        "From the open mark (before) to the filled one (after): the longer the line to the left, the more a class "
        "lost; the greatest losses come first."
    )
    if part is None:
        return Panel("classes", title, reading, reason=why_missing(audit, "classes"))
    rows = sorted((row for row in every if row["part"] == part), key=_drop, reverse=True)
    shown = rows[:MOST_CLASSES]
    dots = [
        Dots(tuple(number_of(row["accuracy_before"]) for row in shown), "before"),
        Dots(tuple(number_of(row["accuracy_after"]) for row in shown), "after"),
    ]
    names = [class_name(audit, row["label"]) for row in shown]
    alternative = (
        f"Accuracy by class on {PART_NAMES[part]}. Greatest drop: {visible(names[0])}, {_drop(rows[0]):.1f} points; "
        f"smallest: {visible(class_name(audit, rows[-1]['label']))}, {_drop(rows[-1]):.1f} points."
    )
    drawing = draw_dots(names, dots, Axis(f"accuracy in percent, {PART_NAMES[part]}"), alternative)
    if len(rows) > len(shown):
        reading += f" The first {len(shown)} of {len(rows)} classes are shown."
    return Panel("classes", title, reading, (drawing,), _before_after(), _class_numbers(audit, rows))


def pattern_panel(audit: Audit) -> Panel:
    """Return the matrix of true label by new answer over the forgotten rows."""
    called = audit.subject.words.rows
    title = f"What are the {called} answered with now?"
    reading = (
        f"Each square counts the {called} of a label (left) that now get the answer above; one dark column "
        "would be a pattern that an attacker can use."
    )
    table = audit.table("pattern")
    if not table:
        return Panel("pattern", title, reading, reason=why_missing(audit, "pattern"))
    moved = Counter[tuple[str, str]]()
    for row in table:
        moved[class_name(audit, row["label"]), class_name(audit, row["answer"])] += int(row["rows"])
    rows, columns = (_most_frequent(moved, side, audit.subject.class_names) for side in (0, 1))
    counts = Counter[tuple[str, str]]()
    for (label, answer), count in moved.items():
        counts[label if label in rows else OTHERS, answer if answer in columns else OTHERS] += count
    answers = Counter({column: sum(counts[row, column] for row in rows) for column in columns})
    answer, most = answers.most_common(1)[0]
    alternative = (
        f"Matrix of {plural(sum(moved.values()), audit.subject.words.row)} by label and new answer. "
        f"Most frequent answer: {visible(answer)}, {plural(most, 'image')}."
    )
    numbers = Numbers.of(
        ("label", "answer now", "images", "was the second choice of"),
        [
            (class_name(audit, row["label"]), class_name(audit, row["answer"]), row["rows"], row["runner_up"])
            for row in table
        ],
    )
    return Panel("pattern", title, reading, (draw_matrix(counts, rows, columns, alternative),), numbers=numbers)


def cost_panel(audit: Audit) -> Panel:
    """Return the seconds of each phase."""
    title = "Where did the time go?"
    reading = "Each bar is the time that one phase of the edit took."
    rows = audit.table("cost")
    if not rows:
        return Panel("phases", title, reading, reason=why_missing(audit, "cost"))
    bars = [Bar(row["phase"], float(row["seconds"]), say_value(float(row["seconds"]), "seconds")) for row in rows]
    longest = max(bars, key=lambda bar: bar.value)
    total = say_value(sum(bar.value for bar in bars), "seconds")
    alternative = f"Seconds by phase, {total} in all; the longest is {visible(longest.name)} with {longest.said}."
    numbers = Numbers.of(("phase", "time"), [(bar.name, bar.said) for bar in bars])
    return Panel("phases", title, reading, (draw_bars(bars, Axis("seconds", 0), alternative),), numbers=numbers)


def _before_after() -> tuple[Key, ...]:
    return Key("before", "before"), Key("after", "after")


def _drop(row: Row) -> float:
    return float(row["accuracy_before"]) - float(row["accuracy_after"])


def _class_numbers(audit: Audit, rows: list[Row]) -> Numbers:
    lines = [
        (
            class_name(audit, row["label"]),
            row["n"],
            say_cell(row["accuracy_before"]),
            say_cell(row["accuracy_after"]),
            say_cell(row["churn"]),
        )
        for row in rows
    ]
    return Numbers.of(("class", "images", "% right before", "% right after", "% of answers changed"), lines)


def _most_frequent(moved: Mapping[tuple[str, str], int], side: int, order: Sequence[str]) -> list[str]:
    """Return the most frequent names of one side of the matrix in the order of the classes, then the rest as one."""
    totals = Counter[str]()
    for pair, count in moved.items():
        totals[pair[side]] += count
    places = {name: place for place, name in enumerate(order)}
    names = sorted((name for name in totals if totals[name]), key=lambda name: places.get(name, len(places)))
    if len(names) <= MOST_SIDES:
        return names
    kept = {name for name, _ in totals.most_common(MOST_SIDES - 1)}
    return [*(name for name in names if name in kept), OTHERS]
