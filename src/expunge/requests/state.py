"""What the entries add up to: requests and their states, versions and the newest of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
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
    """One deletion request as it stands now.

    Args:
        name: R0001, R0002, ...
        reference: as it was given.
        rows: how many instances it has; `Ledger.instances` reads them.
        contents: their salted hashes, 64 characters each, one after the other.
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
        keeper: what is kept in place of its images, sealed; None where nothing is.
        due: the day by which it is to be done; None if nobody said.
        by: who added it; empty if nobody said.
        approved: who approved it since it last began to wait.
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
    keeper: StoredFile | None = None
    due: str | None = None
    by: str = ""
    approved: list[str] = field(default_factory=list)


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


def replay(entries: Iterable[Entry], state: LedgerState) -> None:
    """Bring the state up to date with the entries that follow; they must be checked.

    Raises:
        LedgerError: an entry is of a kind that this version doesn't know.
    """
    for entry in entries:
        if entry.kind not in EVENTS:
            raise LedgerError(f"entry {entry.number}", f"one of {', '.join(EVENTS)}", entry.kind, "use a newer expunge")
        EVENTS[entry.kind](state, entry, entry.body)


def owner_of(path: str) -> str:
    """Return the name of the request that a file of images belongs to.

    >>> owner_of("images/R0001-0123456789ab.sealed")
    'R0001'
    """
    return path.rpartition("/")[2].rpartition("-")[0]


def told(entry: Entry, request: str) -> Body:
    """Return what an entry says of one request."""
    body = entry.body
    if entry.kind == "purged":
        file: Body = next((file for file in body["files"] if owner_of(file["path"]) == request), {})
        return {**file, **_signature(body)}
    if entry.kind in ("applied", "undone"):
        return {"request": request, "version": body["version"], **_signature(body)}
    return body


def _signature(body: Body) -> Body:
    return {"actor": body["actor"]} if "actor" in body else {}


def _created(state: LedgerState, entry: Entry, body: Body) -> None:
    state.created = body
    state.schema = body["schema_version"]
    state.first = StoredFile(**body["first"]) if "first" in body else None


def _received(state: LedgerState, entry: Entry, body: Body) -> None:
    name, instances = body["request"], body["instances"]
    contents = "".join(content for _, content, _, _ in instances)
    how = _shared(state, body["how"])
    state.requests[name] = Request(
        name, body["reference"], len(instances), contents, body["goal"], how, body["keep_until"], entry.time
    )
    state.requests[name].fingerprints = body.get("fingerprints")
    state.requests[name].due, state.requests[name].by = body.get("due"), body.get("actor", "")
    channels, height, width = body["shape"]
    state.shape = channels, height, width
    _keep_images(state, body)
    _note(state, entry, name, State.RECEIVED)


def _shared(state: LedgerState, how: Body) -> Body:
    """Return the newest request's settings if they are the same, since most requests have the same."""
    newest = next(reversed(state.requests.values()), None)
    return newest.how if newest is not None and newest.how == how else how


def _validated(state: LedgerState, entry: Entry, body: Body) -> None:
    _note(state, entry, body["request"], State.VALIDATED)


def _supplied(state: LedgerState, entry: Entry, body: Body) -> None:
    _keep_images(state, body)
    _note(state, entry, body["request"], None)


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
        _note(state, entry, name, State.APPLIED)


def _kept(state: LedgerState, entry: Entry, body: Body) -> None:
    state.requests[body["request"]].keeper = StoredFile(**body["keeper"])
    _note(state, entry, body["request"], None)


def _verified(state: LedgerState, entry: Entry, body: Body) -> None:
    state.requests[body["request"]].figures = body["figures"]
    _note(state, entry, body["request"], State.VERIFIED)


def _approved(state: LedgerState, entry: Entry, body: Body) -> None:
    state.requests[body["request"]].approved.append(body["actor"])
    _note(state, entry, body["request"], None)


def _invited(state: LedgerState, entry: Entry, body: Body) -> None:
    state.people[body["person"]] = body["role"]


def _dismissed(state: LedgerState, entry: Entry, body: Body) -> None:
    state.people.pop(body["person"], None)


def _noted(state: LedgerState, entry: Entry, body: Body) -> None:
    """Change nothing: somebody did what leaves requests and weights as they are."""
    if body.get("request") in state.requests:
        _note(state, entry, body["request"], None)


def _failed(state: LedgerState, entry: Entry, body: Body) -> None:
    _note(state, entry, body["request"], State.FAILED)


def _undone(state: LedgerState, entry: Entry, body: Body) -> None:
    """Go back to the parent; the version's requests wait again."""
    version = state.versions[body["version"]]
    state.newest = version.parent
    for name in version.requests:
        if state.requests[name].state in FORGOTTEN:
            state.requests[name].version, state.requests[name].approved = None, []
            _note(state, entry, name, State.VALIDATED)


def _withdrawn(state: LedgerState, entry: Entry, body: Body) -> None:
    state.requests[body["request"]].version = None
    _note(state, entry, body["request"], State.WITHDRAWN)


def _purged(state: LedgerState, entry: Entry, body: Body) -> None:
    for name in body["fingerprints"]:
        if name in state.requests:
            state.requests[name].fingerprints = None
    for values in body["files"]:
        path = values["path"]
        state.purged.add(path)
        request = state.requests.get(owner_of(path))
        if request is not None and request.images is not None and request.images.path == path:
            request.images = None
            request.history.append(entry.number)
        if request is not None and request.keeper is not None and request.keeper.path == path:
            request.keeper = None
            request.history.append(entry.number)


def _rebased(state: LedgerState, entry: Entry, body: Body) -> None:
    """Begin anew from the newest weights: the way back to older ones is gone."""
    state.base, state.first, state.carried = state.newest, StoredFile(**body["first"]), body["carried"]
    state.cache = None
    state.purged |= {values["path"] for values in body["files"]}


def _cached(state: LedgerState, entry: Entry, body: Body) -> None:
    state.cache = StoredFile(**body["cache"])
    state.purged |= {values["path"] for values in body["files"]}


def _sealed(state: LedgerState, entry: Entry, body: Body) -> None:
    """Seal the files of a project of old, and put its perceptual hashes under the chain."""
    state.schema, state.first = body["schema_version"], StoredFile(**body["first"])
    for number, values in body["patches"].items():
        state.versions[int(number)] = replace(state.versions[int(number)], patch=StoredFile(**values))
    for name, digest in body["fingerprints"].items():
        state.requests[name].fingerprints = digest
    state.purged |= {values["path"] for values in body["files"]}


def _keep_images(state: LedgerState, body: Body) -> None:
    state.requests[body["request"]].images = StoredFile(**body["images"])


def _note(state: LedgerState, entry: Entry, name: str, new: State | None) -> None:
    request = state.requests[name]
    request.history.append(entry.number)
    if new is not None:
        request.state = new


EVENTS: dict[str, Callable[[LedgerState, Entry, Body], None]] = {
    "created": _created,
    "received": _received,
    "validated": _validated,
    "supplied": _supplied,
    "applied": _applied,
    "kept": _kept,
    "verified": _verified,
    "failed": _failed,
    "undone": _undone,
    "withdrawn": _withdrawn,
    "purged": _purged,
    "rebased": _rebased,
    "cached": _cached,
    "sealed": _sealed,
    "approved": _approved,
    "invited": _invited,
    "dismissed": _dismissed,
    "noted": _noted,
}
