"""What cells that are still to run will take, from those that have."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from expunge.bench.cells import Cell

UNKNOWN_BYTES = 2.0 * 2**30


class Forecast:
    """Seconds and bytes of cells: of the finished ones most like them."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._done: dict[Path, tuple[Cell, Mapping[str, Any]]] = {}
        for cell in cells:
            self.learn(cell)

    def learn(self, cell: Cell) -> None:
        """Take a cell's result into account, if it has one."""
        result = cell.result()
        if result is not None:
            self._done[cell.folder] = (cell, result["cost"])

    def bytes_of(self, cell: Cell) -> float:
        """Return the memory that a cell is expected to need at most."""
        return max(self._of_alike(cell, lambda cost: cost.get("peak_memory_bytes")), default=UNKNOWN_BYTES)

    def seconds_of(self, cell: Cell) -> float | None:
        """Return the seconds that a cell is expected to take; None before any is known."""
        known = self._of_alike(cell, lambda cost: cost["seconds"])
        return sum(known) / len(known) if known else None

    def seconds_left(self, cells: Iterable[Cell], jobs: int) -> float | None:
        """Return the seconds until all of `cells` are done, so many at a time; None before any is known."""
        each = [self.seconds_of(cell) for cell in cells]
        known = [seconds for seconds in each if seconds is not None]
        return sum(known) / min(jobs, len(known)) if known else None

    def _of_alike(self, cell: Cell, figure: Callable[[Mapping[str, Any]], float | None]) -> list[float]:
        """Return the figure of finished cells of the same row and count, else of the same row, else of all."""
        likeness: tuple[Callable[[Cell], object], ...] = (
            lambda one: (one.classifier, one.label, one.goal, one.count),
            lambda one: (one.classifier, one.label),
            lambda one: None,
        )
        for alike in likeness:
            values = [figure(cost) for one, cost in self._done.values() if alike(one) == alike(cell)]
            found = [value for value in values if value is not None]
            if found:
                return found
        return []
