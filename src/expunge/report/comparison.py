"""Several audits side by side: whether they answer the same question, which is best at what."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.audit.audit_json import read_audit
from expunge.audit.record import HEADLINES, Audit, Direction, Figure
from expunge.base.errors import DataError
from expunge.report.view import HEADLINE_WORDS, Group, find_audit, groups_of
from expunge.report.words import say_figure, say_interval
from expunge.task.words import OF_ANY_GOAL, GoalWords

FEWEST, MOST = 2, 7
SHAPES = ("circle", "square", "diamond")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the audits, under the name and in the colour that it has throughout the page."""

    name: str
    style: str
    shape: str
    audit: Audit


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of one audit in words, and whether it is the best of its line."""

    value: str
    detail: str
    best: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One figure over all audits."""

    title: str
    cells: tuple[Cell, ...]


def read_sides(folders: Sequence[Path], names: Sequence[str] = ()) -> tuple[Side, ...]:
    """Return the audits in `folders` under `names`, one for each.

    Without names, they are named after their methods, and after the folders too where those are the same; the last part
    of a folder's path is enough where these differ.

    Raises:
        DataError: there are too few or too many folders, names that don't fit them, or a folder without an audit.
    """
    if not FEWEST <= len(folders) <= MOST:
        raise DataError("folders", f"{FEWEST} to {MOST} folders of audits", str(len(folders)))
    if names and (len(names) != len(folders) or len(set(names)) < len(names) or not all(map(str.strip, names))):
        raise DataError("names", f"a name of its own for each of {len(folders)} folders", ", ".join(names))
    audits = [read_audit(find_audit(folder)) for folder in folders]
    methods = [audit.subject.method or "unknown method" for audit in audits]
    short = [folder.name for folder in folders]
    told = short if len(set(short)) == len(short) else [str(folder) for folder in folders]
    names = names or [
        method if methods.count(method) == 1 else f"{method} ({folder})"
        for method, folder in zip(methods, told, strict=True)
    ]
    return tuple(
        Side(name, f"c{number}", SHAPES[number % len(SHAPES)], audit)
        for number, (name, audit) in enumerate(zip(names, audits, strict=True))
    )


def words_of(sides: Sequence[Side]) -> GoalWords:
    """Return the words of the goal that all audits have, or of any goal."""
    found = [side.audit.subject.words for side in sides]
    return found[0] if all(words == found[0] for words in found) else OF_ANY_GOAL


def differences(sides: Sequence[Side]) -> tuple[str, ...]:
    """Return in which ways the audits don't answer the same question; none if they do."""
    asked: Mapping[str, Callable[[Audit], object]] = {
        "They started from different classifiers.": lambda audit: audit.subject.before["weights_sha256"],
        "They were asked about different images.": lambda audit: audit.subject.forget_sha256,
        "They had different goals.": lambda audit: audit.subject.goal,
        "They were measured on different data.": lambda audit: (
            audit.subject.data,
            sorted(audit.subject.sizes.items()),
        ),
    }
    return tuple(said for said, ask in asked.items() if len({str(ask(side.audit)) for side in sides}) > 1)


def headline_lines(sides: Sequence[Side]) -> tuple[Line, ...]:
    """Return the four figures of each audit's first screen; the best are marked where all show the same figure."""
    lines = []
    for name in HEADLINES:
        chosen = [side.audit.headline[name] for side in sides]
        figures = [
            side.audit.figures[figure] if figure is not None else None
            for side, figure in zip(sides, chosen, strict=True)
        ]
        best = _best(figures, sides) if len(set(chosen)) == 1 else set()
        lines.append(Line(HEADLINE_WORDS[name][0], _cells(figures, best, titled=len(set(chosen)) > 1)))
    return tuple(lines)


def figure_groups(sides: Sequence[Side]) -> tuple[tuple[Group, tuple[Line, ...]], ...]:
    """Return every figure over all audits, by topic."""
    merged: dict[str, Figure] = {}
    for side in sides:
        merged = {**side.audit.figures, **merged}
    return tuple(
        (group, tuple(_line(name, figure.title, sides) for name, figure in group.figures.items()))
        for group in groups_of(merged, words_of(sides))
    )


def _line(name: str, title: str, sides: Sequence[Side]) -> Line:
    figures = [side.audit.figures.get(name) for side in sides]
    return Line(title, _cells(figures, _best(figures, sides), titled=False))


def _cells(figures: Sequence[Figure | None], best: set[int], *, titled: bool) -> tuple[Cell, ...]:
    return tuple(
        Cell("not defined", "", best=False)
        if figure is None
        else Cell(say_figure(figure), _detail(figure, titled=titled), number in best)
        for number, figure in enumerate(figures)
    )


def _detail(figure: Figure, *, titled: bool) -> str:
    return figure.reason or ", ".join(filter(None, (figure.title if titled else "", say_interval(figure))))


def _best(figures: Sequence[Figure | None], sides: Sequence[Side]) -> set[int]:
    """Return which figures are best; none where the question differs, only one is defined, or all are as good."""
    if differences(sides):
        return set()
    distances = {
        number: distance for number, figure in enumerate(figures) if (distance := _badness(figure)) is not None
    }
    if len(set(distances.values())) < FEWEST:
        return set()
    return {number for number, distance in distances.items() if distance == min(distances.values())}


def _badness(figure: Figure | None) -> float | None:
    if figure is None or figure.value is None or figure.direction is Direction.NONE:
        return None
    if figure.direction is Direction.NEAR:
        return None if figure.target is None else abs(figure.value - figure.target)
    return figure.value if figure.direction is Direction.LOWER else -figure.value
