"""Which images are meant: numbers, a mask, text, or the wrong labels that cleanlab found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from expunge.base.errors import ForgetSetError
from expunge.data.selection import check_rows, numbers_from_text
from expunge.data.tables import read_table

ISSUE, GIVEN, PREDICTED = "is_label_issue", "given_label", "predicted_label"
TRUE = ("true", "1", "yes")


@dataclass(frozen=True, slots=True)
class Issues:
    """Rows whose labels cleanlab holds for wrong, with the labels they have and those it would give them.

    `given` and `predicted` are empty where the table does not say.
    """

    rows: tuple[int, ...]
    given: tuple[Any, ...] = ()
    predicted: tuple[Any, ...] = ()


def find_rows(indices: Any, count: int) -> list[int]:  # noqa: ANN401 - what people have
    """Return the rows that `indices` means, each once, in its order.

    Args:
        indices: None for all; one number; numbers in a list, an array, a tensor or a column of a frame; text such as
            "3,17,40-45"; or a mask, one truth value an image.
        count: how many images there are.

    Raises:
        ForgetSetError: none of these, a row that is not there or stands twice, or none at all.

    >>> find_rows([False, True, True], 3), find_rows("0,2-3", 5)
    ([1, 2], [0, 2, 3])
    """
    if indices is None:
        return list(range(count))
    if isinstance(indices, str):
        rows = numbers_from_text(indices, below=count)
    else:
        array = np.atleast_1d(np.asarray(indices))
        if array.dtype == bool:
            if array.shape != (count,):
                raise ForgetSetError("indices", f"{count} truth values, one an image", str(array.shape))
            array = array.nonzero()[0]
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ForgetSetError("indices", "whole numbers, or one truth value an image", f"{array.dtype} values")
        rows = [int(row) for row in array]
    if not rows:
        raise ForgetSetError("indices", "at least one image", "none")
    check_rows(rows, count)
    return rows


def is_issues(indices: Any) -> bool:  # noqa: ANN401
    """Return whether `indices` is a table of cleanlab: a frame, or the path of its CSV."""
    if isinstance(indices, (str, Path)):
        return str(indices).endswith(".csv")
    return ISSUE in getattr(indices, "columns", ())


def read_issues(table: Any, count: int) -> Issues:  # noqa: ANN401
    """Return the rows that cleanlab marks in `Datalab.get_issues("label")` or `CleanLearning.get_label_issues()`.

    Args:
        table: the frame, whose index says which image a line is about, or the CSV that `to_csv` made of it.
        count: how many images there are.

    Raises:
        ForgetSetError: no line is marked, or the table is about other images.
        DataError: the CSV can't be read, or lacks a column `is_label_issue`.
    """
    column = _csv_columns(Path(table), count) if isinstance(table, (str, Path)) else _frame_columns(table)
    numbers = [int(number) for number in column("")]
    marked = [line for line, value in enumerate(column(ISSUE)) if str(value).lower() in TRUE]
    if not marked:
        raise ForgetSetError("indices", f"a line whose {ISSUE} is true", "none")
    rows = [numbers[line] for line in marked]
    check_rows(rows, count)
    given, predicted = (
        tuple(values[line] for line in marked if values) for values in (column(GIVEN), column(PREDICTED))
    )
    return Issues(tuple(rows), given, predicted)


def _frame_columns(frame: Any) -> Callable[[str], Sequence[Any]]:  # noqa: ANN401
    return lambda name: list(frame.index) if not name else list(frame[name]) if name in frame.columns else []


def _csv_columns(path: Path, count: int) -> Callable[[str], Sequence[Any]]:
    table = read_table(path, (ISSUE,))

    def column(name: str) -> Sequence[str]:
        if name in table.columns:
            return [line.cells[name] for line in table.lines]
        if name:
            return []
        if len(table.lines) != count:
            hint = "write it with its index: issues.to_csv(path)"
            raise ForgetSetError(str(path), f"{count} lines, one an image", str(len(table.lines)), hint)
        return [str(number) for number in range(count)]

    return column
