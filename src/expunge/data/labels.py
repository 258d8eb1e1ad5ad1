"""Labels as people write them: numbers or class names."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from expunge.base.errors import DataError, nearest
from expunge.base.values import LARGEST
from expunge.data.tables import Line, Table

LONGEST = 18
"""Digits of a label; every such number fits into 63 bits."""
LABEL_NAMES = ("label", "labels", "y", "target", "targets", "class", "category", "fine_label", "cls")
"""What a column of labels may be called, in whatever case; the first that there is counts."""
ALL_OR_NONE = "say a new label for every image, or for none"
"""What to do where a column of new labels has some only."""
NUMBER = re.compile(r"\d+(\.0*)?", re.ASCII)


def label_from_text(text: str, class_names: Sequence[str], *, place: str, num_classes: int | None = None) -> int:
    """Return the label that `text` means: a whole number, or one of `class_names`.

    Args:
        text: a number from 0, or a class name.
        class_names: the names in order of their labels; empty if unknown.
        place: where the text stands, for the message.
        num_classes: how many classes there are, where that is known without names.

    Raises:
        DataError: a number that is no label, an unknown name, a name that two classes share, or a number that is
            also the name of another class.

    >>> label_from_text("dog", ("cat", "dog"), place="table.csv, line 2")
    1
    """
    named = [label for label, name in enumerate(class_names) if name == text]
    if is_number(text):
        digits = text.partition(".")[0]
        if len(digits) > LONGEST:
            raise DataError(place, f"a label of at most {LONGEST} digits", f"one of {len(digits)}")
        number = int(digits)
        if any(label != number for label in named):
            raise DataError(place, "an unmistakable label", f"{text}, the number of one class and the name of another")
        count = len(class_names) or num_classes
        if count and number >= count:
            hint = "labels count from 0" if number == count else ""
            raise DataError(place, f"a label in 0..{count - 1}", text, hint)
        return number
    if len(named) > 1:
        numbers = " and ".join(str(label) for label in named)
        raise DataError(place, "a name of one class", f"{text}, which is {numbers}", "write the number instead")
    if not named:
        close = nearest(text, {name: name for name in class_names}, 3)
        raise DataError(
            place,
            "a label: a number or a class name",
            text or "nothing",
            f"did you mean {', '.join(close)}?" if close else "",
        )
    return named[0]


def to_labels(values: Iterable[Any], class_names: Sequence[str] = (), *, label: int | None = None) -> Int[Tensor, " n"]:
    """Return labels of any integer type, whole numbers of any other, or class names, as int64.

    Args:
        values: n labels in a list, an array, a tensor or a column of a frame; or n vectors of truth values.
        class_names: the names in order of their labels; empty if unknown.
        label: which of the truth values counts, where there are several an image.

    Raises:
        DataError: values that are neither; vectors without `label`, or the other way round.

    >>> to_labels(np.array([2, 0], dtype=np.uint8)).tolist(), to_labels([[0, 1], [1, 1]], label=0).tolist()
    ([2, 0], [0, 1])
    """
    found: list[Any] = [
        value.tolist() if isinstance(value, (Tensor, np.ndarray, np.generic)) else value for value in values
    ]
    found = [value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value for value in found]
    if label is not None:
        found = [_one_of(value, label, row) for row, value in enumerate(found)]
    texts = [row for row, value in enumerate(found) if isinstance(value, str)]
    for row in texts:
        found[row] = label_from_text(found[row], class_names, place=f"label of row {row}")
    for row, value in enumerate(found):
        if isinstance(value, (list, tuple)):
            hint = "where an image has several labels, Classifier.wrap(..., label=NUMBER) chooses the one to edit"
            raise DataError(f"label of row {row}", "one label", f"{len(value)} values", hint)
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not is_whole or abs(value) >= LARGEST:
            raise DataError(f"label of row {row}", "a whole number or a class name", repr(value))
    return torch.tensor([int(value) for value in found], dtype=torch.int64)


def _one_of(value: Any, label: int, row: int) -> Any:  # noqa: ANN401
    """Return one of an image's truth values; a single one is taken as it is."""
    if not isinstance(value, (list, tuple)):
        return value
    if label >= len(value) or value[label] not in (0, 1):
        found = f"{len(value)} values" if label >= len(value) else str(value[label])
        raise DataError(f"label of row {row}", f"0 or 1 for label {label}", found)
    return int(value[label])


def labels_of_table(
    table: Table, class_names: Sequence[str], num_classes: int | None = None
) -> tuple[Int[Tensor, " n"], tuple[str, ...]]:
    """Return the labels of the column `label`, and the class names.

    Without `class_names` the column's own names are the classes, in alphabetical order; where the column holds
    numbers, a column `name` may name them.

    Raises:
        DataError: a label is not one of the classes, or some are numbers and others names; of these, the error names
            the first of those that are fewer.
    """
    names = tuple(class_names) or _names_in(table, num_classes)
    labels = [
        label_from_text(line.cells["label"], names, place=line.place, num_classes=num_classes) for line in table.lines
    ]
    return torch.tensor(labels, dtype=torch.int64), names


def read_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as they are, or those in the file that the only one of them names, one a line.

    Raises:
        DataError: the file can't be read, or one stands twice.
    """
    if len(names) == 1 and Path(names[0]).is_file():
        try:
            lines = Path(names[0]).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(names[0], "class names, one a line", f"{error}") from error
        names = [line.strip() for line in lines if line.strip()]
    names = [name.strip() for name in names]
    twice = next((name for name in names if names.count(name) > 1 or not name), None)
    if twice is not None:
        raise DataError("classes", "different names in the order of the classifier's labels", twice or "an empty one")
    return tuple(names)


def is_number(text: str) -> bool:
    """Return whether `text` is a whole number from 0 in ASCII digits; tables of floats have zeros behind a point.

    >>> is_number("3"), is_number("3.0"), is_number("3.5")
    (True, True, False)
    """
    return NUMBER.fullmatch(text) is not None


def _names_in(table: Table, num_classes: int | None) -> tuple[str, ...]:
    numbered = [line for line in table.lines if is_number(line.cells["label"])]
    if not numbered:
        return tuple(sorted({line.cells["label"] for line in table.lines}))
    if len(numbered) < len(table.lines):
        raise _mixed(table, numbered, num_classes)
    return _names_of_numbers(table.lines) if "name" in table.columns else ()


def _mixed(table: Table, numbered: Sequence[Line], num_classes: int | None) -> DataError:
    """Return the error that names the first of the labels that are fewer: those that are numbers, or the others."""
    named = [line for line in table.lines if not is_number(line.cells["label"])]
    if len(named) < len(numbered) or all(_is_any_number(line.cells["label"]) for line in named):
        odd, limit = named[0], "from 0" if num_classes is None else f"in 0..{num_classes - 1}"
        rule, others = f"a label, a whole number {limit}", "numbers"
    else:
        odd, rule, others = numbered[0], "a label, a class name", "names"
    count = len(table.lines) - min(len(named), len(numbered))
    return DataError(
        odd.place, rule, odd.cells["label"], f"labels are all names or all numbers, and {count} are {others}"
    )


def _is_any_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _names_of_numbers(lines: Sequence[Line]) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for line in lines:
        label, name = label_from_text(line.cells["label"], (), place=line.place), line.cells["name"]
        if names.setdefault(label, name) != name:
            raise DataError(line.place, f"the name {names[label]} for label {label}, as before", name)
    complete = sorted(names) == list(range(len(names)))
    return tuple(names[label] for label in range(len(names))) if complete else ()
