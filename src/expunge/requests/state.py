"""What the entries add up to: requests and their states, versions and the newest of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from expunge.base.errors import LedgerError
from expunge.requests.chain import Body


class State(StrEnum):
    """Where a request is."""

    RECEIVED = "received"
    VALIDATED = "validated"
    """Fits the classifier, and waits to be applied."""
    APPLIED = "applied"
    VERIFIED = "verified"
    """Holds in the weights as they were read back from the disk."""
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


FORGOTTEN = (State.APPLIED, State.VERIFIED)
HASH_DIGITS = 64
"""Characters of a salted hash."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One image of a request: what the user calls it, its salted hash, its label, the label that it is to get."""

    id: str
    content: str
    label: int
    new_label: int | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the project: path from the folder, SHA-256, size."""

    path: str
    sha256: str
    bytes: int


@dataclass(slots=True)
class Request:
    """One deletion request as it stands now.

    Args:
        name: R0001, R0002, ...
        reference: as it was given.
        rows: how many instances it has; `Ledger.instances` reads them.
        contents: their salted hashes, one after the other; see `each_content`.
        goal: `misclassify` or `relabel`.
        how: method, settings, strength and seed.
        keep_until: the day until whose end the images are kept; None for until they are verified.
        received: when.
        state: where it is.
        version: that forgot it.
        images: its sealed images, as long as they are there.
        fingerprints: SHA-256 of its sealed perceptual hashes in order; None where there are none.
        figures: of its verification.
        history: numbers of the entries that speak of it.
        due: the day by which it is to be done; None if nobody said.
        by: who added it; empty if nobody said.
        approved: who approved it since it last began to wait.
        keeper: what is kept in place of its images, sealed; None where nothing is.
    """

    name: str
    reference: str
    rows: int
    contents: str
    goal: str
    how: Mapping[str, Any]
    keep_until: str | None
    received: str
    state: State = State.RECEIVED
    version: int | None = None
    images: StoredFile | None = None
    fingerprints: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    history: list[int] = field(default_factory=list)
    due: str | None = None
    by: str = ""
    approved: list[str] = field(default_factory=list)
    keeper: StoredFile | None = None

    def each_content(self) -> list[str]:
        """Return the salted hash of each of its images, in order."""
        starts = range(0, len(self.contents), HASH_DIGITS)
        return [self.contents[start : start + HASH_DIGITS] for start in starts]


@dataclass(frozen=True, slots=True)
class Version:
    """One set of weights: the patch that leads to it from its parent, and what it was made for."""

    number: int
    parent: int
    base_sha256: str
    result_sha256: str
    patch: StoredFile
    requests: tuple[str, ...]
    time: str
    figures: Mapping[str, Any]


@dataclass(slots=True)
class LedgerState:
    """What all entries add up to.

    Args:
        created: the first entry's particulars.
        schema: 1 for a project of old, whose weights and patches are not sealed.
        first: the sealed weights that the versions lead from; None if they are not sealed.
        base: number of the version that `first` is: 0, or the newest when older ones were purged.
        carried: drift until `base`.
        requests: by name.
        versions: by number.
        newest: number of the newest version.
        purged: paths of the files that were deleted.
        shape: (c, h, w) of the images of all requests.
        cache: surrogates that were made from the first classifier, sealed; None if there are none.
        people: who may work at the desk: role by name.
        approval: who has to approve requests, what it was before, by whom and when that was changed last; empty if it
            is as it was made.
    """

    created: Body = field(default_factory=dict)
    schema: int = 1
    first: StoredFile | None = None
    base: int = 0
    carried: float = 0.0
    requests: dict[str, Request] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    newest: int = 0
    purged: set[str] = field(default_factory=set)
    shape: tuple[int, int, int] | None = None
    cache: StoredFile | None = None
    people: dict[str, str] = field(default_factory=dict)
    approval: Mapping[str, str] = field(default_factory=dict)

    @property
    def keeps(self) -> bool:
        """Return whether the project makes keepers of what it forgets."""
        return bool(self.created.get("keepers", False))

    @property
    def weights_sha256(self) -> str:
        """Return the hash of the newest weights."""
        return self.sha256_of(self.newest)

    def sha256_of(self, version: int) -> str:
        """Return the hash of a version's weights; version 0 is the first classifier."""
        return self.versions[version].result_sha256 if version else str(self.created["weights_sha256"])

    def all_sha256(self) -> set[str]:
        """Return the hashes of all versions that ever were, and of the first classifier."""
        return {self.sha256_of(number) for number in (0, *self.versions)}

    def lineage(self) -> list[Version]:
        """Return the versions from the first weights that are kept to the newest, without those that were undone."""
        found: list[Version] = []
        number = self.newest
        while number != self.base:
            found.append(self.versions[number])
            number = self.versions[number].parent
        return found[::-1]

    def in_state(self, *states: State) -> list[Request]:
        """Return the requests in one of these states, oldest first."""
        return [request for request in self.requests.values() if request.state in states]

    def next_request(self) -> str:
        """Return the name of the next request."""
        return f"R{len(self.requests) + 1:04d}"

    def next_version(self) -> int:
        """Return the number of the next version; numbers of undone versions are not used again."""
        return max(self.versions, default=0) + 1

    def find(self, name: str) -> Request:
        """Return a request by name.

        Raises:
            LedgerError: there is none of that name.
        """
        if name not in self.requests:
            known = f"R0001..{list(self.requests)[-1]}" if self.requests else "a request; there is none yet"
            raise LedgerError("request", known, name)
        return self.requests[name]
