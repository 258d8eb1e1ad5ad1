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
from expunge.requests.state import Instance, Request, State

HERE = "this request"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two pictures that are the same or look alike.

    Args:
        id: the row of the request.
        place: `HERE`, or the name of an earlier request.
        other: what it is called there.
        bits: bits in which the perceptual hashes differ; None if the pixels are the same.
        labels: of the row, and of the other.
    """

    id: str
    place: str
    other: str
    bits: int | None
    labels: tuple[int, int]

    @property
    def contradicts(self) -> bool:
        """Return whether the two have different labels."""
        return self.labels[0] != self.labels[1]


def find_duplicates(ledger: Ledger, rows: ForgetSet) -> list[Duplicate]:
    """Return pairs within the request and against earlier requests; `copies` finds those in the training images."""
    same = find_same(ledger, rows)
    return same + _near_within(ledger, rows) + _near_requests(ledger, rows, same)


def find_same(ledger: Ledger, rows: ForgetSet) -> list[Duplicate]:
    """Return pairs whose pixels are the same, within the request and against earlier requests that stand."""
    contents = hash_images(ledger, rows)
    first: dict[str, int] = {}
    pairs = [(first.setdefault(content, row), row) for row, content in enumerate(contents)]
    found = [_pair(rows, row, other, None) for other, row in pairs if row != other]
    places: dict[str, list[tuple[str, Instance]]] = {}
    for name, request in _standing(ledger).items():
        for number, content in enumerate(request.each_content()):
            if content in first:
                places.setdefault(content, []).append((name, ledger.instances(request)[number]))
    return found + [
        _match(rows, row, name, other, None)
        for row, content in enumerate(contents)
        for name, other in places.get(content, ())
    ]


def _near_within(ledger: Ledger, rows: ForgetSet) -> list[Duplicate]:
    contents, prints = hash_images(ledger, rows), fingerprint(rows.x)
    pairs = [(row, other, bits) for row, other, bits in near_pairs(prints, prints) if row < other]
    near = {(row, other): bits for row, other, bits in pairs if contents[row] != contents[other]}
    return [_pair(rows, row, other, bits) for (row, other), bits in near.items()]


def _near_requests(ledger: Ledger, rows: ForgetSet, same: Sequence[Duplicate]) -> list[Duplicate]:
    active, found = _standing(ledger), list[Duplicate]()

    @cache
    def instances_of(name: str) -> list[Instance]:
        return ledger.instances(active[name])

    known = {(match.id, match.place, match.other) for match in same}
    stored = [item for item in read_checked(ledger) if item[0] in active]
    opened = b"".join(ledger.keys.open(sealed, name) for name, _, sealed in stored)
    prints = np.frombuffer(opened, dtype=np.uint8).reshape(-1, BYTES)
    for row, place, bits in _pairs_of_both_sides(rows, prints):
        name, number, _ = stored[place]
        match = _match(rows, row, name, instances_of(name)[number], bits)
        if (match.id, match.place, match.other) not in known:
            found.append(match)
    return found


def _standing(ledger: Ledger) -> dict[str, Request]:
    return {name: request for name, request in ledger.state.requests.items() if request.state is not State.WITHDRAWN}


def _pair(rows: ForgetSet, row: int, other: int, bits: int | None) -> Duplicate:
    return Duplicate(rows.ids[row], HERE, rows.ids[other], bits, (int(rows.y[row]), int(rows.y[other])))


def _match(rows: ForgetSet, row: int, name: str, other: Instance, bits: int | None) -> Duplicate:
    return Duplicate(rows.ids[row], name, other.id, bits, (int(rows.y[row]), other.label))


def _pairs_of_both_sides(rows: ForgetSet, prints: NDArray[np.uint8]) -> Sequence[tuple[int, int, int]]:
    """Return near pairs of the rows, or their mirror images, with stored hashes."""
    pairs: dict[tuple[int, int], int] = {}
    for x in (rows.x, rows.x.flip(-1)):
        for row, other, bits in near_pairs(fingerprint(x), prints):
            pairs[row, other] = min(bits, pairs.get((row, other), bits))
    return [(row, other, bits) for (row, other), bits in sorted(pairs.items())]
