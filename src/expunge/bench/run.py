"""One cell run to its result, or to the reason why there is none."""

import os
import platform
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch

from expunge._version import __version__
from expunge.base.errors import ExpungeError, OutputError
from expunge.base.tensors import write_json
from expunge.bench.cells import FAILURE, MACHINE, RESULT, Cell
from expunge.bench.stream import run_stream
from expunge.compute.runtime import Progress
from expunge.jobs.run import run_job
from expunge.task.task import StopReason

Report = Callable[[Cell, str | None], None]
"""Called when a cell has ended, with why it failed or None."""


@dataclass(frozen=True, slots=True)
class Share:
    """A cell's share of the machine: how many run at a time, and how many threads each has (None: as they are)."""

    jobs: int = 1
    threads: int | None = None


def run_cell(cell: Cell, share: Share, progress: Progress) -> str | None:
    """Run a cell; return why it failed, which failure.json in its folder says, too, or None.

    Raises:
        KeyboardInterrupt: Ctrl-C; the folder then holds no result.
    """
    if share.threads is not None:
        torch.set_num_threads(share.threads)
    try:
        cell.folder.mkdir(parents=True, exist_ok=True)
        (cell.folder / FAILURE).unlink(missing_ok=True)
        write_json(cell.folder / MACHINE, _describe(cell, share))
        if cell.stream.requests > 1:
            run_stream(cell.job, cell.stream, cell.folder, progress=progress)
            return None
        outcome = run_job(cell.job, cell.folder, progress=progress, overwrite=True)
    except ExpungeError as error:
        return record_failure(cell, str(error))
    except Exception as error:  # whatever it is, the other cells go on
        return record_failure(cell, f"{type(error).__name__}: {error}", traceback.format_exc())
    if outcome.edit.stop_reason is StopReason.INTERRUPTED:
        (cell.folder / RESULT).unlink(missing_ok=True)
        raise KeyboardInterrupt
    return None


def record_failure(cell: Cell, error: str, trace: str = "") -> str:
    """Write why a cell failed to its folder, and return it."""
    try:
        cell.folder.mkdir(parents=True, exist_ok=True)
        write_json(cell.folder / FAILURE, {"cell": cell.name, "error": error, "trace": trace})
    except (OSError, OutputError):
        return f"{error} (and its folder cannot be written to)"
    return error


def _describe(cell: Cell, share: Share) -> dict[str, object]:
    """Return where a cell is run, for the page of results."""
    return {
        "cell": cell.name,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "at_a_time": share.jobs,
        "torch": torch.__version__,
        "expunge": __version__,
    }
