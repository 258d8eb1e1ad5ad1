"""Files that are whole or not there at all; no torch, so that commands which only look at files start at once."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
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


class Replacement:
    """Files of one folder that are all written first, and take their names together when the block ends.

    A full disk so leaves the older files as they are. The file `last` tells that the others are complete: its older
    version is removed before any other file is replaced, and the new one takes its name after all others.

    Args:
        folder: of the files.
        last: name of the file that is replaced last.

    Raises:
        OutputError: at the end of the block, a file can't take its name.
    """

    def __init__(self, folder: Path, *, last: str) -> None:
        self._folder, self._last = folder, last
        self._waiting: dict[Path, Path] = {}

    def __enter__(self) -> "Replacement":
        return self

    def write(self, name: str, content: bytes) -> str:
        """Write a file under a hidden name, and return the SHA-256 of `content`.

        Raises:
            OutputError: it can't be written.
        """
        path = self._folder / name
        with _explained(path):
            self._waiting[path] = _write_unfinished(path, content, SHARED)
        return hashlib.sha256(content).hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the files their names; after an error in the block remove them instead."""
        try:
            if kind is None:
                with _explained(self._folder):
                    self._take_names()
        finally:
            for unfinished in self._waiting.values():
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)

    def _take_names(self) -> None:
        last = self._folder / self._last
        last.unlink(missing_ok=True)
        sync_folder(self._folder)
        for path in sorted(self._waiting, key=lambda path: path == last):
            if path == last:
                sync_folder(self._folder)
            try:
                self._waiting[path].replace(path)
            except OSError:  # the older result is gone by now: a disk that failed once gets another chance
                self._waiting[path].replace(path)
        sync_folder(self._folder)


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
    found = [path.name for path in folder.glob(f".*{PARTIAL}") if not path.is_dir()]
    if found:
        remove_files(folder, found)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def prepare_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Make `folder`, and refuse one that holds anything unless `overwrite` is set; see `base.folders` for a lock, too.

    Raises:
        OutputError: it exists and is not an empty folder, or it cannot be made.
    """
    make_folder(folder)
    if not overwrite and is_occupied(folder):
        raise OutputError(
            str(folder), "an empty output folder", "one with files in it", "choose another, or say --overwrite"
        )


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
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
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
