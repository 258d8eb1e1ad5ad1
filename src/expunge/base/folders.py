"""Output folders: one command at a time writes to one, and what a killed command left there is removed."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from expunge.base.disk import is_occupied, make_folder, sweep, sync_folder
from expunge.base.errors import OutputError

LOCK_FILE = ".expunge.lock"
"""Is there while a command writes to a folder, and after one was killed; the system lifts the lock itself."""
SECONDS_TO_LIFT = 5


@contextmanager
def locked_folder(folder: Path, *, wait_seconds: float = 0) -> Iterator[bool]:
    """Make `folder` if it is missing and keep other commands from writing there; give whether one was killed in it.

    Unfinished files of a killed command are removed. The same thread may take the folder again inside the block.

    Raises:
        OutputError: another command writes there, or the folder can't be made or written to.
    """
    make_folder(folder)
    path = folder.resolve() / LOCK_FILE
    lock = FileLock(path, is_singleton=True)
    if lock.is_locked:
        yield False
        return
    was_killed = path.exists()
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise OutputError(
            str(folder), "a folder that no other command writes to", "one in use", "wait for it, or choose another"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise OutputError(str(folder), "a folder that can be made and written to", f"{error}") from error
    try:
        sweep(folder)
        yield was_killed
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()
        sync_folder(folder)


@contextmanager
def abandoned_folder(folder: Path) -> Iterator[bool]:
    """Lock `folder` if the command that wrote to it was killed just now; give whether it was.

    The system may take a moment to lift the lock of a killed command.
    """
    with ExitStack() as stack:
        yield _take_over(stack, folder, time.monotonic() + SECONDS_TO_LIFT)


def _take_over(stack: ExitStack, folder: Path, end: float) -> bool:
    while (folder / LOCK_FILE).exists() and time.monotonic() < end:
        try:
            return stack.enter_context(locked_folder(folder))
        except OutputError:
            time.sleep(0.1)
    return False


def sweep_below(folder: Path) -> None:
    """Remove what killed commands left in `folder` and the folders inside; those that are in use are left alone."""
    for path in [*folder.glob(f"*/{LOCK_FILE}"), *folder.glob(LOCK_FILE)]:
        with suppress(OutputError), locked_folder(path.parent):
            continue


@contextmanager
def output_folder(folder: Path, *, overwrite: bool, result: str, goes_on: str = "") -> Iterator[None]:
    """Lock `folder` for a command's result, and refuse one that holds anything else.

    What a killed command left may be replaced, unless it holds a whole result.

    Args:
        folder: made if missing.
        overwrite: replace what is there.
        result: name of the file that tells that a result is complete.
        goes_on: name of a file that an unfinished command goes on from; where it is there, it may.

    Raises:
        OutputError: another command writes there, it is not an empty folder, or it can't be made.
    """
    with locked_folder(folder) as was_killed:
        may_replace = overwrite or (was_killed and not (folder / result).exists())
        may_go_on = bool(goes_on) and (folder / goes_on).exists()
        if not (may_replace or may_go_on) and is_occupied(folder, but=LOCK_FILE):
            raise OutputError(
                str(folder),
                "an empty output folder",
                "one with files in it",
                "choose another, or say --overwrite; in Python, overwrite=True",
            )
        yield
