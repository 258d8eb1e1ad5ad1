"""Finds whatever was changed later: entries, the end of the chain, patches, weights, images. Needs no torch."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from expunge.base.disk import sha256_file
from expunge.requests.project import CURRENT_FILE, FIRST_FILE, Ledger
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
    """What was looked at, and what is not as the ledger says, one sentence each."""

    entries: int
    head: str
    files: int
    problems: tuple[str, ...]


def verify_project(ledger: Ledger) -> Verified:
    """Check the chain, its end, and every file that the ledger names.

    Raises:
        LedgerError: an entry was changed, moved or removed; then nothing that follows from the entries can be said.
    """
    ledger.check()
    state = ledger.state
    kept = [version.patch for version in state.versions.values()]
    kept += [request.images for request in state.requests.values() if request.images is not None]
    kept = [file for file in kept if file.path not in state.purged]
    problems = [problem for file in kept for problem in _check_file(ledger.folder, file)]
    weights = {FIRST_FILE: state.sha256_of(0), CURRENT_FILE: state.weights_sha256}
    for name, expected in weights.items():
        problems += _check_weights(ledger.folder / name, expected)
    problems += [
        f"{path}: deleted in the ledger, but there" for path in state.purged if (ledger.folder / path).exists()
    ]
    return Verified(len(ledger.entries), ledger.entries[-1].hash, len(kept) + len(weights), tuple(problems))


def sha256_weights_file(path: Path) -> str:
    """Return the hash that `expunge.base.tensors.sha256_tensors` gives for the tensors of a safetensors file.

    Raises:
        ValueError, KeyError: it is no whole safetensors file.
    """
    content = path.read_bytes()
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
    if not path.is_file():
        yield f"{file.path}: missing"
    elif sha256_file(path) != file.sha256:
        yield f"{file.path}: not the file that the ledger names; it was swapped or changed"


def _check_weights(path: Path, expected: str) -> Iterator[str]:
    if not path.is_file():
        yield f"{path.name}: missing"
        return
    try:
        found = sha256_weights_file(path)
    except (ValueError, KeyError):
        found = "no whole safetensors file"
    if found != expected:
        yield f"{path.name}: not the weights that the ledger names ({expected[:12]}...)"
