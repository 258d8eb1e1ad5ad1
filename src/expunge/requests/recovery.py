"""Writing to a project: under its lock, on a checked chain, after what a killed process left is put right."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.base.disk import UNFINISHED
from expunge.base.errors import LedgerError, OutputError
from expunge.requests.migrate import migrate
from expunge.requests.place import (
    CACHE_FOLDER,
    CURRENT_FILE,
    FIRST_FILE,
    IMAGES_FOLDER,
    QUARANTINE_FOLDER,
    RESERVE_FILE,
    VERSIONS_FOLDER,
    explained,
    locked,
    read_settings,
)
from expunge.requests.project import Ledger
from expunge.requests.purge import files_below, unlink
from expunge.requests.weights import rebuild, sha256_weights, write_current
from expunge.surrogates.cache import CACHE_VARIABLE

WAIT_SECONDS = 10.0


@contextmanager
def writing(folder: str | Path, *, wait_seconds: float = WAIT_SECONDS, making_room: bool = False) -> Iterator[Ledger]:
    """Open the project for writing: locked, checked, and consistent.

    Args:
        folder: the project's.
        wait_seconds: for another process that is at work.
        making_room: whether files are about to be deleted: what is held in reserve is given up for it on a full disk,
            where SQLite could not even be opened.

    Raises:
        LedgerError: another process is at work, an entry was changed, or files are missing that can't be rebuilt.
        OutputError: the disk is full, or fails.

    Warns:
        ExpungeWarning: the project is of an older version, and is brought up to date.
    """
    folder = Path(folder)
    read_settings(folder)  # no lock file where there is no project
    with locked(folder, wait_seconds=wait_seconds), explained(folder):
        try:
            ledger = Ledger.open(folder)
        except OutputError:
            if not making_room:
                raise
            unlink(folder, [RESERVE_FILE])
            ledger = Ledger.open(folder)
        recover(ledger)
        migrate(ledger)
        with _cache_inside(folder):
            yield ledger
        ledger.settle()


def recover(ledger: Ledger) -> None:
    """Put aside what no entry names, finish what an entry names.

    An entry is the moment at which something is done. So files that no entry names are moved to a folder of their own
    (patches and images of a command that did not get so far, or that somebody put there), files that an entry calls
    deleted are deleted, and the deployed weights are rebuilt if they are not yet those of the newest version. What
    was being written when a process was killed never had a name, and is deleted.
    """
    state = ledger.state
    _sweep(ledger)
    named = {version.patch.path for version in state.versions.values()}
    named |= {file.path for request in state.requests.values() for file in (request.images, request.keeper) if file}
    named |= {file.path for file in (state.first, state.cache) if file is not None}
    for path in files_below(ledger.folder, VERSIONS_FOLDER, IMAGES_FOLDER, CACHE_FOLDER, FIRST_FILE):
        if path in state.purged:
            unlink(ledger.folder, [path])
        elif path not in named and path.startswith((f"{VERSIONS_FOLDER}/", f"{IMAGES_FOLDER}/")):
            _put_aside(ledger.folder, path)
    if not _is_current(ledger):
        write_current(ledger, rebuild(ledger, state.newest))


def _sweep(ledger: Ledger) -> None:
    """Delete the half-written files of killed commands, in the folder and beside the key."""
    folders = [ledger.folder / name for name in ("", VERSIONS_FOLDER, IMAGES_FOLDER)]
    found = [
        path for folder in folders if folder.is_dir() for path in folder.iterdir() if UNFINISHED.fullmatch(path.name)
    ]
    note = ledger.notes.outside
    found += [path for path in note.parent.glob(f".{note.name}.*") if UNFINISHED.fullmatch(path.name)]
    unlink(Path(), [str(path) for path in found])


def _put_aside(folder: Path, path: str) -> None:
    """Move a file to the quarantine, beside what is there under its name."""
    place = folder / QUARANTINE_FOLDER
    place.mkdir(exist_ok=True)
    name, number = Path(path).name, 1
    target = place / name
    while target.exists():
        number += 1
        target = place / f"{name}-{number}"
    (folder / path).replace(target)


def _is_current(ledger: Ledger) -> bool:
    """Return whether the deployed weights are the newest version's.

    Raises:
        LedgerError: they are no version's at all.
    """
    path = ledger.folder / CURRENT_FILE
    if not path.is_file():
        return False
    found, state = sha256_weights(path), ledger.state
    if found not in state.all_sha256():
        raise LedgerError(
            str(path), "the weights of a version", "others", "the file was changed; remove it, and it is made anew"
        )
    return found == state.weights_sha256


@contextmanager
def _cache_inside(folder: Path) -> Iterator[None]:
    """Keep caches that methods make (inverted surrogates) inside of the project, where purging finds them."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder / CACHE_FOLDER)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before
