"""The database behind a ledger: SQLite in the project folder, or whatever SQLAlchemy can reach."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from expunge.base.errors import ExpungeError, LedgerError, OutputError, package_needed
from expunge.requests.chain import Entry

with package_needed("sqlalchemy", "requests", LedgerError):
    from sqlalchemy import (
        Column,
        Integer,
        LargeBinary,
        MetaData,
        String,
        Table,
        Text,
        create_engine,
        delete,
        event,
        insert,
        select,
        update,
    )
    from sqlalchemy.engine import URL, Engine, make_url
    from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

SCHEMA_VERSION = 2
PASSWORD_VARIABLE = "EXPUNGE_DATABASE_PASSWORD"  # noqa: S105 - a name
BUSY_SECONDS = 5.0
ROWS = 10_000
READ_ONLY = ("readonly", "read-only", "unable to open database file", "permission denied")
FULL = ("full", "no space", "disk i/o error")

TABLES = MetaData()
META = Table("meta", TABLES, Column("name", String(40), primary_key=True), Column("value", Text, nullable=False))
ENTRIES = Table(
    "entries",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", String(40), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
FINGERPRINTS = Table(
    "fingerprints",
    TABLES,
    Column("request", String(20), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
)
APPEND_ONLY = (
    "CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END",
    "CREATE TRIGGER entries_remain BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END",
)

Fingerprint = tuple[str, int, bytes]
"""Request, row of the request, sealed perceptual hash."""


def parse_url(url: str) -> URL:
    """Return a SQLAlchemy URL.

    Raises:
        LedgerError: it is none; no password stands in the message.
    """
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        hidden = re.sub(r"//[^/]*@", "//***@", url)
        raise LedgerError("database", "a SQLAlchemy URL with its driver installed", hidden) from error


def has_password(url: str) -> bool:
    """Return whether a password stands in a SQLAlchemy URL.

    >>> has_password("postgresql+psycopg://me@host/requests")
    False
    """
    parsed = parse_url(url)
    return parsed.password is not None or any("password" in name for name in parsed.query)


@dataclass(frozen=True, slots=True)
class Database:
    """Reads and appends; every write is one transaction."""

    engine: Engine
    url: str

    @classmethod
    def connect(cls, url: str) -> "Database":
        """Return the database at a SQLAlchemy URL; nothing is opened yet.

        A SQLite file that can't be written to is opened for reading. A password that the URL lacks is taken from the
        environment (`PASSWORD_VARIABLE`), or found by the database's own driver.

        Raises:
            LedgerError: no URL, or a driver that isn't installed.
        """
        parsed = parse_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if parsed.password is None and not is_sqlite and PASSWORD_VARIABLE in os.environ:
            parsed = parsed.set(password=os.environ[PASSWORD_VARIABLE])
        path = Path(parsed.database or "") if is_sqlite else None
        try:
            if path is not None and path.is_file() and not _is_writable(path):
                engine = create_engine("sqlite://", poolclass=NullPool, creator=partial(_connect_read_only, path))
            else:
                waits = {"timeout": BUSY_SECONDS} if is_sqlite else {}
                engine = create_engine(parsed, poolclass=NullPool, connect_args=waits)
                if is_sqlite:
                    event.listen(engine, "connect", _prepare_sqlite)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            reason = f"{parsed.render_as_string(hide_password=True)} ({error})"
            raise LedgerError("database", "a SQLAlchemy URL with its driver installed", reason) from error
        return cls(engine, parsed.render_as_string(hide_password=True))

    def create(self) -> None:
        """Make the tables.

        Raises:
            LedgerError: there is a ledger in the database already, or it can't be written to.
        """
        with self._explained(), self.engine.begin() as connection:
            TABLES.create_all(connection)
            if connection.execute(select(META)).first() is not None:
                raise LedgerError(self.url, "a database without a ledger", "one with a ledger", "name another database")
            connection.execute(insert(META), {"name": "schema_version", "value": str(SCHEMA_VERSION)})
            if self.engine.dialect.name == "sqlite":
                for trigger in APPEND_ONLY:
                    connection.exec_driver_sql(trigger)

    def stream(self, after: int = 0) -> Iterator[Entry]:
        """Yield the entries after number `after` in order, as they lie there: nothing is checked.

        Raises:
            LedgerError: no ledger there, one of a newer schema, a locked or a damaged database.
        """
        chosen = select(ENTRIES).where(ENTRIES.c.number > after).order_by(ENTRIES.c.number)
        with self._explained(), self.engine.connect() as connection:
            for row in connection.execution_options(yield_per=ROWS).execute(chosen):
                yield Entry._make(row)

    def find(self, numbers: Sequence[int]) -> list[Entry]:
        """Return the entries of these numbers that are there, in order; nothing is checked."""
        found: list[Entry] = []
        with self._explained(), self.engine.connect() as connection:
            for start in range(0, len(numbers), ROWS):
                chosen = select(ENTRIES).where(ENTRIES.c.number.in_(numbers[start : start + ROWS]))
                found += [Entry._make(row) for row in connection.execute(chosen.order_by(ENTRIES.c.number))]
        return found

    def schema(self) -> int:
        """Return the version of the database's layout.

        Raises:
            LedgerError: no ledger there, one of a newer schema, a locked or a damaged database.
        """
        with self._explained(), self.engine.connect() as connection:
            meta = {str(name): str(value) for name, value in connection.execute(select(META))}
        return self._check_schema(meta)

    def upgrade(self) -> None:
        """Note that the ledger is of this version's layout."""
        with self._explained(), self.engine.begin() as connection:
            connection.execute(update(META).where(META.c.name == "schema_version").values(value=str(SCHEMA_VERSION)))

    def append(
        self, entries: Sequence[Entry], fingerprints: Sequence[Fingerprint] = (), drop: Sequence[str] = ()
    ) -> None:
        """Add entries and fingerprints, and drop the fingerprints of some requests, in one transaction.

        SQLite overwrites what is dropped, and empties its write-ahead log.

        Raises:
            LedgerError: somebody else has written meanwhile, or the database is locked or read-only.
            OutputError: the disk is full.
        """
        sealed = [{"request": request, "row": row, "sealed": value} for request, row, value in fingerprints]
        with self._explained(), self.engine.begin() as connection:
            connection.execute(insert(ENTRIES), [entry._asdict() for entry in entries])
            if sealed:
                connection.execute(insert(FINGERPRINTS), sealed)
            if drop:
                connection.execute(delete(FINGERPRINTS).where(FINGERPRINTS.c.request.in_(drop)))
        if drop:
            self.truncate_log()

    def read_fingerprints(self) -> list[Fingerprint]:
        """Return all sealed perceptual hashes; nothing is checked."""
        with self._explained(), self.engine.connect() as connection:
            rows = connection.execute(select(FINGERPRINTS).order_by(FINGERPRINTS.c.request, FINGERPRINTS.c.row))
            return [(request, row, sealed) for request, row, sealed in rows]

    def is_guarded(self) -> bool:
        """Return whether SQLite refuses changes of entries; other databases have no such rule."""
        if self.engine.dialect.name != "sqlite":
            return True
        with self._explained(), self.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'trigger'")
            return set(APPEND_ONLY) <= {str(sql) for (sql,) in rows}

    def truncate_log(self) -> None:
        """Move SQLite's write-ahead log into the database file and empty it; nothing elsewhere."""
        if self.engine.dialect.name == "sqlite":
            with self._explained(), self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _check_schema(self, meta: Mapping[str, str]) -> int:
        text = meta.get("schema_version", "0")
        version = int(text) if text.isdecimal() and len(text) < 9 else 0
        if version > SCHEMA_VERSION:
            raise LedgerError(
                self.url, f"a ledger of schema {SCHEMA_VERSION} or older", f"schema {version}", "use a newer expunge"
            )
        if version < 1:
            raise LedgerError(self.url, "a ledger", "a database without one", "see `expunge requests init`")
        return version

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the database's errors into ours."""
        try:
            yield
        except IntegrityError as error:
            raise LedgerError(
                self.url, "no other writer", "an entry written meanwhile", "nothing was changed; try again"
            ) from error
        except DatabaseError as error:
            raise _explain(self.url, self._without_password(str(error.orig))) from error
        except SQLAlchemyError as error:
            reason = self._without_password(str(error).split("\n")[0])
            raise LedgerError(self.url, "a database that answers", reason) from error
        except ExpungeError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise LedgerError(self.url, "columns as they were made", f"{error}", "the database was changed") from error

    def _without_password(self, text: str) -> str:
        password = self.engine.url.password
        return text.replace(str(password), "***") if password else text


def _explain(url: str, message: str) -> LedgerError | OutputError:
    text = message.lower()
    if "locked" in text:
        return LedgerError(url, "a database that no other program holds", "a locked one", "try again when it is done")
    if "append-only" in text:
        return LedgerError(url, "new entries only", "a change of an old one")
    if any(word in text for word in READ_ONLY):
        return LedgerError(url, "a database in a folder that can be written to", message)
    if any(word in text for word in FULL):
        return OutputError(url, "space on the disk", message, "nothing was changed; make room and try again")
    if re.search(r"no such table|does not exist|undefined table", text):
        return LedgerError(url, "a ledger", "a database without one", "see `expunge requests init`")
    return LedgerError(url, "a sound database", message.split("\n", maxsplit=1)[0], "restore it from a backup")


def _prepare_sqlite(connection: object, record: object) -> None:
    """Readers beside a writer (WAL), every commit on the disk (FULL), removed rows overwritten (secure_delete)."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _is_writable(path: Path) -> bool:
    """Return whether SQLite can write to a file, which it does with others beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """Return a connection that writes nowhere near the file.

    SQLite can't read a write-ahead log without writing. Where a killed command left one, a copy of both is read.
    """
    log = Path(f"{path}-wal")
    if not (log.is_file() and log.stat().st_size):
        return sqlite3.connect(f"file:{quote(str(path.resolve()))}?immutable=1", uri=True)
    memory = sqlite3.connect(":memory:")
    with TemporaryDirectory() as folder:
        for part in (path, log):
            shutil.copyfile(part, Path(folder) / part.name)
        with closing(sqlite3.connect(Path(folder) / path.name)) as copy:
            copy.backup(memory)
    return memory
