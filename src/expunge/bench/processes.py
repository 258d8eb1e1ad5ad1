"""Cells in processes of their own, as many at a time as cores and memory allow."""

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from expunge.base.errors import ExpungeWarning, SettingsError
from expunge.base.visible import visible
from expunge.bench.cells import Cell
from expunge.bench.forecast import Forecast
from expunge.bench.run import CellEnded, Share, record_failure, run_cell
from expunge.compute.runtime import SILENT

BYTES = 2**30
SPARE = 0.8
FAILED = 1


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of the machine the cells may use: processes at a time, and bytes of memory for all of them."""

    jobs: int
    memory_bytes: float

    @classmethod
    def of_machine(cls, jobs: int, memory_gigabytes: float | None = None) -> "Budget":
        """Return a budget; without a number, four fifths of the memory that is free now.

        Raises:
            SettingsError: no job at a time, or no memory.
        """
        if jobs < 1:
            raise SettingsError("jobs", "at least 1", str(jobs))
        if memory_gigabytes is not None and not memory_gigabytes > 0:
            raise SettingsError("memory_gigabytes", "above 0", str(memory_gigabytes))
        return cls(jobs, memory_gigabytes * BYTES if memory_gigabytes is not None else SPARE * _free_bytes())

    @property
    def share(self) -> Share:
        """Return what each process gets: the cores are divided evenly."""
        return Share(self.jobs, max(1, (os.cpu_count() or 1) // self.jobs))


def run_in_processes(cells: Sequence[Cell], budget: Budget, forecast: Forecast, ended: CellEnded) -> None:
    """Run each cell in a process of its own; a process that dies is a failed cell, and the others go on.

    A cell starts when fewer run than the budget allows and the memory that it is expected to need is free; one that
    needs more than there is runs alone. If this process is killed, its cells end with it.

    Raises:
        KeyboardInterrupt: Ctrl-C; the cells in flight are stopped and have no result.
    """
    waiting, running = list(cells), dict[int, tuple[Cell, BaseProcess, int]]()
    lanes = set(range(budget.jobs))
    try:
        while waiting or running:
            while waiting and fits(waiting[0], [cell for cell, _, _ in running.values()], budget, forecast):
                lane = min(lanes)
                lanes.remove(lane)
                process = _start(waiting[0], replace(budget.share, lane=lane))
                running[process.sentinel] = (waiting.pop(0), process, lane)
            for sentinel in wait(list(running)):
                cell, process, lane = running.pop(sentinel)  # type: ignore[arg-type]
                process.join()
                lanes.add(lane)
                ended(cell, _find_error(cell, process.exitcode))
    finally:
        for _, process, _ in running.values():
            process.terminate()
            process.join()


def fits(cell: Cell, running: Sequence[Cell], budget: Budget, forecast: Forecast) -> bool:
    """Return whether a cell can start beside those that are running; alone, every cell can."""
    if not running:
        return True
    needed = sum(forecast.bytes_of(each) for each in [cell, *running])
    return len(running) < budget.jobs and needed <= budget.memory_bytes


def _start(cell: Cell, share: Share) -> BaseProcess:
    """Start a process for a cell, where possible as a fork of one that has imported torch and done nothing else."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([run_cell.__module__])
    process: BaseProcess = context.Process(target=_work, args=(cell, share), name=cell.name)  # type: ignore[attr-defined]
    process.start()
    return process


def _work(cell: Cell, share: Share) -> None:
    """Run a cell in this process, which ends when the one that started it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this is a child
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    warnings.showwarning = partial(_say_note, cell.name)
    try:
        error = run_cell(cell, share, SILENT)
    except KeyboardInterrupt:
        error = "interrupted"
    raise SystemExit(FAILED if error else 0)


def _say_note(cell: str, message: Warning | str, category: type[Warning], *_: object) -> None:
    """Print what the package warns of, with the cell's name, since several print at a time."""
    if issubclass(category, ExpungeWarning):
        sys.stderr.write(visible(f"note: {cell}: {message}") + "\n")


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(FAILED)


def _find_error(cell: Cell, exit_code: int | None) -> str | None:
    if exit_code == 0:
        return None
    if exit_code == FAILED:
        return cell.failure() or "interrupted"
    reason = f"killed by signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
    return record_failure(cell, f"its process ended: {reason}; out of memory?")


def _free_bytes() -> int:
    """Return the free memory, or all of it where the system does not say what is free."""
    name = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
