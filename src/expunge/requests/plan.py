"""What retraining would need once the budget of drift is spent: which images to leave out, or to give new labels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expunge.base.cells import csv_text, escape_cell
from expunge.base.disk import PRIVATE, make_folder, write_bytes
from expunge.requests.place import INDEX_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.state import FORGOTTEN, LedgerState, Request, State
from expunge.requests.telling import newest_drift, say_drift

COLUMNS = ("request", "id", "label", "new_label", "row", "training_id")
PLACES_FILE = "places.sealed"
"""In the folder of what is known of the training data, which goes when perceptual hashes are deleted."""
PLACES = "places of images"
NOWHERE: tuple[tuple[int | None, str], ...] = ((None, ""),)

Places = Mapping[str, Sequence[tuple[int, str]]]
"""Rows and ids of the training data that an image was found at, by its salted hash; empty where it was not found."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One image of a request that still stands.

    Args:
        request: its name.
        id: what the image is called there.
        label: that it had.
        new_label: that it is to be trained with; None if it is to be left out.
        row: its row in the training data; None if it was not found there, or not looked for.
        training_id: what it is called there.
    """

    request: str
    id: str
    label: int
    new_label: int | None
    row: int | None = None
    training_id: str = ""


def standing(state: LedgerState) -> list[Request]:
    """Return the requests that a retrained classifier must respect, those that wait as well."""
    return state.in_state(*FORGOTTEN, State.VALIDATED, State.FAILED)


def plan_retraining(ledger: Ledger, places: Places | None = None) -> list[PlannedRow]:
    """Return the images that a retrained classifier must not have learnt, of requests that wait as well.

    Args:
        ledger: open.
        places: where they are in the training data, as `images.find_places` says. An image that is there more than once
            has as many rows.
    """
    found = places or {}
    return [
        PlannedRow(request.name, one.id, one.label, one.new_label, *place)
        for request in standing(ledger.state)
        for one in ledger.instances(request)
        for place in found.get(one.content) or NOWHERE
    ]


def describe(state: LedgerState, places: Places | None = None) -> list[str]:
    """Return the plan in a few lines."""
    model, requests = state.created["model"], standing(state)
    images = sum(request.rows for request in requests)
    relabelled = sum(request.rows for request in requests if request.goal == "relabel")
    lines = [
        f"{images} images of {len(requests)} requests: train {model['architecture']} with "
        f"{model['num_classes']} classes on the training data without {images - relabelled} of them"
        + (f", and {relabelled} with their new labels" if relabelled else "")
    ]
    if places is not None:
        found = sum(bool(places.get(content)) for request in requests for content in request.each_content())
        lines.append(f"found in the training data: {found} of {images}")
    drift = newest_drift(state)
    if drift is not None:
        lines += say_drift(drift)
    return [*lines, "then make a new project around the new weights; this one stays as the record"]


def to_csv(rows: list[PlannedRow]) -> str:
    """Return the plan as a table."""
    lines = [
        (one.request, escape_cell(one.id), one.label, one.new_label, one.row, escape_cell(one.training_id))
        for one in rows
    ]
    return csv_text([COLUMNS, *[["" if cell is None else cell for cell in line] for line in lines]])


def write_places(ledger: Ledger, places: Places) -> None:
    """Keep where images are in the training data, sealed."""
    path = ledger.folder / INDEX_FOLDER / PLACES_FILE
    make_folder(path.parent)
    write_bytes(path, ledger.keys.seal_file(json.dumps(places).encode(), PLACES), mode=PRIVATE)


def read_places(ledger: Ledger) -> Places | None:
    """Return where images are in the training data, as somebody looked last; None if nobody has.

    Raises:
        LedgerError: the file was changed, or sealed with another key.
    """
    path = ledger.folder / INDEX_FOLDER / PLACES_FILE
    if not path.is_file():
        return None
    found: dict[str, list[tuple[int, str]]] = json.loads(ledger.keys.open_file(path.read_bytes(), PLACES))
    return found
