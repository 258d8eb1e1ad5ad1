"""A panel of the page: drawings of one thing, how to read them, and the numbers behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.audit.record import Audit
from expunge.report.drawing.svg import WIDTH, Drawing

MOST_NUMBERS = 60
TITLES = {
    "copies": "Does it hold when the picture is changed a little?",
    "classes": "What did it cost each class?",
    "cka": "Which layers compute something else now?",
    "membership": "Can an outsider tell that the images were trained on?",
    "relearning": "How soon does it come back?",
}
"""Of the panels that show one audit or several, by name."""


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the legend; `shape` is circle, square, diamond, line or area."""

    name: str
    style: str
    shape: str = "circle"


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers behind a drawing, as text; `left_out` counts the lines that would be too many."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    left_out: int = 0

    @classmethod
    def of(cls, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> "Numbers":
        """Return the first lines, and how many more there are."""
        kept = tuple(tuple(line) for line in lines[:MOST_NUMBERS])
        return cls(tuple(columns), kept, len(lines) - len(kept))


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of the page.

    Args:
        name: its id in the page.
        title: what it shows.
        reading: how to read it, in one sentence.
        drawings: one, or several side by side.
        keys: the legend.
        numbers: the same as a table.
        reason: why there is no drawing; None if there is one.
        together: how many of the drawings belong side by side.
    """

    name: str
    title: str
    reading: str
    drawings: tuple[Drawing, ...] = ()
    keys: tuple[Key, ...] = ()
    numbers: Numbers | None = None
    reason: str | None = None
    together: int = 1

    @property
    def wide(self) -> bool:
        """Return whether it takes the whole width of the page."""
        return len(self.drawings) > 1 or any(drawing.width > WIDTH for drawing in self.drawings)


def why_missing(audit: Audit, table: str) -> str:
    """Return the audit's reason for having no such table."""
    entry = audit.tables.get(table)
    return (entry.reason if entry else None) or f"a {audit.level} audit of these inputs has none"


def class_name(audit: Audit, label: str) -> str:
    """Return the name of the class whose number `label` is; `label` itself if it is no number of a class."""
    names = audit.subject.class_names
    return names[int(label)] if label.isdecimal() and int(label) < len(names) else label


def number_of(cell: str) -> float | None:
    """Return a table's cell as a number; None where it is empty."""
    return float(cell) if cell else None


def say_cell(cell: str, digits: int = 1) -> str:
    """Return a table's number with `digits` decimals, or that it is not defined."""
    return f"{float(cell):.{digits}f}" if cell else "not defined"
