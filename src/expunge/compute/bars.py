"""Progress on standard error: bars in a terminal or a notebook, lines now and then where there is neither."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from expunge.base.words import say_seconds
from expunge.compute.runtime import Advance

SECONDS_BETWEEN_LINES = 30.0


class Bars:
    """A bar with remaining time for each phase, gone when the phase is over; without a terminal, see `Lines`."""

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:
        """Show one bar, or lines, for the block."""
        console = Console(stderr=True)
        if not (console.is_terminal or in_notebook()):
            with Lines().phase(name, total) as advance:
                yield advance
            return
        bar = Progress(
            TextColumn("{task.description:>12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        with bar:
            phase = bar.add_task(name, total=total)
            yield lambda units: bar.advance(phase, units)


@dataclass(slots=True)
class Lines:
    """A line every 30 seconds with what is done and how long the rest will take; none for a phase that is shorter.

    A thread sees to it, since a single step may take longer than that.
    """

    clock: Callable[[], float] = time.monotonic
    say: Callable[[str], None] = field(
        default=lambda line: Console(stderr=True, soft_wrap=True).print(line, markup=False, highlight=False)
    )
    seconds_between: float = SECONDS_BETWEEN_LINES

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:
        """Say now and then how far the block has come, and that it is over if anything was said of it."""
        begun = said = self.clock()
        done, over, lock = 0, threading.Event(), threading.Lock()

        def say_if_due() -> None:
            nonlocal said
            with lock:
                now = self.clock()
                if now - said >= self.seconds_between:
                    said = now
                    self.say(f"{name}: {_how_far(done, total, now - begun)}")

        def advance(units: int) -> None:
            nonlocal done
            done += units
            say_if_due()

        def watch() -> None:
            while not over.wait(self.seconds_between):
                say_if_due()

        threading.Thread(target=watch, name=f"progress of {name}", daemon=True).start()
        try:
            yield advance
        finally:
            over.set()
        if said > begun:
            self.say(f"{name}: done in {say_seconds(self.clock() - begun)}")


def in_notebook() -> bool:
    """Return whether the caller is a notebook: its kernel is the one kind of IPython that shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")


def _how_far(done: int, total: int | None, seconds: float) -> str:
    if total is None:
        return f"{done:,} done, {say_seconds(seconds)} so far"
    if not done:
        return f"0 of {total:,}, {say_seconds(seconds)} so far"
    left = seconds * max(0, total - done) / done
    return f"{done:,} of {total:,}, {say_seconds(seconds)} so far, about {say_seconds(left)} left"
