"""What retraining would need once the budget of drift is spent: which images to leave out, or to give new labels."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from expunge.base.cells import csv_text, escape_cell
from expunge.base.disk import PRIVATE, make_folder, write_bytes
from expunge.base.words import plural
from expunge.requests.place import INDEX_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.state import FORGOTTEN, Instance, LedgerState, Request, State
from expunge.requests.telling import newest_drift, say_drift
from expunge.task.words import RELABEL

LEFT_OUT = ("request", "instance", "given_label")
RELABELLED = (*LEFT_OUT, "new_label")
FOUND = ("row", "id")
"""What the table of those to leave out, and of those with new labels, say of a picture; and where it was found."""
PLACES_FILE = "places.sealed"
"""In the folder of what is known of the training data, which goes when perceptual hashes are deleted."""
PLACES = "places of images"
MOST_NAMES = 5

Places = Mapping[str, Sequence[tuple[int, str]]]
"""Rows and ids of the training data that an image was found at, by its salted hash; empty where it was not found."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One picture of requests that still stand, or one image of the training data that is this picture.

    Args:
        requests: their names.
        instance: what the picture is called in the first of them.
        label: that was given there; the training data may have another.
        new_label: that it is to be trained with; None if it is to be left out.
        row: its row in the training data; None if nobody looked for it there.
        id: what it is called there.
    """

    requests: tuple[str, ...]
    instance: str
    label: int
    new_label: int | None
    row: int | None = None
    id: str = ""


def standing(state: LedgerState) -> list[Request]:
    """Return the requests that a retrained classifier must respect, those that wait as well."""
    return state.in_state(*FORGOTTEN, State.VALIDATED, State.FAILED)


def plan_retraining(ledger: Ledger, places: Places | None = None) -> list[PlannedRow]:
    """Return the images that a retrained classifier must not have learnt, of requests that wait as well, each once.

    A picture that one request wants to have left out, and another with a new label, is left out. One that is to get
    two new labels is there twice, which readers of the table refuse.

    Args:
        ledger: open.
        places: where pictures are in the training data, as `images.find_places` says: a picture that is there more than
            once has as many rows, and one that isn't has none. None for a row for each picture.
    """
    uses: dict[str, list[tuple[str, Instance]]] = {}
    for request in standing(ledger.state):
        for one in ledger.instances(request):
            uses.setdefault(one.content, []).append((request.name, one))
    return [row for content, found in uses.items() for row in _planned(found, places, content)]


def _planned(uses: Sequence[tuple[str, Instance]], places: Places | None, content: str) -> Iterator[PlannedRow]:
    """Yield what is planned for one picture."""
    names, first = tuple(dict.fromkeys(name for name, _ in uses)), uses[0][1]
    wanted = dict.fromkeys(one.new_label for _, one in uses)
    for new_label in (None,) if None in wanted else wanted:
        if places is None:
            yield PlannedRow(names, first.id, first.label, new_label)
        else:
            for row, name in places.get(content, ()):
                yield PlannedRow(names, first.id, first.label, new_label, row, name)


def describe(state: LedgerState, places: Places | None = None) -> list[str]:
    """Return the plan in a few lines, which count a picture of several requests once."""
    model, requests = state.created["model"], standing(state)
    every = {content for request in requests for content in request.each_content()}
    left_out = {content for request in requests if request.goal != RELABEL for content in request.each_content()}
    if not requests:
        return ["no request stands: there is nothing to train without"]
    lines = [
        f"{plural(len(every), 'image')} of {plural(len(requests), 'request')}: train {model['architecture']} with "
        f"{model['num_classes']} classes on the training data without {len(left_out)} of them"
        + (f", and {len(every - left_out)} with their new labels" if every - left_out else "")
    ]
    lines += _say_contradictions(requests, left_out)
    if places is not None:
        lines += _say_found(requests, every, places)
    drift = newest_drift(state)
    if drift is not None:
        lines += say_drift(drift)
    return [*lines, "then make a new project around the new weights; this one stays as the record"]


def _say_contradictions(requests: Sequence[Request], left_out: set[str]) -> list[str]:
    """Return what is said of pictures that one request leaves out and another gives a new label."""
    relabelled = {content for request in requests if request.goal == RELABEL for content in request.each_content()}
    both = relabelled & left_out
    if not both:
        return []
    names = _names([request for request in requests if not both.isdisjoint(request.each_content())])
    return [f"{len(both)} of them are left out, though a request gives them a new label: withdraw one of {names}"]


def _say_found(requests: Sequence[Request], every: set[str], places: Places) -> list[str]:
    """Return what is said of the training data: how many pictures are in it, and of which requests some are not."""
    found = {content for content in every if places.get(content)}
    images = sum(len(places[content]) for content in found)
    lines = [
        f"found in the training data: {len(found)} of {len(every)}"
        + (f", as {images} images" if images != len(found) else "")
    ]
    for what, missing in (
        ("not found there, so not in the table", every & places.keys() - found),
        ("not looked for yet, so not in the table", every - places.keys()),
    ):
        if missing:
            names = _names([request for request in requests if not missing.isdisjoint(request.each_content())])
            lines.append(f"{what}: {len(missing)}, of {names}")
    return lines


def _names(requests: Sequence[Request]) -> str:
    more = len(requests) - MOST_NAMES
    return ", ".join(request.name for request in requests[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def to_csv(rows: Sequence[PlannedRow]) -> str:
    """Return the table of those to leave out, which `expunge train --leave-out` takes once they were looked for."""
    return _table([row for row in rows if row.new_label is None], LEFT_OUT)


def to_relabel_csv(rows: Sequence[PlannedRow]) -> str:
    """Return the table of those with new labels."""
    return _table([row for row in rows if row.new_label is not None], RELABELLED)


def _table(rows: Sequence[PlannedRow], columns: Sequence[str]) -> str:
    """Return rows as a table; where nobody looked for them, it has no column that says where they are."""
    columns = columns if any(row.row is None for row in rows) else (*columns, *FOUND)
    cells = [
        {
            "request": " ".join(row.requests),
            "instance": escape_cell(row.instance),
            "given_label": row.label,
            "new_label": row.new_label,
            "row": row.row,
            "id": escape_cell(row.id),
        }
        for row in rows
    ]
    return csv_text([columns, *[[line[name] for name in columns] for line in cells]])


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
