"""Surrogates that were made from the first classifier, sealed while no edit is at work: each edit needs them again."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

from expunge.base.disk import write_bytes
from expunge.base.errors import ExpungeError
from expunge.requests.place import CACHE_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.purge import files_below, purge_due, unlink
from expunge.requests.sealed import read_stored, write_sealed
from expunge.requests.state import StoredFile

CACHE = "cache"
KEPT = ".safetensors"


@contextmanager
def tidying(ledger: Ledger) -> Iterator[list[StoredFile]]:
    """Seal the surrogates and delete what is due after the block, even if it fails; the list then has what went."""
    deleted: list[StoredFile] = []
    try:
        yield deleted
    except BaseException:
        with suppress(ExpungeError):  # the first error is the one to be told
            deleted += _tidy(ledger)
        raise
    deleted += _tidy(ledger)


def _tidy(ledger: Ledger) -> list[StoredFile]:
    try:
        pack_cache(ledger)
    finally:
        deleted = purge_due(ledger)
    return deleted


def unpack_cache(ledger: Ledger) -> None:
    """Put the surrogates where edits look for them, unsealed; `tidying` deletes them after the edit.

    Raises:
        LedgerError: they are missing, or not those that the ledger names.
    """
    if ledger.state.cache is None:
        return
    content = read_stored(ledger, ledger.state.cache, "the surrogates", CACHE)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        for name in packed.namelist():
            path = ledger.folder / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, packed.read(name))


def pack_cache(ledger: Ledger) -> None:
    """Seal the surrogates that edits have made, if there are any that are not sealed yet."""
    found = [path for path in files_below(ledger.folder, CACHE_FOLDER) if path.endswith(KEPT)]
    old = ledger.state.cache
    if not found or (old is not None and found == _names(ledger)):
        return
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name in found:
            packed.writestr(name, (ledger.folder / name).read_bytes())
    new = write_sealed(ledger.folder, ledger.keys, CACHE, buffer.getvalue(), CACHE)
    ledger.append([("cached", {"cache": asdict(new), "files": [] if old is None else [asdict(old)]})])
    unlink(ledger.folder, [] if old is None else [old.path])


def _names(ledger: Ledger) -> list[str]:
    assert ledger.state.cache is not None  # noqa: S101 - asked where there is one
    content = read_stored(ledger, ledger.state.cache, "the surrogates", CACHE)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return sorted(packed.namelist())
