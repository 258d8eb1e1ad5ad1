"""Results as lines of figures: one of a single request, one a request of a stream."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from scipy import stats

from expunge.bench.cells import Cell
from expunge.jobs.job import GoalChoice

Result = Mapping[str, Any]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a result.

    Args:
        name: at the column's head.
        better: +1 if more is better, -1 if less is, 0 if neither.
        read: the figure; KeyError where a result doesn't have it.
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


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one result, or of one request of a stream.

    Args:
        group: what is compared with each other: classifier, goal, k, and number of the request (1 for single ones).
        label: of the method's row.
        seed: of the cell.
        figures: by column.
        reason: why the edit ended.
        result: of the cell as it is on the disk.
    """

    group: tuple[str, str, int, int]
    label: str
    seed: int
    figures: Mapping[str, float]
    reason: str
    result: Result


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n forget sets, and half its 95% interval (Student's t); None for a single one."""

    mean: float
    half: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Return the estimate from one value a forget set.

        >>> Estimate.of([1.0, 2.0, 3.0])
        Estimate(mean=2.0, half=2.48..., n=3)
        """
        mean = sum(values) / len(values)
        if len(values) < 2:
            return cls(mean, None, len(values))
        half = float(stats.sem(values) * stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
        return cls(mean, half, len(values))

    def __str__(self) -> str:
        digits = 0 if self.mean >= 1000 else 1 if self.mean >= 100 else 2
        text = f"{self.mean:,.{digits}f}"
        return text if self.half is None else f"{text} ± {self.half:,.{digits}f}"


def read_records(cells: Sequence[Cell]) -> list[Record]:
    """Return the records of the cells that are done, with the columns that every one of them can fill."""
    found = [(cell, line, result) for cell in cells for line, result in _lines(cell)]
    columns = [each for each in _columns_of(cells) if all(_has(each, line) for _, line, _ in found)]
    return [
        Record(
            (cell.classifier, cell.goal, cell.count, line.get("request", 1)),
            cell.label,
            cell.seed,
            {column.name: column.read(line) for column in columns},
            line["stop_reason"],
            result,
        )
        for cell, line, result in found
    ]


def _columns_of(cells: Sequence[Cell]) -> tuple[Column, ...]:
    if any(cell.stream.requests > 1 for cell in cells):
        return STREAM_COLUMNS
    corrections = any(cell.job.goal is GoalChoice.CORRECT for cell in cells)
    return (*COLUMNS, *CORRECTION_COLUMNS) if corrections else COLUMNS


def better(column: str) -> int:
    """Return which way a column is better: +1 more, -1 less, 0 neither."""
    return next(each.better for each in (*COLUMNS, *CORRECTION_COLUMNS, *STREAM_COLUMNS) if each.name == column)


def group_records(records: Sequence[Record]) -> dict[tuple[str, str, int, int], dict[str, list[Record]]]:
    """Return the records by group and label, in the order in which they came, groups sorted by number."""
    groups: dict[tuple[str, str, int, int], dict[str, list[Record]]] = {}
    for record in sorted(records, key=lambda one: one.group[2:]):
        groups.setdefault(record.group, {}).setdefault(record.label, []).append(record)
    return groups


def _lines(cell: Cell) -> Iterator[tuple[dict[str, Any], Result]]:
    result = cell.result()
    if result is None:
        return
    if cell.stream.requests == 1:
        yield result, result
    for line in result.get("requests", ()):
        yield {**line, "before": result["before"]}, result


def _has(column: Column, line: Result) -> bool:
    try:
        return isfinite(column.read(line))
    except (KeyError, TypeError):
        return False


def _drop(result: Result, name: str) -> float:
    return float(result["before"][name]["accuracy"] - result["after"][name]["accuracy"])
