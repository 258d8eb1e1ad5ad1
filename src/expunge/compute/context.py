"""What an edit costs: seconds by phase, gradient evaluations, memory."""

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from expunge.base.errors import ExpungeWarning, ProcessError
from expunge.compute.callbacks import TracePoint
from expunge.compute.devices import forget_peak, peak_bytes, wait_for
from expunge.compute.runtime import Advance, Runtime


@dataclass(frozen=True, slots=True)
class Cost:
    """What an edit took.

    Args:
        seconds: wall time from the first phase to the end.
        seconds_by_phase: the same by phase; what is left is set-up.
        gradient_evaluations: images through one forward and one backward pass.
        peak_memory_bytes: of the GPU during the edit, or of the whole process so far on a CPU.
        examples: adversarial examples made.
        examples_reached: how many of them the classifier takes for their target.
        batch_size: images in one pass at the end, fewer than at the start where memory did not suffice.
    """

    seconds: float
    seconds_by_phase: dict[str, float]
    gradient_evaluations: int
    peak_memory_bytes: int
    examples: int = 0
    examples_reached: int = 0
    batch_size: int = 0


class Context:
    """Adds up what an edit takes, phase by phase; one context an edit."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.sharing = runtime.sharing
        self._started = time.perf_counter()
        self._by_phase: dict[str, float] = {}
        self._open: dict[str, float] = {}
        self._gradients = 0
        self._examples = self._reached = 0
        forget_peak(runtime.device)
        self._callbacks = list(runtime.callbacks) if runtime.leads else []

    def tell(self, point: TracePoint) -> None:
        """Call the runtime's callbacks; one that fails is not called again, since an edit is worth more than its log.

        Warns:
            ExpungeWarning: a callback failed.
        """
        for callback in tuple(self._callbacks):
            try:
                callback(point)
            except Exception as error:  # it is the user's code, or a logger that lost its server
                self._callbacks.remove(callback)
                warnings.warn(
                    f"{callback!r} failed at step {point.step} and is not called again "
                    f"({type(error).__name__}: {error})",
                    ExpungeWarning,
                    stacklevel=2,
                )

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Time the block as `name` and show its progress."""
        self._open[name] = started = time.perf_counter()
        try:
            with self.runtime.progress.phase(name, total) as advance:
                yield advance
        finally:
            wait_for(self.runtime.device)
            self._by_phase[name] = self._by_phase.get(name, 0.0) + time.perf_counter() - started
            self._open.pop(name, None)

    def add_gradients(self, images: int) -> None:
        """Count `images` that went through one forward and one backward pass."""
        self._gradients += images

    def add_examples(self, made: int, reached: int) -> None:
        """Count adversarial examples, and how many of them reached their target."""
        self._examples += made
        self._reached += reached

    @property
    def seconds(self) -> float:
        """Return the seconds since the context was made."""
        return time.perf_counter() - self._started

    def spent(self) -> dict[str, Any]:
        """Return what has been spent so far as plain nested values, for `go_on_from`."""
        now, by_phase = time.perf_counter(), dict(self._by_phase)
        for name, started in self._open.items():
            by_phase[name] = by_phase.get(name, 0.0) + now - started
        counts = {"gradients": self._gradients, "examples": self._examples, "reached": self._reached}
        return {"seconds": now - self._started, "seconds_by_phase": by_phase, **counts}

    def go_on_from(self, spent: Mapping[str, Any]) -> None:
        """Count on from what an edit had spent when it was stopped; what was done to come there again doesn't count."""
        self._started = time.perf_counter() - spent["seconds"]
        self._by_phase = dict(spent["seconds_by_phase"])
        self._gradients, self._examples, self._reached = (spent[name] for name in ("gradients", "examples", "reached"))

    def cost(self) -> Cost:
        """Return what has been spent so far."""
        memory = peak_bytes(self.runtime.device)
        return Cost(
            self.seconds,
            dict(self._by_phase),
            self._count_all_gradients(),
            memory,
            self._examples,
            self._reached,
            self.sharing.batch_size,
        )

    def _count_all_gradients(self) -> int:
        total = torch.tensor(self._gradients, device=self.runtime.device)
        with suppress(ProcessError):
            self.runtime.processes.sum([total])
        return int(total)
