"""What each kind of entry does to the state."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from expunge.base.errors import LedgerError
from expunge.requests.chain import Body, Entry
from expunge.requests.state import FORGOTTEN, LedgerState, Request, State, StoredFile, Version


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


def _approval(state: LedgerState, entry: Entry, body: Body) -> None:
    names = {"approval": "approval", "before": "before", "actor": "by"}
    state.approval = {"time": entry.time, **{name: body[key] for key, name in names.items()}}


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
    "approval": _approval,
    "invited": _invited,
    "dismissed": _dismissed,
    "noted": _noted,
}
