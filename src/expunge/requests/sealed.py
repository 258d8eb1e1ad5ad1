"""Files of tensors, sealed: the first weights and the patches, from which a forgotten picture could be rebuilt."""

import hashlib
from pathlib import Path

from expunge.base.disk import write_bytes
from expunge.base.errors import LedgerError
from expunge.requests.keys import Keys
from expunge.requests.place import VERSIONS_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.state import StoredFile, Version

FIRST = "first"
PATCH = "patch"
SEALED = ".sealed"


def owner_of_patch(number: int) -> str:
    """Return the name that a version's patch is sealed for."""
    return f"version {number}"


def write_sealed(folder: Path, keys: Keys, name: str, content: bytes, owner: str) -> StoredFile:
    """Write a file of the project's versions, sealed, and return it for the ledger to name.

    Args:
        folder: the project's.
        keys: of the project.
        name: what the file's name begins with.
        content: of the file.
        owner: whom it is sealed for.
    """
    sealed = keys.seal_file(content, owner)
    digest = hashlib.sha256(sealed).hexdigest()
    path = f"{VERSIONS_FOLDER}/{name}-{digest[:12]}{SEALED}"
    write_bytes(folder / path, sealed)
    return StoredFile(path, digest, len(sealed))


def write_patch(ledger: Ledger, number: int, content: bytes) -> StoredFile:
    """Write the patch of a version, sealed."""
    return write_sealed(ledger.folder, ledger.keys, f"{number:04d}-{PATCH}", content, owner_of_patch(number))


def read_patch(ledger: Ledger, version: Version) -> bytes:
    """Return a version's patch.

    Raises:
        LedgerError: it was purged, is missing, or is not the one that the ledger names.
    """
    if version.patch.path in ledger.state.purged:
        raise LedgerError(f"version {version.number}", "its patch", "none: it was deleted by `purge --versions`")
    return read_stored(ledger, version.patch, f"the patch of version {version.number}", owner_of_patch(version.number))


def read_stored(ledger: Ledger, file: StoredFile, what: str, owner: str) -> bytes:
    """Return the content of a file that the ledger names, which projects of old did not seal.

    Raises:
        LedgerError: it is missing, or not the one that the ledger names.
    """
    path = ledger.folder / file.path
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise LedgerError(str(path), what, "no file", "restore it from a backup") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise LedgerError(str(path), what, "another file", "it was swapped or damaged")
    return ledger.keys.open_file(content, owner) if file.path.endswith(SEALED) else content
