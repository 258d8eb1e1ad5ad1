"""The state as a file, so that a long ledger opens at once: under a code of the key, and made anew if it is lost.

One line with the code, one with everything but requests, one for each request.
"""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from expunge.base.disk import write_bytes
from expunge.requests.chain import Entry
from expunge.requests.keys import Keys
from expunge.requests.state import LedgerState, Request, State, StoredFile, Version

SNAPSHOT_FILE = "state.snapshot"
PURPOSE = "snapshot"
FORMAT = 1
FEWEST = 1000
"""A snapshot is written when so many entries are not in the last one, or a twentieth of all."""

KEEPER = "keeper"
NAMES = [field.name for field in fields(Request) if field.name != KEEPER]
HOW, STATE, IMAGES = (NAMES.index(name) for name in ("how", "state", "images"))
AT_ONCE = 1000
"""Requests that are read at once."""
PLAIN = ("schema", "base", "carried", "newest")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state, and the entry that it reaches to."""

    state: LedgerState
    last: Entry


def is_due(covered: int, newest: int) -> bool:
    """Return whether so many entries have come since the last snapshot that it is time for the next.

    >>> is_due(0, 400), is_due(0, 1000), is_due(100_000, 101_000)
    (False, True, False)
    """
    return newest - covered >= max(FEWEST, newest // 20)


def write_snapshot(folder: Path, keys: Keys, state: LedgerState, last: Entry) -> None:
    """Write the state that reaches to the entry `last`."""
    content = "\n".join(_lines(state, last)).encode()
    write_bytes(folder / SNAPSHOT_FILE, keys.code(PURPOSE, content).encode() + b"\n" + content)


def read_snapshot(folder: Path, keys: Keys) -> Snapshot | None:
    """Return the last snapshot; None if there is none, or one that was not written with the key by this version."""
    try:
        code, _, content = (folder / SNAPSHOT_FILE).read_bytes().partition(b"\n")
    except OSError:
        return None
    if code != keys.code(PURPOSE, content).encode():
        return None
    lines = content.split(b"\n")
    del content
    head = json.loads(lines[0])
    if head["format"] != FORMAT:
        return None
    with _without_collector():
        return Snapshot(_state(head, lines[1:]), Entry(*head["last"]))


def _lines(state: LedgerState, last: Entry) -> Iterator[str]:
    hows: list[Any] = []
    place: dict[int, int] = {}
    for request in state.requests.values():
        if id(request.how) not in place:
            place[id(request.how)] = len(hows)
            hows.append(request.how)
    yield json.dumps(
        {
            "format": FORMAT,
            "last": list(last),
            "created": state.created,
            "first": None if state.first is None else asdict(state.first),
            "shape": state.shape,
            "cache": None if state.cache is None else asdict(state.cache),
            "versions": [asdict(version) for version in state.versions.values()],
            "purged": sorted(state.purged),
            "hows": hows,
            "keepers": {
                name: asdict(request.keeper) for name, request in state.requests.items() if request.keeper is not None
            },
            "people": state.people,
            "approval": state.approval,
            **{name: getattr(state, name) for name in PLAIN},
        }
    )
    for request in state.requests.values():
        values = {name: getattr(request, name) for name in NAMES}
        values["how"] = place[id(request.how)]
        values["images"] = None if request.images is None else list(asdict(request.images).values())
        yield json.dumps(list(values.values()))


def _state(head: dict[str, Any], lines: Sequence[bytes]) -> LedgerState:
    state = LedgerState(created=head["created"], first=_file(head["first"]), purged=set(head["purged"]))
    for name in PLAIN:
        setattr(state, name, head[name])
    state.shape = None if head["shape"] is None else tuple(head["shape"])
    state.cache = _file(head.get("cache"))
    state.people = head.get("people", {})
    state.approval = head.get("approval", {})
    for values in head["versions"]:
        values |= {"patch": StoredFile(**values["patch"]), "requests": tuple(values["requests"])}
        state.versions[values["number"]] = Version(**values)
    hows, states = head["hows"], {one.value: one for one in State}
    for start in range(0, len(lines), AT_ONCE):
        for values in json.loads(b"[" + b",".join(lines[start : start + AT_ONCE]) + b"]"):
            values[HOW], values[STATE] = hows[values[HOW]], states[values[STATE]]
            values[IMAGES] = None if values[IMAGES] is None else StoredFile(*values[IMAGES])
            state.requests[values[0]] = Request(*values)
    for name, values in head.get("keepers", {}).items():
        state.requests[name].keeper = StoredFile(**values)
    return state


@contextmanager
def _without_collector() -> Iterator[None]:
    """Make many objects that stay, without a look at each of them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _file(values: dict[str, Any] | None) -> StoredFile | None:
    return None if values is None else StoredFile(**values)
