"""Other copies of the pictures of a request: the usual reason why a deletion fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from expunge.data.forget import ForgetSet
from expunge.requests.fingerprints import BYTES, fingerprint, near_pairs
from expunge.requests.hashes import read_checked
from expunge.requests.images import hash_images
from expunge.requests.project import Ledger
from expunge.requests.state import State

HERE = "this request"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two pictures that are the same or look alike.

    Args:
        id: the row of the request.
        place: `HERE`, or the name of an earlier request.
        other: what it is called there.
        bits: bits in which the perceptual hashes differ; None if the pixels are the same.
    """

    id: str
    place: str
    other: str
    bits: int | None


def find_duplicates(ledger: Ledger, rows: ForgetSet) -> list[Duplicate]:
    """Return pairs within the request and against earlier requests; `copies` finds those in the training images."""
    return _within(ledger, rows) + _against_requests(ledger, rows)


def _within(ledger: Ledger, rows: ForgetSet) -> list[Duplicate]:
    contents, prints = hash_images(ledger, rows), fingerprint(rows.x)
    pairs = [(row, other, bits) for row, other, bits in near_pairs(prints, prints) if row < other]
    near = {(row, other): bits for row, other, bits in pairs if contents[row] != contents[other]}
    first: dict[str, int] = {}
    same = [(first.setdefault(content, row), row) for row, content in enumerate(contents)]
    found = [Duplicate(rows.ids[row], HERE, rows.ids[other], None) for other, row in same if row != other]
    return found + [Duplicate(rows.ids[row], HERE, rows.ids[other], bits) for (row, other), bits in near.items()]


def _against_requests(ledger: Ledger, rows: ForgetSet) -> list[Duplicate]:
    active = {name: request for name, request in ledger.state.requests.items() if request.state is not State.WITHDRAWN}
    places: dict[str, list[tuple[str, str]]] = {}

    @cache
    def ids_of(name: str) -> list[str]:
        return [instance.id for instance in ledger.instances(active[name])]

    contents = hash_images(ledger, rows)
    wanted = set(contents)
    for name, request in active.items():
        for number, content in enumerate(request.each_content()):
            if content in wanted:
                places.setdefault(content, []).append((name, ids_of(name)[number]))
    found = [
        Duplicate(rows.ids[row], name, other, None)
        for row, content in enumerate(contents)
        for name, other in places.get(content, ())
    ]
    known = {(match.id, match.place, match.other) for match in found}
    stored = [item for item in read_checked(ledger) if item[0] in active]
    opened = b"".join(ledger.keys.open(sealed, name) for name, _, sealed in stored)
    prints = np.frombuffer(opened, dtype=np.uint8).reshape(-1, BYTES)
    for row, place, bits in _pairs_of_both_sides(rows, prints):
        name, number, _ = stored[place]
        match = Duplicate(rows.ids[row], name, ids_of(name)[number], bits)
        if (match.id, match.place, match.other) not in known:
            found.append(match)
    return found


def _pairs_of_both_sides(rows: ForgetSet, prints: NDArray[np.uint8]) -> Sequence[tuple[int, int, int]]:
    """Return near pairs of the rows, or their mirror images, with stored hashes."""
    pairs: dict[tuple[int, int], int] = {}
    for x in (rows.x, rows.x.flip(-1)):
        for row, other, bits in near_pairs(fingerprint(x), prints):
            pairs[row, other] = min(bits, pairs.get((row, other), bits))
    return [(row, other, bits) for (row, other), bits in sorted(pairs.items())]
