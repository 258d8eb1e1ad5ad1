"""Which training images are to be forgotten."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from expunge.base.errors import DataError, ForgetSetError
from expunge.compute.seeds import draw_numbers
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.data.labels import label_from_text
from expunge.data.tables import Table, read_table, unique_cells

NUMBER_OR_RANGE = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


def random_rows(images: Images, count: int, *, seed: int) -> list[int]:
    """Return `count` different rows of `images`, drawn evenly, in ascending order.

    With the same seed, fewer rows are some of the rows that a larger count draws.

    Raises:
        ForgetSetError: a count below 1, or above the number of images.
    """
    total = len(images.ids)
    if not 1 <= count <= total:
        raise ForgetSetError("count", f"1..{total}, the number of images", str(count))
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


def rows_from_table(
    path: Path, images: Images, *, class_names: Sequence[str] = ()
) -> tuple[list[int], list[int] | None]:
    """Return the rows that a CSV table names, and their new labels if it has a column `new_label`.

    Args:
        path: a table whose column `id` holds ids of `images`; without it, the column `path` does.
        images: what the rows are rows of.
        class_names: the classes, so that new labels may be names; they may be numbers in any case.

    Raises:
        DataError: the table cannot be read, has neither column, names an instance twice, or has a line without a
            new label or with one that is no class.
        ForgetSetError: ids that `images` does not have.
    """
    table = read_table(path, ())
    column = next((name for name in ("id", "path") if name in table.columns), None)
    if column is None:
        raise DataError(str(path), "a column id or path", ", ".join(table.columns))
    row_of = {name: row for row, name in enumerate(images.ids)}
    wanted = unique_cells(table, column)
    unknown = [name for name in wanted if name not in row_of]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ForgetSetError(
            f"{path}: {column}",
            f"ids of the training images, such as {images.ids[0]}",
            f"{', '.join(unknown[:5])}{more}",
        )
    return [row_of[name] for name in wanted], _new_labels(table, class_names)


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
    check_rows(rows, len(images.ids))
    if new_labels is not None and len(new_labels) != len(rows):
        raise ForgetSetError("new_labels", f"{len(rows)} labels, one an image", str(len(new_labels)))
    index = torch.tensor(list(rows))
    return ForgetSet(
        ids=tuple(images.ids[row] for row in rows),
        x=images.load(rows),
        y=images.labels[index],
        y_new=None if new_labels is None else torch.tensor(list(new_labels)),
    )


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


def _new_labels(table: Table, class_names: Sequence[str]) -> list[int] | None:
    if "new_label" not in table.columns:
        return None
    return [label_from_text(line.cells["new_label"], class_names, place=line.place) for line in table.lines]
