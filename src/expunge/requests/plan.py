"""What retraining would need once the budget of drift is spent: which images to leave out, or to give new labels."""

from dataclasses import dataclass

from expunge.base.cells import csv_text, escape_cell
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, batches
from expunge.requests.images import hash_images
from expunge.requests.project import Ledger
from expunge.requests.state import FORGOTTEN, State

BATCH = 1024
COLUMNS = ("request", "id", "label", "new_label", "row", "training_id")


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


def plan_retraining(ledger: Ledger, training: Images | None = None) -> list[PlannedRow]:
    """Return the images that a retrained classifier must not have learnt, of requests that wait as well.

    Args:
        ledger: open.
        training: where to look for them, by their salted hashes: pixels must be equal at 8 bits. An image that is there
            more than once has as many rows.
    """
    standing = ledger.state.in_state(*FORGOTTEN, State.VALIDATED, State.FAILED)
    instances = [(request.name, one) for request in standing for one in ledger.instances(request)]
    found = {} if training is None else _find(ledger, training, {one.content for _, one in instances})
    return [
        PlannedRow(name, one.id, one.label, one.new_label, *place)
        for name, one in instances
        for place in found.get(one.content, [(None, "")])
    ]


def to_csv(rows: list[PlannedRow]) -> str:
    """Return the plan as a table."""
    lines = [
        (one.request, escape_cell(one.id), one.label, one.new_label, one.row, escape_cell(one.training_id))
        for one in rows
    ]
    return csv_text([COLUMNS, *[["" if cell is None else cell for cell in line] for line in lines]])


def _find(ledger: Ledger, training: Images, wanted: set[str]) -> dict[str, list[tuple[int | None, str]]]:
    """Return rows and ids in the training data, by salted hash."""
    places: dict[str, list[tuple[int | None, str]]] = {}
    start = 0
    for x, labels in batches(training, BATCH):
        ids = tuple(training.ids[start : start + len(x)])
        for number, content in enumerate(hash_images(ledger, ForgetSet(ids, x, labels))):
            if content in wanted:
                places.setdefault(content, []).append((start + number, ids[number]))
        start += len(x)
    return places
