"""Entries of the ledger: each holds the keyed hash of the one before, so that no later change goes unseen."""

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from expunge.base.errors import LedgerError

START = "0" * 64
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    Args:
        number: 1, 2, 3, ...
        time: when it was written, UTC, ISO 8601.
        kind: what happened; `expunge.requests.state` knows the kinds.
        text: the particulars, as canonical JSON.
        previous: hash of the entry before, `START` for the first.
        hash: HMAC-SHA256 of all of the above with the project's key.
    """

    number: int
    time: str
    kind: str
    text: str
    previous: str
    hash: str

    @property
    def body(self) -> Body:
        """Return the particulars as plain values."""
        values: Body = json.loads(self.text)
        return values


def make_entries(key: bytes, last: Entry | None, events: Iterable[tuple[str, Body]]) -> list[Entry]:
    """Return entries for `events` (kind, particulars) that continue the chain after `last`."""
    made: list[Entry] = []
    for kind, body in events:
        number, previous = (1, START) if last is None else (last.number + 1, last.hash)
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        last = Entry(number, time, kind, text, previous, entry_hash(key, number, time, kind, text, previous))
        made.append(last)
    return made


def entry_hash(key: bytes, number: int, time: str, kind: str, text: str, previous: str) -> str:
    """Return the keyed hash of an entry's fields; no field can hold the newline that parts them."""
    return hmac.digest(key, "\n".join((previous, str(number), time, kind, text)).encode(), "sha256").hex()


def check_chain(key: bytes, entries: Sequence[Entry]) -> None:
    """Check that every entry is as it was written and where it was written.

    Raises:
        LedgerError: one was changed, removed or put in between; its number is in the message.
    """
    previous = START
    for number, entry in enumerate(entries, 1):
        if entry.number != number or entry.previous != previous:
            raise LedgerError(
                f"entry {number}",
                "the entry that followed when it was written",
                "a gap",
                "entries were removed or moved",
            )
        found = entry_hash(key, entry.number, entry.time, entry.kind, entry.text, entry.previous)
        if not hmac.compare_digest(found, entry.hash):
            raise LedgerError(
                f"entry {number}",
                "what was written",
                "another content",
                "the row was changed, or the key is another one",
            )
        previous = entry.hash


def check_head(entries: Sequence[Entry], head: Mapping[str, Any]) -> None:
    """Check that the chain still reaches the `number` and `hash` noted outside of the database.

    Raises:
        LedgerError: it is shorter, or was written anew.
    """
    number, value = int(head["number"]), str(head["hash"])
    if number > len(entries):
        raise LedgerError("ledger", f"at least {number} entries", str(len(entries)), "the last ones were removed")
    if number and entries[number - 1].hash != value:
        raise LedgerError(f"entry {number}", f"the hash {value[:12]}...", entries[number - 1].hash[:12] + "...")
