"""From a draft to a request: copies in the training set are looked for, then what was ticked is added."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date
from typing import Any

import torch

from expunge.base.errors import DataError, LedgerError
from expunge.compute.runtime import Runtime
from expunge.data import forget_set, load_data
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.data.labels import label_from_text
from expunge.data.sources.decoding import Encoded
from expunge.data.sources.file_images import FileImages
from expunge.models.sources import LoadedClassifier
from expunge.requests.contradictions import require_labels_of_copies
from expunge.requests.copies import Near, find_near, open_index
from expunge.requests.desk.drafts import Draft, read_draft, remove_draft, write_draft
from expunge.requests.project import Ledger
from expunge.requests.receive import RequestOptions, receive, supply
from expunge.requests.sheet import png_of
from expunge.requests.weights import load_first


def search_copies(ledger: Ledger, name: str, against: str, runtime: Runtime) -> int:
    """Put the nearest training images of each picture into a draft, and return how many pictures it has."""
    draft, first = read_draft(ledger.folder, ledger.keys, name), load_first(ledger)
    training = load_data(against, first.request()).train
    rows = _pictures(draft, first, [0] * len(draft.pictures))
    found = find_near(open_index(ledger, training, runtime), ledger, rows, first.classifier, runtime)
    draft.near = [[_shown(one, training) for one in near] for near in found]
    write_draft(ledger.folder, ledger.keys, draft)
    return len(rows)


def take_in(ledger: Ledger, arguments: Mapping[str, Any]) -> str:
    """Make a request of a draft, or give an earlier one its images again, and return its name; the draft is deleted.

    Args:
        ledger: open for writing.
        arguments: `draft`, `against`, and `include`: pairs of a picture's number and a row of the training images.
    """
    draft, first = read_draft(ledger.folder, ledger.keys, str(arguments["draft"])), load_first(ledger)
    rows = _rows(draft, first, arguments)
    _check_ticked(ledger, rows, draft, arguments)
    if draft.options.get("again"):
        request = supply(ledger, draft.options["again"], rows)
    else:
        options = RequestOptions(
            reference=draft.options.get("reference", ""),
            keep_until=_day(draft.options.get("keep_until", ""), "keep until"),
            due=_day(draft.options.get("due", ""), "due"),
        )
        request = receive(ledger, rows, options)
    remove_draft(ledger.folder, draft.id)
    return request.name


def _check_ticked(ledger: Ledger, rows: ForgetSet, draft: Draft, arguments: Mapping[str, Any]) -> None:
    """Check that copies which were ticked have the label of the picture that they are copies of.

    Raises:
        ForgetSetError: one has another.
    """
    ticked = [int(row) for _, row in arguments.get("include", ())]
    if not ticked or not draft.near:
        return
    names = [field.name for field in fields(Near)]
    near = [[Near(**{name: one[name] for name in names}) for one in part] for part in draft.near]
    require_labels_of_copies(ledger, rows.rows(range(len(near))), near, ticked)


def _rows(draft: Draft, first: LoadedClassifier, arguments: Mapping[str, Any]) -> ForgetSet:
    """Return pictures, training images that a table named, and copies that were ticked, each once."""
    names = first.classifier.class_names
    parts: list[ForgetSet] = []
    new: list[str] = []
    if draft.pictures:
        labels = [
            label_from_text(text, names, place=f"label of picture {number}")
            for number, text in enumerate(draft.labels, 1)
        ]
        parts.append(_pictures(draft, first, labels))
        new += draft.new_labels
    ticked = {int(row): draft.new_labels[int(picture)] for picture, row in arguments.get("include", ())}
    if ticked or draft.rows:
        if not arguments.get("against"):
            raise LedgerError("training data", "where it is", "nothing", "start the desk with --against SOURCE")
        training = load_data(str(arguments["against"]), first.request()).train
        wanted = {**_numbers(training, draft.rows), **ticked}
        parts.append(_named(forget_set(training, list(wanted)), len(draft.pictures)))
        new += wanted.values()
    if not parts:
        raise DataError("pictures", "at least one", "none")
    return _joined(parts, new, names)


def _joined(parts: Sequence[ForgetSet], new: Sequence[str], names: Sequence[str]) -> ForgetSet:
    """Return all rows as one forget set, with new labels if every row has one.

    Raises:
        DataError: some rows have a new label and others don't.
    """
    if any(new) and not all(new):
        raise DataError("new labels", "one for every picture, or none at all", f"{sum(map(bool, new))} of {len(new)}")
    y_new = [label_from_text(text, names, place="new label") for text in new] if any(new) else None
    return replace(ForgetSet.join(parts), y_new=None if y_new is None else torch.tensor(y_new))


def _pictures(draft: Draft, first: LoadedClassifier, labels: Sequence[int]) -> ForgetSet:
    """Return the pictures as rows that are numbered from 1; names of files, which may name people, are not kept."""
    ids = [str(number) for number in range(1, len(draft.pictures) + 1)]
    files = [Encoded(f"picture {name}", content) for name, content in zip(ids, draft.pictures, strict=True)]
    images = FileImages(ids, torch.tensor(labels), files, first.preprocessing)
    return forget_set(images, range(len(ids)))


def _numbers(training: Images, rows: Mapping[str, str]) -> dict[int, str]:
    """Return rows of the training images by id, with their new labels."""
    row_of = {name: row for row, name in enumerate(training.ids)}
    unknown = [name for name in rows if name not in row_of]
    if unknown:
        raise DataError("table", f"ids of the training data, such as {training.ids[0]}", ", ".join(unknown[:5]))
    return {row_of[name]: new for name, new in rows.items()}


def _named(rows: ForgetSet, pictures: int) -> ForgetSet:
    """Return training images under names that the pictures' numbers leave free."""
    taken = {str(number) for number in range(1, pictures + 1)}
    ids = tuple(f"training {name}" if name in taken else name for name in rows.ids)
    return ForgetSet(ids, rows.x, rows.y, rows.y_new)


def _shown(one: Near, training: Images) -> dict[str, Any]:
    return {
        "row": one.row,
        "id": one.id,
        "label": one.label,
        "same": one.same,
        "alike": one.alike,
        "bits": one.bits,
        "correlation": one.correlation,
        "features": one.features,
        "picture": png_of(training.load([one.row])[0]),
    }


def _day(text: str, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise DataError(name, "a day as YYYY-MM-DD", text[:20]) from error
