"""Files that are whole or not there at all; no torch, so that commands which only look at files start at once."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from expunge.base.errors import OutputError

PRIVATE = 0o600
"""Rights of a file for its owner alone."""
SHARED = 0o666
"""Rights of any other file; the system takes away what the user's umask says."""
PARTIAL = ".partial"
"""How the hidden name of a file ends that is still being written."""
UNFINISHED = re.compile(rf"\..+\.[a-z0-9_]{{8}}(\{PARTIAL})?")
"""Names of files that were not finished when their process was killed, those of earlier releases among them."""


def write_bytes(path: Path, content: bytes, *, mode: int = SHARED) -> str:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never half; return its SHA-256.

    The bytes go to a hidden file in the same folder, are synced, and take the name in one rename. The hash is that of
    `content`, not of what lies there afterwards. What a killed process leaves is removed by `sweep`.

    Args:
        path: where to.
        content: all of the file.
        mode: who may read and write it, before the umask.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to; an older file is untouched.
    """
    with _explained(path):
        unfinished = _write_unfinished(path, content, mode)
        try:
            unfinished.replace(path)
            sync_folder(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)
    return hashlib.sha256(content).hexdigest()


def write_text(path: Path, content: str, *, mode: int = SHARED) -> str:
    """Write UTF-8 text; see `write_bytes`."""
    return write_bytes(path, content.encode(), mode=mode)


def write_json(path: Path, content: Mapping[str, Any]) -> str:
    """Write `content` as indented JSON; NaN and infinity are not JSON and are refused."""
    return write_text(path, to_json_text(content))


def to_json_text(content: Mapping[str, Any]) -> str:
    """Return `content` as indented JSON text.

    Raises:
        ValueError: a NaN or an infinity in it.
    """
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


@contextmanager
def replacing(folder: Path, *, last: str, gone: Iterable[str] = ()) -> Iterator[Path]:
    """Give a hidden folder for files that take their places in `folder` together when the block ends.

    A full disk so leaves the older files as they are. The file `last` tells that the others are complete: its older
    version is removed before any other file is replaced, and the new one takes its name after all others.

    Args:
        folder: of the files; it is there, and nobody else writes to it.
        last: name of the file that is replaced last.
        gone: names of files that are removed where they are not written anew.

    Raises:
        OutputError: the hidden folder can't be made, or at the end of the block a file can't take its name.
    """
    stage = folder / f".new.{secrets.token_hex(4)}{PARTIAL}"
    try:
        with _explained(folder):
            stage.mkdir()
        yield stage
        with _explained(folder):
            _take_places(folder, stage, last, gone)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _take_places(folder: Path, stage: Path, last: str, gone: Iterable[str]) -> None:
    names = sorted((path.name for path in stage.iterdir()), key=lambda name: (name == last, name))
    (folder / last).unlink(missing_ok=True)
    sync_folder(folder)
    for name in set(gone) - set(names):
        (folder / name).unlink(missing_ok=True)
    for name in names:
        if name == last:
            sync_folder(folder)
        try:
            (stage / name).replace(folder / name)
        except OSError:  # the older result is gone by now: a disk that failed once gets another chance
            (stage / name).replace(folder / name)
    sync_folder(folder)


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder in this order, where they are there, and sync the folder.

    Raises:
        OutputError: one can't be removed.
    """
    with _explained(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)


def sweep(folder: Path) -> None:
    """Remove the unfinished files that a killed process left in a folder; call it where no other process writes.

    Raises:
        OutputError: one can't be removed.
    """
    found = list(folder.glob(f".*{PARTIAL}"))
    with _explained(folder):
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    if found:
        sync_folder(folder)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, where they are missing.

    Raises:
        OutputError: it can't be made, or is no folder.
    """
    try:
        missing = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(folder), "a folder that can be made and written to", f"{error.strerror}") from error
    if missing:
        sync_folder(folder.parent)


def is_occupied(folder: Path, but: str = "") -> bool:
    """Return whether a folder holds anything but unfinished files and the file `but`.

    Raises:
        OutputError: it can't be read.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise OutputError(str(folder), "a folder that can be made and written to", f"{error.strerror}") from error
    return any(name != but and not (name.startswith(".") and name.endswith(PARTIAL)) for name in names)


def sync_folder(folder: Path) -> None:
    """Sync renames and removals; some file systems refuse that, and the files are whole by then either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_unfinished(path: Path, content: bytes, mode: int) -> Path:
    """Write `content` under a hidden name beside `path`, synced, and return the name."""
    unfinished = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}{PARTIAL}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    return unfinished


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise OutputError(str(path), "a place that can be written to", reason, "nothing was replaced") from error
