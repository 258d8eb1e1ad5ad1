"""A limit of time that holds in every phase of an edit, not only between its steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from expunge.compute.runtime import Advance, Progress

STEPS = "edit"
"""The phase of the steps themselves, whose loop has its own look at the clock after each."""


class TimeUp(Exception):  # noqa: N818 - a signal to the loop, no error
    """The time is over; whoever keeps the best state ends here."""


@dataclass(frozen=True, slots=True)
class TimedProgress:
    """A display of progress during which `TimeUp` is raised once the time is over.

    Args:
        progress: the display itself.
        until: on the clock of `time.perf_counter`, seconds.
    """

    progress: Progress
    until: float

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:
        """Show a phase; whatever it counts is a moment at which it can end."""
        with self.progress.phase(name, total) as advance:

            def advance_in_time(units: int) -> None:
                advance(units)
                if name != STEPS and time.perf_counter() > self.until:
                    raise TimeUp

            yield advance_in_time
