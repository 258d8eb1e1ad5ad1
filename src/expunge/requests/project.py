"""The project folder: where everything is, how it is opened, and the lock that keeps two writers apart.

project.toml         database and key file, if they are elsewhere
key                  the secret; owner only
ledger.sqlite        the database
head.json            number and hash of the last entry, outside of the database
first.safetensors    the first classifier
current.safetensors  the newest weights
versions/            a patch for each version
images/              encrypted images of requests that wait, or are kept until a date
"""

import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.base.disk import write_json
from expunge.base.errors import LedgerError
from expunge.requests.chain import Body, Entry, check_chain, check_head, make_entries
from expunge.requests.database import Database, Fingerprint
from expunge.requests.keys import Keys, read_key
from expunge.requests.state import LedgerState, replay

try:
    from filelock import FileLock, Timeout
except ImportError as error:
    raise LedgerError("requests", "filelock", "none installed", "pip install 'expunge[requests]'") from error

SETTINGS_FILE = "project.toml"
HEAD_FILE = "head.json"
FIRST_FILE = "first.safetensors"
CURRENT_FILE = "current.safetensors"
VERSIONS_FOLDER = "versions"
IMAGES_FOLDER = "images"
CACHE_FOLDER = "cache"
LOCK_FILE = ".lock"
DEFAULT_DATABASE = "sqlite:///ledger.sqlite"
DEFAULT_KEY = "key"
SQLITE_FILE = "sqlite:///"


@dataclass(slots=True)
class Ledger:
    """An open project: its database, key, entries and what they add up to."""

    folder: Path
    database: Database
    keys: Keys
    entries: list[Entry]
    state: LedgerState

    @classmethod
    def open(cls, folder: str | Path) -> "Ledger":
        """Return the project in `folder`, as it is now.

        Raises:
            LedgerError: no project there, no key, no database, or one of a newer schema.
        """
        folder = Path(folder)
        settings = _read_settings(folder / SETTINGS_FILE)
        keys = read_key(folder / settings.get("key", DEFAULT_KEY))
        database = Database.connect(locate_database(folder, settings.get("database", DEFAULT_DATABASE)))
        entries = database.read()
        return cls(folder, database, keys, entries, replay(entries))

    def check(self) -> None:
        """Check the chain of entries and that its end is where it was noted.

        Raises:
            LedgerError: an entry was changed, moved or removed.
        """
        check_chain(self.keys.chain, self.entries)
        check_head(self.entries, self.read_head())

    def append(
        self,
        events: Iterable[tuple[str, Body]],
        fingerprints: Sequence[Fingerprint] = (),
        drop: Sequence[str] = (),
    ) -> None:
        """Add entries, and add or drop fingerprints, in one transaction; then note the chain's end outside of it.

        Raises:
            LedgerError, OutputError: the database can't be written to; nothing is changed.
        """
        made = make_entries(self.keys.chain, self.entries[-1] if self.entries else None, events)
        self.database.append(made, fingerprints, drop)
        self.entries += made
        replay(made, self.state)
        self.note_head()

    def read_head(self) -> dict[str, Any]:
        """Return number and hash of the last entry, as noted outside of the database; 0 if there is no note."""
        path = self.folder / HEAD_FILE
        try:
            head: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return {"number": int(head["number"]), "hash": str(head["hash"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(str(path), "the number and hash of the last entry", f"{error}") from error

    def note_head(self) -> None:
        """Write number and hash of the last entry to their file."""
        last = self.entries[-1]
        write_json(self.folder / HEAD_FILE, {"number": last.number, "hash": last.hash})


@contextmanager
def locked(folder: str | Path, *, wait_seconds: float) -> Iterator[None]:
    """Keep other writers out during the block; the system lifts the lock if the process dies.

    Raises:
        LedgerError: another process holds it for longer than `wait_seconds`, or the folder can't be written to.
    """
    lock = FileLock(Path(folder) / LOCK_FILE)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise LedgerError(
            str(folder), "no other expunge at work", "a lock held by one", "wait for it to end, or say --wait SECONDS"
        ) from error
    except OSError as error:
        raise LedgerError(str(folder), "a folder that can be written to", f"{error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def locate_database(folder: Path, url: str) -> str:
    """Return the URL with a relative SQLite file taken from the project folder.

    >>> locate_database(Path("project"), "sqlite:///ledger.sqlite")
    'sqlite:///project/ledger.sqlite'
    """
    if url.startswith(SQLITE_FILE):
        return SQLITE_FILE + str(folder / url.removeprefix(SQLITE_FILE))
    return url


def _read_settings(path: Path) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in tomllib.loads(path.read_text("utf-8")).items()}
    except FileNotFoundError as error:
        raise LedgerError(
            str(path.parent), "a project of deletion requests", f"no {path.name}", "see `expunge requests init`"
        ) from error
    except (OSError, ValueError) as error:
        raise LedgerError(str(path), "a TOML file that can be read", f"{error}") from error
