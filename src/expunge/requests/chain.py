"""Entries of the ledger: each holds the keyed hash of the one before, so that no later change goes unseen."""

import hmac
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from expunge.base.errors import ExpungeWarning, LedgerError

START = "0" * 64
Body = Mapping[str, Any]


class Entry(NamedTuple):
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
    """Return entries for `events` (kind, particulars) that continue the chain after `last`.

    An entry that is made before the time of the one before it says so under `clock`.

    Warns:
        ExpungeWarning: the clock was set back.
    """
    made: list[Entry] = []
    for kind, body in events:
        number, previous = (1, START) if last is None else (last.number + 1, last.hash)
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        if last is not None and time < last.time:
            warnings.warn(f"the clock is behind entry {last.number} ({last.time})", ExpungeWarning, stacklevel=2)
            body = {**body, "clock": f"behind entry {last.number}"}  # noqa: PLW2901 - the same particulars and this one
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        last = Entry(number, time, kind, text, previous, entry_hash(key, number, time, kind, text, previous))
        made.append(last)
    return made


def entry_hash(key: bytes, number: int, time: str, kind: str, text: str, previous: str) -> str:
    """Return the keyed hash of an entry's fields; no field can hold the newline that parts them."""
    return hmac.digest(key, "\n".join((previous, str(number), time, kind, text)).encode(), "sha256").hex()


def checked(key: bytes, entries: Iterable[Entry], last: Entry | None = None) -> Iterator[Entry]:
    """Yield the entries that follow `last`, each checked to be as it was written and where it was written.

    Raises:
        LedgerError: one was changed, removed or put in between; its number is in the message.
    """
    number, previous = (0, START) if last is None else (last.number, last.hash)
    for entry in entries:
        number += 1
        if entry.number != number or entry.previous != previous:
            raise LedgerError(
                f"entry {number}",
                "the entry that followed when it was written",
                "a gap",
                "entries were removed or moved",
            )
        check_entry(key, entry)
        previous = entry.hash
        yield entry


def check_entry(key: bytes, entry: Entry) -> None:
    """Check that an entry is as it was written.

    Raises:
        LedgerError: it was changed.
    """
    try:
        found = entry_hash(key, *entry[:-1])
        same = hmac.compare_digest(found, entry.hash)
    except (TypeError, UnicodeError):  # not even text
        same = False
    if not same:
        raise LedgerError(
            f"entry {entry.number}",
            "what was written",
            "another content",
            "the row was changed, or the key is another one",
        )
