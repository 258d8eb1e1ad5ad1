"""Finds whatever was changed later: entries, the end of the chain, patches, weights, images. Needs no torch."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from expunge.base.disk import sha256_file
from expunge.base.errors import LedgerError
from expunge.requests.hashes import find_changed
from expunge.requests.place import (
    CURRENT_FILE,
    FIRST_FILE,
    IMAGES_FOLDER,
    QUARANTINE_FOLDER,
    VERSIONS_FOLDER,
    explained,
    looking,
)
from expunge.requests.project import Ledger
from expunge.requests.purge import files_below
from expunge.requests.sealed import FIRST
from expunge.requests.snapshot import SNAPSHOT_FILE
from expunge.requests.state import StoredFile

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what is not as the ledger says, one sentence each.

    Args:
        entries: how many there are.
        head: hash of the newest.
        key: the key's file that all of it was checked with.
        files: how many were looked at.
        problems: what somebody changed, or a disk lost.
        unfinished: what an interrupted command left, and the next one puts right.
        aside: files in the quarantine.
    """

    entries: int
    head: str
    key: Path
    files: int
    problems: tuple[str, ...]
    unfinished: tuple[str, ...] = ()
    aside: int = 0


def verify_folder(folder: Path, head: str | None = None) -> Verified:
    """Check a project while no command writes to it.

    Args:
        folder: of the project.
        head: hash of an entry that must be there, or its first digits.

    Raises:
        LedgerError: an entry was changed, moved or removed, or that of `head` is not there; or a command is writing,
            and not everything is in its place yet.
    """
    with looking(folder) as busy, explained(folder):
        ledger = Ledger.open(folder)
        found = verify_project(ledger)
        if head is not None and not any(entry.hash.startswith(head) for entry in ledger.database.stream()):
            raise LedgerError("--head", "an entry of the ledger", f"{head[:16]}..., which is not there")
    if busy and (found.problems or found.unfinished):
        raise LedgerError(str(folder), "no other expunge at work", "one that is writing", "verify when it is done")
    return found


def verify_project(ledger: Ledger) -> Verified:
    """Check the chain, its end, the perceptual hashes, and every file that the ledger names.

    Raises:
        LedgerError: an entry was changed, moved or removed; then nothing that follows from the entries can be said.
    """
    ledger.check()
    state, folder = ledger.state, ledger.folder
    kept = [version.patch for version in state.versions.values()]
    kept += [file for request in state.requests.values() for file in (request.images, request.keeper) if file]
    kept += [file for file in (state.first, state.cache) if file is not None]
    kept = [file for file in kept if file.path not in state.purged]
    problems = [problem for file in kept for problem in _check_file(folder, file)]
    problems += find_changed(ledger, ledger.database.read_fingerprints())
    if not ledger.database.is_guarded():
        problems.append("ledger.sqlite: the rule that entries are only added was removed")
    if (folder / SNAPSHOT_FILE).exists() and not ledger.covered:
        problems.append(f"{SNAPSHOT_FILE}: not as it was written; remove it, and it is made anew")
    there = files_below(folder, VERSIONS_FOLDER, IMAGES_FOLDER, FIRST_FILE)
    undeleted = [f"{path}: deleted in the ledger, but there" for path in there if path in state.purged]
    found, late = _check_all_weights(ledger)
    problems += found
    is_finished = ledger.head.finished == ledger.last.number
    unfinished = [
        f"{text}; a command was interrupted, and the next one that writes goes on" for text in undeleted + late
    ]
    if is_finished:
        problems, unfinished = problems + undeleted + late, []
    files = len(kept) + (1 if state.first is not None else 2)
    aside = len(list(files_below(folder, QUARANTINE_FOLDER)))
    key = ledger.notes.key.resolve()
    return Verified(ledger.last.number, ledger.last.hash, key, files, tuple(problems), tuple(unfinished), aside)


def _check_all_weights(ledger: Ledger) -> tuple[list[str], list[str]]:
    """Return what is wrong with the weights, and what a command that was interrupted may have left so."""
    state, folder = ledger.state, ledger.folder
    problems: list[str] = []
    if state.first is None:
        problems += _check_weights(folder / FIRST_FILE, {state.sha256_of(0)})
    else:
        problems += _check_sealed(ledger, state.first)
    late = list(_check_weights(folder / CURRENT_FILE, {state.weights_sha256}))
    if late and not (folder / CURRENT_FILE).exists():
        return problems, late
    changed = list(_check_weights(folder / CURRENT_FILE, state.all_sha256()))
    return problems + changed, [] if changed else late


def sha256_weights_file(path: Path) -> str:
    """Return the hash that `expunge.base.tensors.sha256_tensors` gives for the tensors of a safetensors file.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: it is no whole safetensors file.
    """
    return _sha256_weights(path.read_bytes())


def _sha256_weights(content: bytes) -> str:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    digest = hashlib.sha256()
    for name in sorted(header):
        start, end = header[name]["data_offsets"]
        shape, dtype = tuple(header[name]["shape"]), DTYPES[header[name]["dtype"]]
        digest.update(f"{name}:torch.{dtype}:{shape};".encode())
        digest.update(content[8 + length + start : 8 + length + end])
    return digest.hexdigest()


def _check_file(folder: Path, file: StoredFile) -> Iterator[str]:
    path = folder / file.path
    try:
        found = sha256_file(path) if path.is_file() else None
    except OSError as error:
        yield f"{file.path}: can't be read ({error.strerror})"
        return
    if found is None:
        yield f"{file.path}: missing"
    elif found != file.sha256:
        yield f"{file.path}: not the file that the ledger names; it was swapped or changed"


def _check_sealed(ledger: Ledger, first: StoredFile) -> Iterator[str]:
    """Check the sealed first weights beyond their file, which is checked like any other."""
    if next(_check_file(ledger.folder, first), None) is None:
        content = ledger.keys.open_file((ledger.folder / first.path).read_bytes(), FIRST)
        if _sha256_weights(content) != ledger.state.sha256_of(ledger.state.base):
            yield f"{first.path}: not the weights that the ledger names"


def _check_weights(path: Path, expected: set[str]) -> Iterator[str]:
    if not path.exists():
        yield f"{path.name}: missing"
        return
    try:
        found = sha256_weights_file(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found = "no whole safetensors file"
    if found not in expected:
        yield f"{path.name}: not the weights that the ledger names ({min(expected)[:12]}...)"
