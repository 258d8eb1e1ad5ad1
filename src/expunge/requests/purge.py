"""Deletes what is no longer needed; the ledger keeps the name, hash and size of every file that was."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from expunge.base.disk import sha256_file
from expunge.base.errors import LedgerError
from expunge.requests.project import CACHE_FOLDER, Ledger
from expunge.requests.state import Request, State, StoredFile

DONE = (State.VERIFIED, State.WITHDRAWN)


def purge_due(ledger: Ledger) -> list[StoredFile]:
    """Delete the images of verified and withdrawn requests that nothing keeps, and the cache; return what went.

    The cache stays only where the images of every request do.
    """
    today = datetime.now(UTC).date()
    done = ledger.state.in_state(*DONE)
    if all(request.images is not None and _is_kept(request, today) for request in done):
        return []
    return purge_images(ledger, [request for request in done if not _is_kept(request, today)])


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
    """Delete the perceptual hashes of these requests, so that near duplicates of them are no longer found."""
    names = {request.name for request in requests}
    present = sorted({name for name, _, _ in ledger.database.read_fingerprints() if name in names})
    if present:
        ledger.append([("purged", {"files": [], "fingerprints": present})], drop=present)
    return len(present)


def remove_files(ledger: Ledger, files: Sequence[StoredFile]) -> list[StoredFile]:
    """Note files in the ledger as deleted, then delete them: if the process dies between, recovery deletes them."""
    if files:
        ledger.append([("purged", {"files": [asdict(file) for file in files], "fingerprints": []})])
        unlink(ledger.folder, [file.path for file in files])
    return list(files)


def unlink(folder: Path, paths: Iterable[str]) -> None:
    """Delete files of the project that are still there.

    Raises:
        LedgerError: one can't be deleted.
    """
    for path in paths:
        try:
            (folder / path).unlink(missing_ok=True)
        except OSError as error:
            raise LedgerError(path, "a file that can be deleted", f"{error.strerror}", "then purge again") from error


def _is_kept(request: Request, today: date) -> bool:
    """Return whether a date that has not passed keeps the images; a withdrawn request has no use for them."""
    if request.state is State.WITHDRAWN or request.keep_until is None:
        return False
    return today <= date.fromisoformat(request.keep_until)


def _cached(ledger: Ledger) -> list[StoredFile]:
    folder = ledger.folder / CACHE_FOLDER
    paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return [
        StoredFile(path.relative_to(ledger.folder).as_posix(), sha256_file(path), path.stat().st_size) for path in paths
    ]
