"""An open project: its entries, checked, and what they add up to; see `place` for its folder."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from expunge.base.disk import write_bytes
from expunge.base.errors import LedgerError, OutputError
from expunge.requests.chain import Body, Entry, check_entry, checked, make_entries
from expunge.requests.database import Database, Fingerprint
from expunge.requests.events import replay, told
from expunge.requests.head import Head, Notes
from expunge.requests.keys import Keys, read_key
from expunge.requests.place import RESERVE_BYTES, RESERVE_FILE, explained, locate_database, read_settings
from expunge.requests.snapshot import is_due, read_snapshot, write_snapshot
from expunge.requests.state import Instance, LedgerState, Request


@dataclass(slots=True)
class Ledger:
    """An open project: its database, key, newest entry, and what all entries add up to.

    Args:
        folder: the project's.
        database: of the entries.
        keys: of the project.
        notes: where the newest entry is noted.
        head: as it is noted.
        last: the newest entry.
        state: what the entries add up to.
        covered: number of the entry that the snapshot reaches to; 0 if there is none.
        signature: what every entry made from now on says beside its particulars: who did it.
    """

    folder: Path
    database: Database
    keys: Keys
    notes: Notes
    head: Head
    last: Entry
    state: LedgerState
    covered: int = 0
    signature: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path) -> "Ledger":
        """Return the project in `folder`, as it is now. What is read is checked before it is used.

        Entries that a snapshot covers are not read; `verify` reads them.

        Raises:
            LedgerError: no project there, no key, no database, one of a newer schema, or something was changed.
        """
        folder = Path(folder)
        with explained(folder):
            settings = read_settings(folder)
            key = folder / settings["key"]
            keys = read_key(key)
            database = Database.connect(locate_database(folder, settings["database"]))
            database.schema()
            notes = Notes.of(folder, key, keys, _read_first(database, keys).hash)
            return cls._catch_up(folder, database, notes)

    @classmethod
    def _catch_up(cls, folder: Path, database: Database, notes: Notes) -> "Ledger":
        """Return the ledger; the head is read before the entries, so that it is never ahead of them."""
        head, coded = notes.read()
        snapshot = read_snapshot(folder, notes.keys)
        state, last = (LedgerState(), None) if snapshot is None else (snapshot.state, snapshot.last)
        covered = 0 if last is None else last.number
        if last is not None:
            _check_reached(database, notes.keys, last.number, last.hash)
        for entry in checked(notes.keys.chain, database.stream(covered), last):
            replay([entry], state)
            last = entry
        assert last is not None  # noqa: S101 - there is a first entry
        if state.schema > 1 and not coded:
            raise LedgerError(str(notes.inside), "a note with the key's code", "one without", "the file was changed")
        if last.number < head.number:
            raise _cut_off(head.number, last.number)
        _check_reached(database, notes.keys, head.number, head.hash)
        return cls(folder, database, notes.keys, notes, head, last, state, covered)

    @property
    def entries(self) -> list[Entry]:
        """Return all entries, checked, from the database."""
        return list(checked(self.keys.chain, self.database.stream()))

    def check(self) -> None:
        """Check every entry, and that they lead to the newest.

        Raises:
            LedgerError: an entry was changed, moved or removed.
        """
        number = 0
        for entry in checked(self.keys.chain, self.database.stream()):
            number = entry.number
            if number == self.last.number and entry.hash != self.last.hash:
                raise LedgerError(f"entry {number}", f"the hash {self.last.hash[:12]}...", entry.hash[:12] + "...")
        if number < self.last.number:
            raise _cut_off(self.last.number, number)

    def append(
        self,
        events: Iterable[tuple[str, Body]],
        fingerprints: Sequence[Fingerprint] = (),
        drop: Sequence[str] = (),
    ) -> None:
        """Add entries, and add or drop fingerprints, in one transaction; then note the chain's end outside of it.

        Where the disk is too full for the note, the entries are there nonetheless, and `settle` notes them.

        Raises:
            LedgerError, OutputError: the database can't be written to; nothing is changed.
        """
        signed = [(kind, {**body, **self.signature}) for kind, body in events]
        made = make_entries(self.keys.chain, self.last, signed)
        self.database.append(made, fingerprints, drop)
        self.last = made[-1]
        replay(made, self.state)
        with suppress(OutputError):
            self.note(finished=self.head.finished)

    def note(self, *, finished: int) -> None:
        """Note the newest entry outside of the database, unless it is noted."""
        head = Head(self.last.number, finished, self.last.hash)
        if head != self.head or not self.notes.is_complete:
            self.notes.write(head)
            self.head = head

    def settle(self) -> None:
        """Note that all files are in place, and write a snapshot when it is time for one.

        Raises:
            OutputError: the disk is full; the entries are there.
        """
        self.note(finished=self.last.number)
        self.database.truncate_log()
        with suppress(OutputError):
            if is_due(self.covered, self.last.number):
                write_snapshot(self.folder, self.keys, self.state, self.last)
                self.covered = self.last.number
            self.keep_reserve()

    def keep_reserve(self) -> None:
        """Hold some room on the disk, so that something can be deleted when it is full."""
        path = self.folder / RESERVE_FILE
        if not path.exists():
            write_bytes(path, bytes(RESERVE_BYTES))

    def instances(self, request: Request) -> list[Instance]:
        """Return the instances of a request, from its first entry."""
        (entry,) = self.entries_at(request.history[:1])
        return [Instance(*values) for values in entry.body["instances"]]

    def history(self, request: Request) -> list[tuple[str, str, Body]]:
        """Return time, kind and particulars of every entry that speaks of a request."""
        return [(entry.time, entry.kind, told(entry, request.name)) for entry in self.entries_at(request.history)]

    def entries_at(self, numbers: Sequence[int]) -> list[Entry]:
        """Return the entries of these numbers, checked.

        Raises:
            LedgerError: one was changed or removed.
        """
        found = {entry.number: entry for entry in self.database.find(numbers)}
        for number in numbers:
            if number not in found:
                raise LedgerError(f"entry {number}", "the entry that was written", "none", "it was removed")
            check_entry(self.keys.chain, found[number])
        return [found[number] for number in numbers]


def _read_first(database: Database, keys: Keys) -> Entry:
    """Return the first entry, which every project has.

    Raises:
        LedgerError: it is not there, or was changed.
    """
    for entry in checked(keys.chain, database.find([1])):
        return entry
    raise LedgerError("entry 1", "the entry that a project begins with", "none", "it was removed")


def _check_reached(database: Database, keys: Keys, number: int, value: str) -> None:
    """Check that the database holds the entry of this number and hash.

    Raises:
        LedgerError: it is not there, or another one.
    """
    found = database.find([number])
    if not found:
        raise _cut_off(number, max((entry.number for entry in database.stream()), default=0))
    check_entry(keys.chain, found[0])
    if found[0].hash != value:
        raise LedgerError(f"entry {number}", f"the hash {value[:12]}...", found[0].hash[:12] + "...")


def _cut_off(number: int, found: int) -> LedgerError:
    hint = "the last ones were removed, or an older copy of the project was put in its place"
    return LedgerError("ledger", f"at least {number} entries", str(found), hint)
