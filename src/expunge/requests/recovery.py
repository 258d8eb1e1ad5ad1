"""Writing to a project: under its lock, on a checked chain, after what a killed process left is put right."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.base.errors import LedgerError
from expunge.requests.project import CACHE_FOLDER, CURRENT_FILE, IMAGES_FOLDER, VERSIONS_FOLDER, Ledger, locked
from expunge.requests.purge import unlink
from expunge.requests.weights import rebuild, sha256_weights, write_current
from expunge.surrogates.inverted import CACHE_VARIABLE

WAIT_SECONDS = 10.0


@contextmanager
def writing(folder: str | Path, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[Ledger]:
    """Open the project for writing: locked, its chain checked, and consistent.

    Raises:
        LedgerError: another process is at work, an entry was changed, or files are missing that can't be rebuilt.
    """
    Ledger.open(folder)  # no lock file where there is no project
    with locked(folder, wait_seconds=wait_seconds):
        ledger = Ledger.open(folder)
        ledger.check()
        recover(ledger)
        with _cache_inside(ledger.folder):
            yield ledger
        ledger.database.truncate_log()


def recover(ledger: Ledger) -> None:
    """Roll back what no entry names, finish what an entry names.

    An entry is the moment at which something is done. So files that no entry names are removed (half-written ones,
    patches and images of a command that did not get so far), files that an entry calls deleted are deleted, and the
    deployed weights are rebuilt if they are not yet those of the newest version.
    """
    state = ledger.state
    named = {version.patch.path for version in state.versions.values()} | set(state.owners)
    for name in (VERSIONS_FOLDER, IMAGES_FOLDER):
        found = [path.relative_to(ledger.folder).as_posix() for path in (ledger.folder / name).glob("*")]
        unlink(ledger.folder, [path for path in found if path not in named])
    unlink(ledger.folder, [path.name for path in ledger.folder.glob(".*.safetensors.*")])
    unlink(ledger.folder, [path.name for path in ledger.folder.glob(".head.json.*")])
    unlink(ledger.folder, [path for path in state.purged if _is_deletable(path)])
    ledger.note_head()
    if not _is_current(ledger):
        write_current(ledger, rebuild(ledger, state.newest))


def _is_deletable(path: str) -> bool:
    return path.startswith((f"{IMAGES_FOLDER}/", f"{CACHE_FOLDER}/", f"{VERSIONS_FOLDER}/"))


def _is_current(ledger: Ledger) -> bool:
    """Return whether the deployed weights are the newest version's.

    Raises:
        LedgerError: they are no version's at all.
    """
    path = ledger.folder / CURRENT_FILE
    if not path.is_file():
        return False
    found, state = sha256_weights(path), ledger.state
    if found not in {state.sha256_of(number) for number in (0, *state.versions)}:
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
