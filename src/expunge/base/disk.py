"""Files that are whole or not there at all; no torch, so that commands which only look at files start at once."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from expunge.base.errors import OutputError

PRIVATE = 0o600
"""Rights of a file for its owner alone."""
SHARED = 0o666
"""Rights of any other file; the system takes away what the user's umask says."""
UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""Names of files that `write_bytes` had not finished when its process was killed."""


def write_bytes(path: Path, content: bytes, *, mode: int = SHARED) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never half.

    The bytes go to a temporary file in the same folder, are synced, and take the name in one rename.

    Args:
        path: of the file.
        content: all of it.
        mode: the file's rights, from its first byte on.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to; an older file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            str(path), "a place that can be written to", f"{error.strerror or error}", "nothing was replaced"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str, *, mode: int = SHARED) -> None:
    """Write UTF-8 text; see `write_bytes`."""
    write_bytes(path, content.encode(), mode=mode)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as indented JSON; NaN and infinity are not JSON and are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def prepare_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Make `folder`, and refuse one that holds anything unless `overwrite` is set.

    Raises:
        OutputError: it exists and is not an empty folder, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(str(folder), "a folder that can be made and written to", f"{error.strerror}") from error
    if occupied and not overwrite:
        raise OutputError(
            str(folder), "an empty output folder", "one with files in it", "choose another, or say --overwrite"
        )


def _sync_folder(folder: Path) -> None:
    """Sync the rename itself; some file systems refuse that, and the file is whole by then either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
