"""The database behind a ledger: SQLite in the project folder, or whatever SQLAlchemy can reach."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from expunge.base.errors import LedgerError, OutputError
from expunge.requests.chain import Entry

try:
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
    )
    from sqlalchemy.engine import Engine, make_url
    from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool
except ImportError as error:
    raise LedgerError("requests", "SQLAlchemy", "none installed", "pip install 'expunge[requests]'") from error

SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
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


@dataclass(frozen=True, slots=True)
class Database:
    """Reads and appends; every write is one transaction."""

    engine: Engine
    url: str

    @classmethod
    def connect(cls, url: str) -> "Database":
        """Return the database at a SQLAlchemy URL; nothing is opened yet.

        Raises:
            LedgerError: no URL, or a driver that isn't installed.
        """
        try:
            parsed = make_url(url)
            waits = {"timeout": BUSY_SECONDS} if parsed.get_backend_name() == "sqlite" else {}
            engine = create_engine(parsed, poolclass=NullPool, connect_args=waits)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise LedgerError("database", "a SQLAlchemy URL with its driver installed", f"{url} ({error})") from error
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
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

    def read(self) -> list[Entry]:
        """Return all entries in order.

        Raises:
            LedgerError: no ledger there, one of a newer schema, a locked or a damaged database.
        """
        with self._explained(), self.engine.connect() as connection:
            self._check_schema({str(name): str(value) for name, value in connection.execute(select(META))})
            rows = connection.execute(select(ENTRIES).order_by(ENTRIES.c.number))
            return [Entry(*row) for row in rows]

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
            connection.execute(insert(ENTRIES), [asdict(entry) for entry in entries])
            if sealed:
                connection.execute(insert(FINGERPRINTS), sealed)
            if drop:
                connection.execute(delete(FINGERPRINTS).where(FINGERPRINTS.c.request.in_(drop)))
        if drop:
            self.truncate_log()

    def read_fingerprints(self) -> list[Fingerprint]:
        """Return all sealed perceptual hashes."""
        with self._explained(), self.engine.connect() as connection:
            rows = connection.execute(select(FINGERPRINTS).order_by(FINGERPRINTS.c.request, FINGERPRINTS.c.row))
            return [(str(request), int(row), bytes(sealed)) for request, row, sealed in rows]

    def truncate_log(self) -> None:
        """Move SQLite's write-ahead log into the database file and empty it; nothing elsewhere."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _check_schema(self, meta: Mapping[str, str]) -> None:
        version = int(meta.get("schema_version", "0"))
        if version > SCHEMA_VERSION:
            raise LedgerError(
                self.url, f"a ledger of schema {SCHEMA_VERSION} or older", f"schema {version}", "use a newer expunge"
            )
        if version < 1:
            raise LedgerError(self.url, "a ledger", "a database without one", "see `expunge requests init`")

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
            raise _explain(self.url, str(error.orig)) from error
        except SQLAlchemyError as error:
            raise LedgerError(self.url, "a database that answers", str(error).split("\n")[0]) from error


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
