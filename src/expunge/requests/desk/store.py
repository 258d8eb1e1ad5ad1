"""What the desk keeps beside the ledger: invitations, sessions, forms that were sent, jobs. One SQLite file.

Whatever gives rights carries a code of the project's key: a row that somebody wrote without it counts for nothing.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from expunge.base.errors import OutputError
from expunge.requests.desk.limits import LONGEST_SESSION
from expunge.requests.keys import Keys
from expunge.requests.place import DESK_FOLDER

FILE = "desk.sqlite"
BUSY_SECONDS = 10.0
OWN = 0o700
TABLES = """
CREATE TABLE IF NOT EXISTS invitations (hash TEXT PRIMARY KEY, person TEXT, expires REAL, used INTEGER, code TEXT);
CREATE TABLE IF NOT EXISTS sessions (hash TEXT PRIMARY KEY, person TEXT, started REAL, seen REAL, code TEXT);
CREATE TABLE IF NOT EXISTS forms (hash TEXT PRIMARY KEY, sent REAL);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, kind TEXT, person TEXT, arguments TEXT, created REAL, code TEXT,
    state TEXT, entry INTEGER, attempts INTEGER, cancel INTEGER, progress TEXT, result TEXT, error TEXT, ended REAL
);
"""


class JobState(StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (JobState.WAITING, JobState.RUNNING)
NOTE = "note"
"""The kind of jobs that only note in the ledger what somebody did; no page shows them."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something that one person asked the worker to do.

    Args:
        id: 16 hexadecimal digits; entries that the job makes in the ledger bear it.
        kind: a name of `expunge.requests.desk.work.KINDS`.
        person: who asked.
        arguments: what the kind needs.
        created: seconds since 1970.
        state: where it is.
        entry: the newest entry of the ledger when it was begun first; 0 before.
        attempts: how often it was begun.
        cancel: whether somebody wants it to stop.
        progress: phase, units done and their total, as last told.
        result: what it came to, for the page.
        error: why it failed.
        ended: seconds since 1970; 0 before.
    """

    id: str
    kind: str
    person: str
    arguments: Mapping[str, Any]
    created: float
    state: JobState = JobState.WAITING
    entry: int = 0
    attempts: int = 0
    cancel: bool = False
    progress: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    error: str = ""
    ended: float = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether it waits or runs."""
        return self.state in OPEN

    @property
    def is_note(self) -> bool:
        """Return whether it only notes what somebody did."""
        return self.kind == NOTE


@dataclass(frozen=True, slots=True)
class Store:
    """The desk's file in the project folder; every call is one transaction, so that processes can share it."""

    path: Path
    keys: Keys

    @classmethod
    def open(cls, folder: Path, keys: Keys) -> "Store":
        """Return the store of a project, made for its owner alone where it is missing; what has ended is deleted.

        Raises:
            OutputError: it can't be made.
        """
        place = folder / DESK_FOLDER
        store = cls(place / FILE, keys)
        try:
            place.mkdir(mode=OWN, exist_ok=True)
            with store._connected() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA secure_delete = ON")
                connection.executescript(TABLES)
                _sweep(connection)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(str(place), "a folder that can be made and written to", f"{error}") from error
        return store

    def hash(self, secret: str) -> str:
        """Return what is kept of a token: without the key, nobody can tell which token it was."""
        return self.keys.code("token", secret.encode())

    def add_invitation(self, secret: str, person: str, expires: float) -> None:
        """Keep an invitation until `expires`, in seconds since 1970."""
        found = self.hash(secret)
        code = self._code("invitation", found, person, expires)
        self._run("INSERT INTO invitations VALUES (?, ?, ?, 0, ?)", found, person, expires, code)

    def find_invitation(self, secret: str) -> str | None:
        """Return whom a token invites; None if it is unknown, used or too old."""
        row = self._one("SELECT person, expires, code FROM invitations WHERE hash = ? AND used = 0", self.hash(secret))
        if row is None or row[2] != self._code("invitation", self.hash(secret), row[0], row[1]) or row[1] < time.time():
            return None
        return str(row[0])

    def use_invitation(self, secret: str) -> bool:
        """Mark an invitation as used; return whether this call did."""
        return self._run("UPDATE invitations SET used = 1 WHERE hash = ? AND used = 0", self.hash(secret)) == 1

    def add_session(self, secret: str, person: str) -> None:
        """Begin a session."""
        found, now = self.hash(secret), time.time()
        self._run("INSERT INTO sessions VALUES (?,?,?,?,?)", found, person, now, now, self._session(found, person, now))

    def find_session(self, secret: str, *, longest: float, idle: float) -> str | None:
        """Return whose session it is, and note that it was used; None if there is none, or it has ended."""
        found, now = self.hash(secret), time.time()
        row = self._one("SELECT person, started, seen, code FROM sessions WHERE hash = ?", found)
        if row is None or row[3] != self._session(found, row[0], row[1]):
            return None
        if now - row[1] > longest or now - row[2] > idle:
            self.end_session(secret)
            return None
        self._run("UPDATE sessions SET seen = ? WHERE hash = ?", now, found)
        return str(row[0])

    def end_session(self, secret: str) -> None:
        """Forget a session."""
        self._run("DELETE FROM sessions WHERE hash = ?", self.hash(secret))

    def end_sessions_of(self, person: str) -> None:
        """Forget all sessions and invitations of a person."""
        self._run("DELETE FROM sessions WHERE person = ?", person)
        self._run("DELETE FROM invitations WHERE person = ?", person)

    def use_form(self, secret: str) -> bool:
        """Note that a form was sent; return whether it is the first time."""
        return self._run("INSERT OR IGNORE INTO forms VALUES (?, ?)", self.hash(secret), time.time()) == 1

    def add_job(self, kind: str, person: str, arguments: Mapping[str, Any]) -> Job:
        """Queue a job and return it."""
        job = Job(secrets.token_hex(8), kind, person, arguments, time.time())
        text = json.dumps(arguments, sort_keys=True)
        self._run(
            "INSERT INTO jobs"
            " (id, kind, person, arguments, created, code, state, entry, attempts, cancel, error, ended)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, '', 0)",
            *(job.id, kind, person, text, job.created),
            *(self._code("job", job.id, kind, person, text, job.created), job.state.value),
        )
        return job

    def note(self, person: str, what: str, **about: object) -> None:
        """Have the worker note in the ledger what somebody did, and when: while it edits, nothing else is written."""
        self.add_job(NOTE, person, {"what": what, "at": datetime.now(UTC).isoformat(timespec="seconds"), **about})

    def find_job(self, name: str) -> Job | None:
        """Return a job by its id; None if there is none."""
        found = self._jobs("WHERE id = ?", name)
        return found[0] if found else None

    def open_jobs(self) -> list[Job]:
        """Return the jobs that wait or run, in order."""
        return self._jobs("WHERE state IN ('waiting', 'running') ORDER BY number")

    def recent_jobs(self, count: int) -> list[Job]:
        """Return the newest jobs, newest first, without notes."""
        return self._jobs("WHERE kind != ? ORDER BY number DESC LIMIT ?", NOTE, count)

    def update_job(self, job: Job) -> Job:
        """Write where a job is, what it told last and what it came to; whether it is to stop is left as it is."""
        self._run(
            "UPDATE jobs SET state=?, entry=?, attempts=?, progress=?, result=?, error=?, ended=? WHERE id=?",
            *(job.state.value, job.entry, job.attempts, json.dumps(job.progress), json.dumps(job.result)),
            *(job.error, job.ended, job.id),
        )
        return job

    def tell(self, name: str, progress: Mapping[str, Any]) -> None:
        """Write how far a job has come."""
        self._run("UPDATE jobs SET progress = ? WHERE id = ?", json.dumps(progress), name)

    def cancel_job(self, name: str) -> None:
        """Ask the worker to stop a job; one that still waits is cancelled at once."""
        self._run("UPDATE jobs SET cancel = 1 WHERE id = ?", name)
        sql = "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'waiting'"
        self._run(sql, time.time(), name)

    def begin_job(self, job: Job, entry: int) -> Job | None:
        """Mark a waiting job as running and return it; None if it was cancelled meanwhile."""
        begun = replace(job, state=JobState.RUNNING, attempts=job.attempts + 1, entry=job.entry or entry)
        sql = "UPDATE jobs SET state='running', attempts=?, entry=? WHERE id=? AND state IN ('waiting', 'running')"
        return begun if self._run(sql, begun.attempts, begun.entry, job.id) else None

    def _jobs(self, rest: str, *values: object) -> list[Job]:
        columns = (
            "id, kind, person, arguments, created, code, state, entry, attempts, cancel, progress, result, error, ended"
        )
        with self._connected() as connection:
            rows = connection.execute(f"SELECT {columns} FROM jobs {rest}", values).fetchall()  # noqa: S608 - constants
        sound = [row for row in rows if row[5] == self._code("job", *row[:5])]
        return [
            Job(
                *(row[0], row[1], row[2], json.loads(row[3]), row[4], JobState(row[6]), row[7], row[8], bool(row[9])),
                *(json.loads(row[10] or "null"), json.loads(row[11] or "null"), row[12], row[13]),
            )
            for row in sound
        ]

    def _session(self, found: str, person: str, started: float) -> str:
        return self._code("session", found, person, started)

    def _code(self, purpose: str, *values: object) -> str:
        return self.keys.code(f"desk {purpose}", json.dumps(values).encode())

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        with self._connected() as connection:
            row: tuple[Any, ...] | None = connection.execute(sql, values).fetchone()
        return row

    def _run(self, sql: str, *values: object) -> int:
        with self._connected() as connection:
            return connection.execute(sql, values).rowcount

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection, connection:
            yield connection


def _sweep(connection: sqlite3.Connection) -> None:
    """Delete invitations and sessions that have ended, and forms that were sent in sessions that have."""
    now = time.time()
    connection.execute("DELETE FROM invitations WHERE expires < ?", (now,))
    connection.execute("DELETE FROM sessions WHERE started < ?", (now - LONGEST_SESSION,))
    connection.execute("DELETE FROM forms WHERE sent < ?", (now - LONGEST_SESSION,))
