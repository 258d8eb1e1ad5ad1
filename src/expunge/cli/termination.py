"""SIGTERM, by which schedulers and containers end a program, taken as Ctrl-C, so that what there is gets saved."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SECONDS_FOR_ONE = 1.0
"""Signals within this time are one: GNU timeout sends two, to the process and to its group."""


@dataclass(slots=True)
class Termination:
    """Whether this process was told to end; the first time it is interrupted, the second time it ends at once."""

    asked_at: float | None = None
    _process: int = field(default_factory=os.getpid)

    @property
    def asked(self) -> bool:
        """Return whether there was a SIGTERM."""
        return self.asked_at is not None

    def hear(self, number: int, frame: object) -> None:
        """Interrupt what is going on; a fork of the process, or one that was told before, ends.

        Raises:
            KeyboardInterrupt: it is the first signal.
        """
        if os.getpid() == self._process:
            if self.asked_at is None:
                self.asked_at = time.monotonic()
                raise KeyboardInterrupt
            if time.monotonic() < self.asked_at + SECONDS_FOR_ONE:
                return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


@contextmanager
def terminable() -> Iterator[Termination]:
    """Take SIGTERM as Ctrl-C in the block, where nobody else answers it and there is such a signal."""
    told = Termination()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if sys.platform == "win32" or not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield told
        return
    own = told.hear
    signal.signal(signal.SIGTERM, own)
    try:
        yield told
    finally:
        if signal.getsignal(signal.SIGTERM) is own:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
