"""Which training images are to be forgotten."""

from collections.abc import Sequence
from pathlib import Path

import torch

from expunge.base.errors import DataError, ForgetSetError
from expunge.compute.seeds import draw_numbers
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.data.labels import ALL_OR_NONE, is_number, label_from_text
from expunge.data.naming import rows_of_names
from expunge.data.rows import ISSUE, check_rows, numbers_from_text, read_issues, settle_issues
from expunge.data.tables import Table, read_table, unique_cells


def random_rows(images: Images, count: int, *, seed: int, name: str = "count", what: str = "images") -> list[int]:
    """Return `count` different rows of `images`, drawn evenly, in ascending order.

    With the same seed, fewer rows are some of the rows that a larger count draws.

    Args:
        images: what is drawn from.
        count: how many.
        seed: of the draw.
        name: of the setting that says the count, for the message.
        what: the images are, for the message.

    Raises:
        ForgetSetError: a count below 1, or above the number of images.
    """
    total = len(images.ids)
    if not 1 <= count <= total:
        raise ForgetSetError(name, f"1..{total}, the number of {what}", str(count))
    return draw_numbers(count, total, torch.Generator().manual_seed(seed))


def rows_from_numbers(text: str, images: Images) -> list[int]:
    """Return the rows that `text` lists, in its order: numbers from 0 and ranges that include both ends.

    Raises:
        ForgetSetError: text of another form, a range that ends before it starts, a row that `images` does not
            have, or one that is listed twice.

    >>> from expunge.data.images import TensorImages
    >>> ten = TensorImages([str(row) for row in range(10)], torch.zeros(10), torch.rand(10, 3, 2, 2))
    >>> rows_from_numbers("7,1-3", ten)
    [7, 1, 2, 3]
    """
    rows = numbers_from_text(text, below=len(images.ids))
    check_rows(rows, len(images.ids))
    return rows


def rows_from_table(
    path: Path, images: Images, *, class_names: Sequence[str] = (), num_classes: int | None = None
) -> tuple[list[int], list[int] | None]:
    """Return the rows that a CSV table names, and their new labels if it has a column `new_label` that says any.

    Args:
        path: a table whose column `id` holds ids of `images`, or their files as `rows_of_names` reads them; without
            it, the column `path` does. Or the issues that
            cleanlab found: the rows are those that it marks, their new labels those that it predicts.
        images: what the rows are rows of.
        class_names: the classes, so that new labels may be names; they may be numbers in any case.
        num_classes: how many classes there are, where that is known without names.

    Raises:
        DataError: the table cannot be read, has neither column, names an instance twice, has new labels in
            some lines only or one that is no class, or a label in a column `label` that is not the image's.
        ForgetSetError: ids that `images` does not have.
    """
    table = read_table(path, ())
    if ISSUE in table.columns:
        issues = read_issues(path, len(images.ids))
        kept, predicted = settle_issues(issues, images.labels[list(issues.rows)], class_names)
        return [issues.rows[number] for number in kept], None if predicted is None else predicted.tolist()
    column = next((name for name in ("id", "path") if name in table.columns), None)
    if column is None:
        raise DataError(str(path), "a column id or path", ", ".join(table.columns))
    rows = rows_of_names(unique_cells(table, column), images, place=f"{path}: {column}")
    first: dict[int, str] = {}
    for line, row in zip(table.lines, rows, strict=True):
        if row in first:
            raise DataError(line.place, "each image once", f"{line.cells[column]} again, first in {first[row]}")
        first[row] = line.place
    _check_old_labels(table, images, rows, class_names)
    return rows, _new_labels(table, class_names, num_classes)


def forget_set(images: Images, rows: Sequence[int], *, new_labels: Sequence[int] | None = None) -> ForgetSet:
    """Return the forget set of these rows, loaded into memory.

    Args:
        images: the training images.
        rows: at least one row, each once.
        new_labels: the label each row is to get, in the order of `rows`; None if it doesn't matter.

    Raises:
        ForgetSetError: a row that is not there or stands twice, not as many new labels as rows, or a new label
            that is the old one.
        DataError: an image cannot be read.
    """
    if not rows:
        raise ForgetSetError("indices", "at least one image", "none")
    ids = images.ids
    check_rows(rows, len(ids))
    if new_labels is not None and len(new_labels) != len(rows):
        raise ForgetSetError("new_labels", f"{len(rows)} labels, one an image", str(len(new_labels)))
    index = torch.tensor(list(rows))
    return ForgetSet(
        ids=tuple(ids[row] for row in rows),
        x=images.load(rows),
        y=images.labels[index],
        y_new=None if new_labels is None else torch.tensor(list(new_labels)),
    )


def _new_labels(table: Table, class_names: Sequence[str], num_classes: int | None) -> list[int] | None:
    """Return the column `new_label`; None where there is no such column, or nothing in it, as in predictions.csv."""
    if "new_label" not in table.columns or not any(line.cells["new_label"] for line in table.lines):
        return None
    empty = next((line for line in table.lines if not line.cells["new_label"]), None)
    if empty is not None:
        raise DataError(empty.place, "a value for new_label", "nothing", ALL_OR_NONE)
    return [
        label_from_text(line.cells["new_label"], class_names, place=line.place, num_classes=num_classes)
        for line in table.lines
    ]


def _check_old_labels(table: Table, images: Images, rows: Sequence[int], class_names: Sequence[str]) -> None:
    """Check that the column `label`, where there is one, says what the data say; empty cells say nothing."""
    if "label" not in table.columns:
        return
    labels = images.labels[torch.tensor(list(rows))].tolist()
    for line, label in zip(table.lines, labels, strict=True):
        written = line.cells["label"]
        if not written or not (class_names or is_number(written)):
            continue
        if label_from_text(written, class_names, place=line.place) != label:
            known = f"{label} ({class_names[label]})" if class_names else str(label)
            hint = "" if "new_label" in table.columns else "for the label that it is to get, name the column new_label"
            raise DataError(line.place, f"the label that the image has in the data, {known}", written, hint)
