"""Results as lines of figures: one of a single request, one a request of a stream.

A line is a result, or what a stream says of a request, with `reference`, the result of the method that it should come
close to, and `audit`, the figures of its audit, where there are such.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

from scipy import stats

from expunge.audit.metrics.retrained import gap, tug_of_war
from expunge.bench.cells import Cell
from expunge.bench.grid import OFFSET, UNEDITED
from expunge.jobs.job import GoalChoice
from expunge.task.words import MISCLASSIFY, goal_words

Result = Mapping[str, Any]
CONFIDENCE, LEAST_FOR_INTERVAL, PERCENT = 0.95, 3, 100
PARTS = ("forget", "retain", "test")


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a result.

    Args:
        name: at the column's head.
        better: +1 if more is better, -1 if less is, 0 if neither.
        read: the figure; KeyError or TypeError where a result doesn't have it.
    """

    name: str
    better: int
    read: Callable[[Result], float]


COLUMNS = (
    Column("goal, %", 1, lambda result: 100 * result["goal_achieved"]),
    Column("robust, %", 1, lambda result: 100 * result["goal_achieved_robust"]),
    Column("rows robust, %", 1, lambda result: 100 * result["robust"]["rows_held"]),
    Column("retain", 1, lambda result: result["after"]["retain"]["accuracy"]),
    Column("retain drop", -1, lambda result: _drop(result, "retain")),
    Column("retain churn, %", -1, lambda result: result["after"]["retain"]["churn"]),
    Column("test", 1, lambda result: result["after"]["test"]["accuracy"]),
    Column("test drop", -1, lambda result: _drop(result, "test")),
    Column("test churn, %", -1, lambda result: result["after"]["test"]["churn"]),
    Column("steps", 0, lambda result: result["steps"]),
    Column("gradient evaluations", -1, lambda result: result["cost"]["gradient_evaluations"]),
    Column("seconds", -1, lambda result: result["cost"]["seconds"]),
    Column("found by lead, AUC", 0, lambda line: line["audit"]["fingerprint.lead_after"]),
    Column("found by logits, AUC", 0, lambda line: line["audit"]["fingerprint.learned_after"]),
)
CLASS_COLUMNS = (
    Column("class on test, %", -1, lambda result: result["after"]["class"]["accuracy"]),
    Column("most frequent answer, %", -1, lambda result: result["health"]["largest_share"]["after"]),
)
CORRECTION_COLUMNS = (
    Column("other mistakes righted, %", 1, lambda result: result["after"]["retain"]["wrong_righted"]),
    Column("right ones kept, %", 1, lambda result: result["after"]["retain"]["right_kept"]),
)
STREAM_COLUMNS = (
    Column("this request, %", 1, lambda line: 100 * line["goal_achieved"]),
    Column("all so far, %", 1, lambda line: 100 * line["held"]),
    Column("first request, %", 1, lambda line: 100 * line["held_first"]),
    Column("robust, %", 1, lambda line: 100 * line["goal_achieved_robust"]),
    Column("forgotten again", 0, lambda line: line["forgotten_again"]),
    *(column for column in COLUMNS if column.name.startswith(("retain", "test", "steps", "gradient", "seconds"))),
)
REFERENCE_COLUMNS = (
    Column("gap", -1, lambda line: gap(_accuracies(line), [_accuracies(line["reference"])]).value),
    Column("tug of war", 1, lambda line: tug_of_war(_accuracies(line), [_accuracies(line["reference"])]).value),
    Column("forget accuracy", 0, lambda line: line["after"]["forget"]["accuracy"]),
    Column("retain accuracy", 0, lambda line: line["after"]["retain"]["accuracy"]),
    Column("test accuracy", 0, lambda line: line["after"]["test"]["accuracy"]),
    Column("membership AUC, from 0.5", 0, lambda line: abs(line["audit"]["membership.loss_after"] - 0.5)),
    Column("forget misclassified, %", 0, lambda line: 100 - line["after"]["forget"]["accuracy"]),
    Column("test answers changed, %", 0, lambda line: line["after"]["test"]["churn"]),
    Column("steps", 0, lambda line: line["steps"]),
    Column("gradient evaluations", -1, lambda line: line["cost"]["gradient_evaluations"]),
    Column("seconds", -1, lambda line: line["cost"]["seconds"]),
)
"""What is told of methods that should come close to a reference: no accuracy is the better for being high."""
ALL_COLUMNS = (*COLUMNS, *CLASS_COLUMNS, *CORRECTION_COLUMNS, *STREAM_COLUMNS, *REFERENCE_COLUMNS)


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one result, or of one request of a stream.

    Args:
        group: what is compared with each other: classifier, goal, k, and number of the request (1 for single ones).
        label: of the method's row.
        seed: of the cell.
        figures: by column; NaN where the result has none.
        reason: why the edit ended.
        result: of the cell as it is on the disk.
        competes: whether it can be the best.
    """

    group: tuple[str, str, int, int]
    label: str
    seed: int
    figures: Mapping[str, float]
    reason: str
    result: Result
    competes: bool = True


@dataclass(frozen=True, slots=True)
class MeanOverSets:
    """A mean over n forget sets, half its 95% interval (Student's t), and its lowest and highest value.

    `half` is None for fewer than three sets, since two give an interval wider than most figures can be, and where it
    is so wide with more.
    """

    mean: float
    half: float | None
    n: int
    low: float = nan
    high: float = nan

    @classmethod
    def of(cls, values: Sequence[float]) -> "MeanOverSets":
        """Return the estimate from one value a forget set, of those that have one.

        >>> MeanOverSets.of([1.0, 2.0, 3.0])
        MeanOverSets(mean=2.0, half=2.48..., n=3, low=1.0, high=3.0)
        """
        found = [value for value in values if isfinite(value)]
        mean = sum(found) / len(found) if found else nan
        low, high = min(found, default=nan), max(found, default=nan)
        if len(found) < LEAST_FOR_INTERVAL:
            return cls(mean, None, len(found), low, high)
        half = float(stats.sem(found) * stats.t.ppf((1 + CONFIDENCE) / 2, len(found) - 1))
        beyond = half > PERCENT >= high
        return cls(mean, None if beyond else half, len(found), low, high)

    def __str__(self) -> str:
        if not self.n:
            return "-"
        digits = 0 if self.mean >= 1000 else 1 if self.mean >= 100 else 2
        mean, low, high = (f"{each:,.{digits}f}" for each in (self.mean, self.low, self.high))
        if self.half is not None:
            return f"{mean} ± {self.half:,.{digits}f}"
        return mean if low == high else f"{mean} ({low} to {high})"


def read_records(cells: Sequence[Cell], reference: str = "") -> list[Record]:
    """Return the records of the cells that are done, with the columns that one of them at least can fill.

    Args:
        cells: of one grid.
        reference: label of the method that the others are compared with; cells without a result of it are left out,
            and the classifier before any edit is one of the lines.
    """
    lines = [line for cell in cells for line in _lines(cell)]
    if reference:
        lines = list(_beside(lines, reference))
    figures = {each.name: [_read(each, line.values) for line in lines] for each in _columns_of(cells, reference)}
    shown = {name: column for name, column in figures.items() if any(map(isfinite, column))}
    return [
        Record(
            line.group,
            line.label,
            line.cell.seed,
            {name: column[position] for name, column in shown.items()},
            line.values["stop_reason"],
            line.result,
            line.label not in (reference, UNEDITED) and not line.cell.job.settings.get(OFFSET),
        )
        for position, line in enumerate(lines)
    ]


def _columns_of(cells: Sequence[Cell], reference: str) -> tuple[Column, ...]:
    if reference:
        return REFERENCE_COLUMNS
    if any(cell.stream.requests > 1 for cell in cells):
        return STREAM_COLUMNS
    if any(cell.job.forget.class_name is not None for cell in cells):
        return (*COLUMNS[:2], *CLASS_COLUMNS, *COLUMNS[2:])
    corrections = any(cell.job.goal is GoalChoice.CORRECT for cell in cells)
    return (*COLUMNS, *CORRECTION_COLUMNS) if corrections else COLUMNS


def better(column: str) -> int:
    """Return which way a column is better: +1 more, -1 less, 0 neither."""
    return next(each.better for each in ALL_COLUMNS if each.name == column)


def group_records(records: Sequence[Record]) -> dict[tuple[str, str, int, int], dict[str, list[Record]]]:
    """Return the records by group and label, in the order in which they came, groups sorted by number."""
    groups: dict[tuple[str, str, int, int], dict[str, list[Record]]] = {}
    for record in sorted(records, key=lambda one: one.group[2:]):
        groups.setdefault(record.group, {}).setdefault(record.label, []).append(record)
    return groups


@dataclass(frozen=True, slots=True)
class _Line:
    """What a record is read from."""

    cell: Cell
    label: str
    values: Result
    result: Result

    @property
    def group(self) -> tuple[str, str, int, int]:
        """Return what it is compared within."""
        return self.cell.classifier, self.cell.goal, self.cell.count, self.values.get("request", 1)


def _lines(cell: Cell) -> Iterator[_Line]:
    result = cell.result()
    if result is None:
        return
    if cell.stream.requests == 1:
        yield _Line(cell, cell.label, {**result, "audit": cell.audit()}, result)
    for line in result.get("requests", ()):
        yield _Line(cell, cell.label, {**line, "before": result["before"]}, result)


def _beside(lines: Sequence[_Line], reference: str) -> Iterator[_Line]:
    """Yield the lines that have a reference, with it; before each reference, the classifier as it was."""
    references = {(line.group, line.cell.seed): line.values for line in lines if line.label == reference}
    for line in lines:
        beside = references.get((line.group, line.cell.seed))
        if beside is None:
            continue
        compared = replace(line, values={**line.values, "reference": beside})
        if line.label == reference:
            untouched = {**line.result, "retain_used": False}
            yield replace(compared, label=UNEDITED, values=_unedited(compared.values), result=untouched)
        yield compared


def _unedited(values: Result) -> Result:
    before = {name: {**part, "churn": 0.0} for name, part in values["before"].items()}
    audit = {name.replace("_before", "_after"): each for name, each in values["audit"].items() if "_before" in name}
    share = before["forget"]["accuracy"] / 100
    wanted = goal_words(values.get("goal", MISCLASSIFY)).wanted
    met = 0.0 if wanted is None else share if wanted else 1 - share
    cost = {"gradient_evaluations": 0, "seconds": 0.0}
    nothing = {"stop_reason": "-", "steps": 0, "goal_achieved": met, "cost": cost}
    return {**values, **nothing, "after": before, "audit": audit}


def _accuracies(values: Result) -> dict[str, float]:
    return {name: values["after"][name]["accuracy"] for name in PARTS if name in values["after"]}


def _read(column: Column, line: Result) -> float:
    try:
        figure = column.read(line)
        return figure if isfinite(figure) else nan
    except (KeyError, TypeError):
        return nan


def _drop(result: Result, name: str) -> float:
    return float(result["before"][name]["accuracy"] - result["after"][name]["accuracy"])
