"""What the entries add up to: requests and their states, versions and the newest of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from expunge.base.errors import LedgerError
from expunge.requests.chain import Body, Entry


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
    """One deletion request as it stands now."""

    name: str
    reference: str
    instances: tuple[Instance, ...]
    goal: str
    how: Mapping[str, Any]
    keep_until: str | None
    received: str
    state: State = State.RECEIVED
    version: int | None = None
    images: StoredFile | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    history: list[tuple[str, str, Body]] = field(default_factory=list)


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
    """The fold of all entries; `owners` are the requests that files of images belong to, by path."""

    created: Body = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    newest: int = 0
    purged: dict[str, StoredFile] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    @property
    def weights_sha256(self) -> str:
        """Return the hash of the newest weights."""
        return self.sha256_of(self.newest)

    def sha256_of(self, version: int) -> str:
        """Return the hash of a version's weights; version 0 is the first classifier."""
        return self.versions[version].result_sha256 if version else str(self.created["weights_sha256"])

    def lineage(self) -> list[Version]:
        """Return the versions from the first classifier to the newest weights, without those that were undone."""
        found: list[Version] = []
        number = self.newest
        while number:
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


def replay(entries: Iterable[Entry], state: LedgerState | None = None) -> LedgerState:
    """Return the state that the entries lead to, from `state` or from nothing; `state` is changed.

    Raises:
        LedgerError: an entry is of a kind that this version doesn't know.
    """
    state = LedgerState() if state is None else state
    for entry in entries:
        if entry.kind not in EVENTS:
            raise LedgerError(f"entry {entry.number}", f"one of {', '.join(EVENTS)}", entry.kind, "use a newer expunge")
        EVENTS[entry.kind](state, entry, entry.body)
    return state


def _created(state: LedgerState, entry: Entry, body: Body) -> None:
    state.created = body


def _received(state: LedgerState, entry: Entry, body: Body) -> None:
    instances = tuple(Instance(*values) for values in body["instances"])
    name = body["request"]
    state.requests[name] = Request(
        name, body["reference"], instances, body["goal"], body["how"], body["keep_until"], entry.time
    )
    _keep_images(state, body)
    _note(state, entry, body, State.RECEIVED)


def _validated(state: LedgerState, entry: Entry, body: Body) -> None:
    _note(state, entry, body, State.VALIDATED)


def _supplied(state: LedgerState, entry: Entry, body: Body) -> None:
    _keep_images(state, body)
    _note(state, entry, body, None)


def _applied(state: LedgerState, entry: Entry, body: Body) -> None:
    number = body["version"]
    state.versions[number] = Version(
        number,
        body["parent"],
        body["base_sha256"],
        body["result_sha256"],
        StoredFile(**body["patch"]),
        tuple(body["requests"]),
        entry.time,
        body["figures"],
    )
    state.newest = number
    for name in body["requests"]:
        state.requests[name].version = number
        _note(state, entry, {"request": name, "version": number}, State.APPLIED)


def _verified(state: LedgerState, entry: Entry, body: Body) -> None:
    state.requests[body["request"]].figures = body["figures"]
    _note(state, entry, body, State.VERIFIED)


def _failed(state: LedgerState, entry: Entry, body: Body) -> None:
    _note(state, entry, body, State.FAILED)


def _undone(state: LedgerState, entry: Entry, body: Body) -> None:
    """Go back to the parent; the version's requests wait again."""
    version = state.versions[body["version"]]
    state.newest = version.parent
    for name in version.requests:
        if state.requests[name].state in FORGOTTEN:
            state.requests[name].version = None
            _note(state, entry, {"request": name, "version": version.number}, State.VALIDATED)


def _withdrawn(state: LedgerState, entry: Entry, body: Body) -> None:
    state.requests[body["request"]].version = None
    _note(state, entry, body, State.WITHDRAWN)


def _purged(state: LedgerState, entry: Entry, body: Body) -> None:
    for values in body["files"]:
        file = StoredFile(**values)
        state.purged[file.path] = file
        if file.path in state.owners:
            request = state.requests[state.owners[file.path]]
            request.images = None
            request.history.append((entry.time, entry.kind, values))


def _keep_images(state: LedgerState, body: Body) -> None:
    file = StoredFile(**body["images"])
    state.requests[body["request"]].images = file
    state.owners[file.path] = body["request"]


def _note(state: LedgerState, entry: Entry, body: Body, new: State | None) -> None:
    request = state.requests[body["request"]]
    request.history.append((entry.time, entry.kind, body))
    if new is not None:
        request.state = new


EVENTS: dict[str, Callable[[LedgerState, Entry, Body], None]] = {
    "created": _created,
    "received": _received,
    "validated": _validated,
    "supplied": _supplied,
    "applied": _applied,
    "verified": _verified,
    "failed": _failed,
    "undone": _undone,
    "withdrawn": _withdrawn,
    "purged": _purged,
}
