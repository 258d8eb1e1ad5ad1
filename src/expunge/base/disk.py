"""Files that are whole or not there at all; no torch, so that commands which only look at files start at once."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from expunge.base.errors import OutputError


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never half.

    The bytes go to a temporary file in the same folder, are synced, and take the name in one rename.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to; an older file is untouched.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            str(path), "a place that can be written to", f"{error.strerror or error}", "nothing was replaced"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text; see `write_bytes`."""
    write_bytes(path, content.encode())


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


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[None]:
    """Remove `folder` and its parents again if the block fails, made them, and left nothing in them."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        for each in made:
            with suppress(OSError):
                each.rmdir()
        raise


def _sync_folder(folder: Path) -> None:
    """Sync the rename itself; some file systems refuse that, and the file is whole by then either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
