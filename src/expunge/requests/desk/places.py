"""Where the training data holds the images of requests, as it was looked up last; sealed, among what is known of it."""

import json

from expunge.base.disk import PRIVATE, make_folder, write_bytes
from expunge.requests.place import INDEX_FOLDER
from expunge.requests.plan import Places
from expunge.requests.project import Ledger

NAME = "places of images"
FILE = "places.sealed"
"""In the folder that goes when perceptual hashes are deleted."""


def write_places(ledger: Ledger, places: Places) -> None:
    """Keep where images are in the training data."""
    path = ledger.folder / INDEX_FOLDER / FILE
    make_folder(path.parent)
    write_bytes(path, ledger.keys.seal_file(json.dumps(places).encode(), NAME), mode=PRIVATE)


def read_places(ledger: Ledger) -> Places | None:
    """Return where images are in the training data; None if nobody has looked.

    Raises:
        LedgerError: the file was changed, or sealed with another key.
    """
    path = ledger.folder / INDEX_FOLDER / FILE
    if not path.is_file():
        return None
    found: dict[str, list[list[str | int]]] = json.loads(ledger.keys.open_file(path.read_bytes(), NAME))
    return {content: [(int(row), str(name)) for row, name in rows] for content, rows in found.items()}
