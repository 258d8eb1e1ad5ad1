"""The forget set, out of what people have and the rows that they name."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.base.errors import DataError, ExpungeWarning, ForgetSetError
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.data.labels import ALL_OR_NONE, to_labels
from expunge.data.objects import images_of
from expunge.data.reading import Reading
from expunge.data.rows import Issues, find_rows, is_issues, read_issues, settle_issues


def collect_forget_set(
    given: Any,  # noqa: ANN401 - what people have
    *,
    indices: Any = None,  # noqa: ANN401
    new_labels: Any = None,  # noqa: ANN401
    reading: Reading = Reading(),
) -> ForgetSet:
    """Return the forget set of the rows of `given` that `indices` names.

    Args:
        given: see `images_of`; or a forget set, whose rows are chosen.
        indices: see `find_rows`; or a table of cleanlab, see `read_issues`, whose predicted labels are the new ones.
        new_labels: the label that each of these rows is to get, or one for all; numbers or class names; a column
            `new_label` of a frame that is not empty says it, too. False for none, whatever a table says.
        reading: how pictures, bytes and names are read.

    Raises:
        ForgetSetError, DataError: these are no images, no rows of them, or no labels.

    Warns:
        ExpungeWarning: reading an image twice gives two pictures.
    """
    issues: list[Issues] = []

    def numbers_of(count: int) -> Sequence[int]:
        if not is_issues(indices):
            return find_rows(indices, count)
        issues.append(read_issues(indices, count))
        return issues[0].rows

    if isinstance(given, ForgetSet):
        chosen = given if indices is None else given.rows(numbers_of(len(given)))
    else:
        images = images_of(given, numbers_of, reading)
        every = range(len(images.labels))
        if not every:
            raise ForgetSetError("forget set", "at least one instance", "none")
        chosen = ForgetSet(tuple(images.ids), images.load(every), images.labels)
        _warn_of_chance(images, chosen)
    if issues:
        kept, predicted = settle_issues(issues[0], chosen.y, reading.class_names)
        if new_labels is None and predicted is not None:
            chosen, new_labels = chosen.rows(kept), predicted
    elif new_labels is None and hasattr(given, "columns") and "new_label" in given.columns:
        new_labels = _new_labels_of(given, numbers_of(len(given)))
    if new_labels is None or new_labels is False:
        return chosen
    return ForgetSet(chosen.ids, chosen.x, chosen.y, _one_a_row(new_labels, len(chosen), reading.class_names))


def _new_labels_of(frame: Any, rows: Sequence[int]) -> list[Any] | None:  # noqa: ANN401
    """Return these rows of a frame's column `new_label`; None where nothing is in them."""
    column = frame["new_label"].iloc[list(rows)]
    empty = (column.isna() | (column == "")).tolist()
    if all(empty):
        return None
    if any(empty):
        raise DataError(f"new_label of row {rows[empty.index(True)]}", "a value", "nothing", ALL_OR_NONE)
    return list(column)


def _warn_of_chance(images: Images, chosen: ForgetSet) -> None:
    if not torch.equal(images.load([0])[0], chosen.x[0]):
        warnings.warn(
            "the dataset changes its images by chance each time they are read: one draw of each is forgotten; "
            "pass it with the transform that it is evaluated with",
            ExpungeWarning,
            stacklevel=4,
        )


def _one_a_row(new_labels: Any, count: int, class_names: Sequence[str]) -> Tensor:  # noqa: ANN401
    single = isinstance(new_labels, (int, float, str)) or getattr(new_labels, "ndim", 1) == 0
    labels = to_labels([new_labels] * count if single else new_labels, class_names)
    if len(labels) != count:
        raise ForgetSetError("new_labels", f"{count} labels, one an image", str(len(labels)))
    return labels
