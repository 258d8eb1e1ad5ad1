"""Which images are meant: numbers, a mask, text, or the wrong labels that cleanlab found."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from expunge.base.errors import ForgetSetError
from expunge.base.values import LARGEST
from expunge.data.labels import is_number, to_labels
from expunge.data.tables import read_table

ISSUE, GIVEN, PREDICTED = "is_label_issue", "given_label", "predicted_label"
NUMBER_OR_RANGE = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
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
        if array.dtype.kind == "f" and bool((array == np.floor(array)).all()) and bool((abs(array) < LARGEST).all()):
            array = array.astype(np.int64)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ForgetSetError("indices", "whole numbers, or one truth value an image", f"{array.dtype} values")
        rows = [int(row) for row in array]
    if not rows:
        raise ForgetSetError("indices", "at least one image", "none")
    check_rows(rows, count)
    return rows


def numbers_from_text(text: str, *, below: int) -> list[int]:
    """Return the numbers from 0 that `text` lists, in its order, with both ends of its ranges.

    Args:
        text: such as 3,17,40-45.
        below: how many images there are; a range that ends beyond them is not written out.

    Raises:
        ForgetSetError: text of another form, a range that ends before it starts, or one that ends beyond the images.
    """
    rows: list[int] = []
    for part in text.split(","):
        match = NUMBER_OR_RANGE.fullmatch(part.strip())
        if match is None:
            raise ForgetSetError("indices", "numbers and ranges such as 3,17,40-45", part.strip() or "nothing")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ForgetSetError("indices", "ranges that end after they start", part.strip())
        check_rows([last], below)
        rows += range(first, last + 1)
    return rows


def check_rows(rows: Sequence[int], count: int) -> None:
    """Check that `rows` are rows of `count` images, each once.

    Raises:
        ForgetSetError: one is not there, or stands twice.
    """
    outside = [row for row in rows if not 0 <= row < count]
    if outside:
        raise ForgetSetError("indices", f"numbers in 0..{count - 1}", ", ".join(map(str, outside[:5])))
    repeated = [row for row, count in Counter(rows).items() if count > 1]
    if repeated:
        raise ForgetSetError("indices", "each number once", f"{', '.join(map(str, repeated[:5]))} more than once")


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


def settle_issues(
    issues: Issues, labels: Int[Tensor, " n"], class_names: Sequence[str]
) -> tuple[list[int], Int[Tensor, " k"] | None]:
    """Return which of the marked rows have a new label, by their places in `issues`, and the new labels.

    A row whose predicted label is the one that it has is left out. Where cleanlab predicts none, all rows stay.

    Args:
        issues: what cleanlab marks.
        labels: the labels of its rows.
        class_names: names that labels may have.

    Raises:
        ForgetSetError: the labels are others than cleanlab was given, or no row has another predicted label.
    """
    if issues.given:
        given = to_labels(_numbers(issues.given), class_names)
        other = (given != labels.cpu()).nonzero().flatten().tolist()
        if other:
            found = f"{len(other)} others, the first in row {issues.rows[other[0]]}"
            raise ForgetSetError("indices", "issues whose given_label is the label of the image", found)
    if not issues.predicted:
        return list(range(len(issues.rows))), None
    predicted = to_labels(_numbers(issues.predicted), class_names)
    kept = (predicted != labels.cpu()).nonzero().flatten().tolist()
    if not kept:
        raise ForgetSetError("indices", "issues whose predicted_label is another than the given one", "none")
    return kept, predicted[kept]


def _numbers(values: Sequence[Any]) -> list[Any]:
    """Return numbers for text that is one, as a CSV holds them."""
    return [int(value.partition(".")[0]) if isinstance(value, str) and is_number(value) else value for value in values]


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
