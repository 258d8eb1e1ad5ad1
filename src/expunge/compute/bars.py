"""Progress bars, in a terminal or a notebook."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from expunge.compute.runtime import Advance


class Bars:
    """A progress bar with remaining time for each phase, on standard error, gone when the phase is over."""

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:
        """Show one bar for the block."""
        bar = Progress(
            TextColumn("{task.description:>12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with bar:
            phase = bar.add_task(name, total=total)
            yield lambda units: bar.advance(phase, units)


def in_notebook() -> bool:
    """Return whether the caller is a notebook: its kernel is the one kind of IPython that shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")
