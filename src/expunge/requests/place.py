"""The project folder: where everything is in it, and the lock that keeps two writers apart.

project.toml         database and key file
ledger.sqlite        the database
head.json            the newest entry, outside of the database
state.snapshot       the state of a long ledger, which opens faster
current.safetensors  the newest weights
versions/            sealed: the first weights, and a patch for each version
images/              sealed: images of requests that wait, or are kept until a date
quarantine/          files that no entry names
index/               sealed: what is known of training images, so that copies are found
desk/                what `serve` keeps: sessions, jobs, drafts
reserve              room for the entry that says what was deleted, when the disk is full

Beside the key, which is outside of the folder by default, lies the newest entry once more.
"""

import tomllib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.base.errors import ExpungeWarning, LedgerError, OutputError, package_needed
from expunge.requests.database import PASSWORD_VARIABLE, has_password

with package_needed("filelock", "requests", LedgerError):
    from filelock import FileLock, Timeout

SETTINGS_FILE = "project.toml"
FIRST_FILE = "first.safetensors"
"""In projects of old; the first weights are sealed now."""
CURRENT_FILE = "current.safetensors"
VERSIONS_FOLDER = "versions"
IMAGES_FOLDER = "images"
CACHE_FOLDER = "cache"
QUARANTINE_FOLDER = "quarantine"
INDEX_FOLDER = "index"
DESK_FOLDER = "desk"
EXPORTS_FOLDER = "exports"
"""A folder of the desk's: what was written for others."""
LOCK_FILE = ".lock"
RESERVE_FILE = "reserve"
RESERVE_BYTES = 1 << 18
DEFAULT_DATABASE = "sqlite:///ledger.sqlite"
OLD_KEY = "key"
SQLITE_FILE = "sqlite:///"


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what the system says about files of the project into our errors."""
    try:
        yield
    except OSError as error:
        name, reason = str(error.filename or folder), str(error.strerror or error)
        raise OutputError(name, "a disk that can be read and written", reason, "then try again") from error


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


@contextmanager
def looking(folder: str | Path) -> Iterator[bool]:
    """Keep writers out while a project is looked at; gives True where one is at work already.

    Where the folder can't be written to, nobody writes.
    """
    lock = FileLock(Path(folder) / LOCK_FILE)
    busy = False
    if (Path(folder) / SETTINGS_FILE).is_file():
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy = True
        except OSError:
            pass  # a folder that can't be written to: nobody else writes either
    try:
        yield busy
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


def read_settings(folder: Path) -> dict[str, str]:
    """Return where database and key are.

    Raises:
        LedgerError: there is no project, or its settings can't be read.

    Warns:
        ExpungeWarning: a password stands in the file, as older versions allowed.
    """
    path = folder / SETTINGS_FILE
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise LedgerError(
            str(folder), "a project of deletion requests", f"no {path.name}", "see `expunge requests init`"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise LedgerError(str(path), "a TOML file that can be read", f"{error}") from error
    settings = {"key": OLD_KEY, "database": DEFAULT_DATABASE, **found}
    for name in ("key", "database"):
        if not isinstance(settings[name], str) or "\0" in settings[name]:
            raise LedgerError(str(path), f"{name} as text", repr(settings[name])[:40], "the file was changed")
    if has_password(settings["database"]):
        hint = f"{path} holds the database's password: take it out, and set {PASSWORD_VARIABLE}"
        warnings.warn(hint, ExpungeWarning, stacklevel=2)
    return settings
