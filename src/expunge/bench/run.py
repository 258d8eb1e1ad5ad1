"""One cell run to its result, or to the reason why there is none."""

import os
import platform
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from expunge._version import __version__
from expunge.base.disk import remove_files, sync_folder, write_json
from expunge.base.errors import ExpungeError, OutputError
from expunge.base.folders import LOCK_FILE, locked_folder
from expunge.bench.cells import FAILURE, MACHINE, RESULT, Cell
from expunge.bench.stream import run_stream
from expunge.compute.devices import count_devices
from expunge.compute.runtime import Progress
from expunge.jobs.run import run_job
from expunge.task.task import StopReason

CellEnded = Callable[[Cell, str | None], None]
"""Is called with a cell that has ended, and why it failed or None."""


@dataclass(frozen=True, slots=True)
class Share:
    """A cell's share of the machine.

    Args:
        jobs: how many cells run at a time.
        threads: how many threads each has; None: as they are.
        lane: which of those places this cell has; GPUs are dealt out to the places in turn.
    """

    jobs: int = 1
    threads: int | None = None
    lane: int = 0

    def choose_device(self, wanted: str) -> str:
        """Return the device of this share's cell, which asks for `wanted`: a GPU of its own where there are several.

        >>> Share(lane=3).choose_device("cpu")
        'cpu'
        """
        if wanted not in ("auto", "cuda"):
            return wanted
        count = count_devices("cuda")
        return f"cuda:{self.lane % count}" if count > 1 else wanted


def run_cell(cell: Cell, share: Share, progress: Progress) -> str | None:
    """Run a cell; return why it failed, which failure.json in its folder says, too, or None.

    Raises:
        KeyboardInterrupt: Ctrl-C; the folder then holds no result.
    """
    if share.threads is not None:
        torch.set_num_threads(share.threads)
    try:
        with locked_folder(cell.folder):
            _run(cell, share, progress)
    except ExpungeError as error:
        return record_failure(cell, str(error))
    except Exception as error:  # whatever it is, the other cells go on
        return record_failure(cell, f"{type(error).__name__}: {error}", traceback.format_exc())
    return None


def _run(cell: Cell, share: Share, progress: Progress) -> None:
    if cell.is_outdated:
        _clear(cell.folder)
    remove_files(cell.folder, [FAILURE])
    write_json(cell.folder / MACHINE, _describe(cell, share))
    job = replace(cell.job, device=share.choose_device(cell.job.device))
    if cell.stream.requests > 1:
        run_stream(job, cell.stream, cell.folder, progress=progress)
        return
    outcome = run_job(job, cell.folder, progress=progress, overwrite=True)
    if outcome.edit.stop_reason is StopReason.INTERRUPTED:
        remove_files(cell.folder, [RESULT])
        raise KeyboardInterrupt


def clear_cells(folder: Path) -> None:
    """Remove the cells of a grid, whose folder nobody else may be using.

    Raises:
        OutputError: the folder can't be written to.
    """
    with locked_folder(folder):
        _clear(folder)


def _clear(folder: Path) -> None:
    """Remove everything in a folder but its lock, the result first."""
    remove_files(folder, [RESULT])
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()
    sync_folder(folder)


def record_failure(cell: Cell, error: str, trace: str = "") -> str:
    """Write why a cell failed to its folder, and return it."""
    try:
        cell.folder.mkdir(parents=True, exist_ok=True)
        write_json(cell.folder / FAILURE, {"cell": cell.name, "error": error, "trace": trace})
    except (OSError, OutputError):
        return f"{error} (and its folder cannot be written to)"
    return error


def _describe(cell: Cell, share: Share) -> dict[str, object]:
    """Return what a cell asks for, where it is run, and with which revision of its method."""
    return {
        "cell": cell.name,
        "key": cell.key,
        "revision": cell.revision,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "at_a_time": share.jobs,
        "torch": torch.__version__,
        "expunge": __version__,
    }
