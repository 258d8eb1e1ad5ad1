"""Deletes what is no longer needed; the ledger keeps the name, hash and size of every file that was."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from expunge.base.disk import sha256_file, sync_folder
from expunge.base.errors import LedgerError, OutputError
from expunge.requests.place import CACHE_FOLDER, INDEX_FOLDER, QUARANTINE_FOLDER, RESERVE_FILE
from expunge.requests.project import Ledger
from expunge.requests.state import Request, State, StoredFile

DONE = (State.VERIFIED, State.WITHDRAWN)
AT_ONCE = 500
"""Files in one entry: more would not find room on a full disk."""


def purge_due(ledger: Ledger) -> list[StoredFile]:
    """Delete the images of verified and withdrawn requests that nothing keeps, and the cache; return what went.

    The cache stays only where the images of every request do.
    """
    useless = [request.keeper for request in ledger.state.in_state(State.WITHDRAWN) if request.keeper is not None]
    return remove_files(ledger, useless) + _purge_due_images(ledger)


def purge_keepers(ledger: Ledger, requests: Sequence[Request]) -> list[StoredFile]:
    """Delete what is kept in place of these requests' images; later edits can bring them back unseen then."""
    return remove_files(ledger, [request.keeper for request in requests if request.keeper is not None])


def _purge_due_images(ledger: Ledger) -> list[StoredFile]:
    due, done = find_due(ledger), ledger.state.in_state(*DONE)
    if not due and all(request.images is not None for request in done):
        return []
    return purge_images(ledger, due)


def find_due(ledger: Ledger) -> list[Request]:
    """Return the verified and withdrawn requests whose images no date keeps any more."""
    today = max(datetime.now(UTC).date(), date.fromisoformat(ledger.last.time[:10]))  # the clock may be set back
    return [request for request in ledger.state.in_state(*DONE) if not _is_kept(request, today)]


def purge_images(ledger: Ledger, requests: Sequence[Request]) -> list[StoredFile]:
    """Delete the images of these requests and the cache, whatever date they were to be kept until.

    Raises:
        LedgerError: one of them is not verified or withdrawn yet: it still needs its images.
    """
    for request in requests:
        if request.state not in DONE:
            raise LedgerError(request.name, "a verified or withdrawn request", request.state.value, "apply it first")
    files = [request.images for request in requests if request.images is not None]
    return remove_files(ledger, files + _cached(ledger))


def purge_fingerprints(ledger: Ledger, requests: Sequence[Request]) -> int:
    """Delete the perceptual hashes of these requests, so that near duplicates of them are no longer found.

    What is known of the training images, among which those of the requests may be, goes as well.
    """
    present = sorted(request.name for request in requests if request.fingerprints is not None)
    if present:
        ledger.append([("purged", {"files": [], "fingerprints": present})], drop=present)
    unlink(ledger.folder, list(files_below(ledger.folder, INDEX_FOLDER)))
    return len(present)


def purge_quarantine(ledger: Ledger) -> list[str]:
    """Delete the files that no entry names, and return their paths."""
    found = list(files_below(ledger.folder, QUARANTINE_FOLDER))
    unlink(ledger.folder, found)
    return found


def remove_files(ledger: Ledger, files: Sequence[StoredFile]) -> list[StoredFile]:
    """Note files in the ledger as deleted, then delete them: if the process dies between, recovery deletes them.

    On a full disk, room for the entry is made first.
    """
    for start in range(0, len(files), AT_ONCE):
        part = files[start : start + AT_ONCE]
        event = ("purged", {"files": [asdict(file) for file in part], "fingerprints": []})
        try:
            ledger.append([event])
        except OutputError:
            unlink(ledger.folder, [RESERVE_FILE])
            ledger.append([event])
        unlink(ledger.folder, [file.path for file in part])
    return list(files)


def files_below(folder: Path, *names: str) -> Iterator[str]:
    """Yield the paths of the files below folders of the project, and of files of these names, in order."""
    for name in names:
        place = folder / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_symlink() or path.is_file():
                yield path.relative_to(folder).as_posix()


def unlink(folder: Path, paths: Iterable[str]) -> None:
    """Delete files of the project that are still there, so that they stay deleted if the power fails.

    Raises:
        LedgerError: one can't be deleted.
    """
    folders: set[Path] = set()
    for path in paths:
        folders.add((folder / path).parent)
        try:
            (folder / path).unlink(missing_ok=True)
        except OSError as error:
            raise LedgerError(path, "a file that can be deleted", f"{error.strerror}", "then purge again") from error
    for place in folders:
        sync_folder(place)


def _is_kept(request: Request, today: date) -> bool:
    """Return whether a date that has not passed keeps the images; a withdrawn request has no use for them."""
    if request.state is State.WITHDRAWN or request.keep_until is None:
        return False
    return today <= date.fromisoformat(request.keep_until)


def _cached(ledger: Ledger) -> list[StoredFile]:
    found = files_below(ledger.folder, CACHE_FOLDER)
    return [stored_file(ledger.folder, path) for path in found]


def stored_file(folder: Path, path: str) -> StoredFile:
    """Return a file of the project with its hash and size."""
    return StoredFile(path, sha256_file(folder / path), (folder / path).stat().st_size)
