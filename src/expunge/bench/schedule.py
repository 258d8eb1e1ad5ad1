"""A grid from its first missing cell to the last: checked, run, counted, and told how long it will take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from expunge.base.folders import locked_folder
from expunge.base.words import say_seconds
from expunge.bench.cells import Cell
from expunge.bench.check import check_cells, check_results
from expunge.bench.forecast import Forecast
from expunge.bench.processes import Budget, run_in_processes
from expunge.bench.ray_cluster import run_on_ray
from expunge.bench.run import Share, run_cell
from expunge.compute.runtime import Progress

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Execution:
    """How the cells are run.

    Args:
        budget: processes at a time, and memory.
        ray: address of a Ray cluster or "local"; None for this machine without Ray.
        progress: shows the phases of a cell that runs in this process.
        say: takes a line of progress.
    """

    budget: Budget
    progress: Progress
    say: Say
    ray: str | None = None


@dataclass(slots=True)
class _Tally:
    """What is done and what is left; says so after each cell."""

    missing: list[Cell]
    total: int
    jobs: int
    forecast: Forecast
    say: Say
    failures: dict[str, str] = field(default_factory=dict)

    def count(self, cell: Cell, error: str | None) -> None:
        self.missing.remove(cell)
        self.forecast.learn(cell)
        if error is not None:
            self.failures[cell.name] = error
        seconds = self.forecast.seconds_left(self.missing, self.jobs)
        left = f"; about {say_seconds(seconds)} left" if seconds is not None and self.missing else ""
        outcome = "done" if error is None else f"failed: {error}"
        self.say(f"{self.total - len(self.missing)}/{self.total} {cell.name}: {outcome}{left}")


def run_missing(cells: Sequence[Cell], how: Execution) -> dict[str, str]:
    """Run the cells that have no result yet; return why those that failed did, by name.

    Raises:
        ExpungeError: something is wrong with a cell that can be known before any runs.
        KeyboardInterrupt: Ctrl-C; what is done stays, and the next call goes on.
    """
    check_results(cells)
    check_cells(cells, how.say)
    missing = [cell for cell in cells if cell.result() is None]
    if not missing:
        return {}
    forecast, jobs = Forecast(cells), how.budget.jobs
    tally = _Tally(list(missing), len(cells), jobs, forecast, how.say)
    how.say(f"{len(cells) - len(missing)} of {len(cells)} cells are done already")
    with locked_folder(missing[0].folder.parent):
        if how.ray is not None:
            run_on_ray(missing, how.ray, how.budget.share, tally.count)
        elif jobs > 1:
            run_in_processes(missing, how.budget, forecast, tally.count)
        else:
            for cell in missing:
                tally.count(cell, run_cell(cell, Share(), how.progress))
    return tally.failures
