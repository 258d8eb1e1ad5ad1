"""Work over many images: in batches that fit into memory, divided among processes, results put together again."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from expunge.base.errors import ExpungeWarning, OutOfMemoryError
from expunge.compute.devices import release_memory
from expunge.compute.processes import ALONE, Processes, share_of

Work = Callable[[slice], Sequence[Tensor]]
"""Images from..to -> tensors."""

PIXELS_IN_CACHE, LEAST_IN_CACHE = 128 * 32 * 32, 8
"""So few images at a time stay in a processor's cache on their way through a network (docs/performance.md)."""

SIGNS_OF_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation", "bad_alloc")


class Sharing:
    """Divides work over images; `batch_size`, what goes through at once, is halved where memory does not suffice."""

    def __init__(self, batch_size: int, processes: Processes = ALONE) -> None:
        self.batch_size, self.processes = batch_size, processes
        self._steady: int | None = None

    @contextmanager
    def steady(self, size: int | None) -> Iterator[None]:
        """Let `size` images through at once in the block, whatever the batch size, as long as memory suffices.

        What bfloat16 rounds off depends on which images go through together, and an edit follows it. None: as always.
        """
        self._steady = size
        try:
            yield
        finally:
            self._steady = None

    def map_concat(
        self, count: int, work: Work, *, at_once: int | None = None, among: Processes | None = None
    ) -> list[Tensor]:
        """Return the tensors of all images, where `work` returns a row for each of its own, at most `at_once`.

        What is held at a time is the whole and one piece of it. For `among` see `map_sum`.

        >>> [doubled] = Sharing(2).map_concat(5, lambda part: [2 * torch.arange(5)[part]])
        >>> doubled.tolist()
        [0, 2, 4, 6, 8]
        """
        among = among or self.processes
        own, whole = share_of(among, count), list[Tensor]()
        start = own.start
        for pieces in self._run(own, work, at_once):
            if len(pieces[0]) == count:
                return list(pieces)
            whole = whole or [piece.new_zeros(count, *piece.shape[1:]) for piece in pieces]
            stop = start + len(pieces[0])
            for column, piece in zip(whole, pieces, strict=True):
                column[start:stop] = piece
            start = stop
        if own != slice(0, count):
            among.sum(whole)
        return whole

    def map_sum(
        self, count: int, work: Work, *, at_once: int | None = None, among: Processes | None = None
    ) -> list[Tensor]:
        """Return the sums over all images of the tensors that `work` sums over its own, at most `at_once`.

        The processes in `among` divide the work, by default all; with `ALONE` each of them does all of it.

        >>> [total] = Sharing(2).map_sum(5, lambda part: [torch.arange(5)[part].sum()])
        >>> total.item()
        10
        """
        among = among or self.processes
        own = share_of(among, count)
        totals: list[Tensor] = []
        for tensors in self._run(own, work, at_once):
            totals = [old + new for old, new in zip(totals, tensors, strict=True)] if totals else list(tensors)
        if own != slice(0, count):
            among.sum(totals)
        return totals

    def halve(self, error: BaseException, images: int | None = None) -> None:
        """Halve the batch if `error` says that memory did not suffice, otherwise raise it again.

        Args:
            error: what was raised.
            images: how many did not fit; None: a whole batch.

        Raises:
            OutOfMemoryError: a batch is one image already.

        Warns:
            ExpungeWarning: the new size.
        """
        if not is_out_of_memory(error):
            raise error
        most, self._steady = self._steady or self.batch_size, None
        size = most if images is None else min(images, most)
        if size <= 1:
            found = (str(error).splitlines() or [type(error).__name__])[0]
            raise OutOfMemoryError("memory", "enough for one image", found, "take smaller images or another device")
        self.batch_size = min(self.batch_size, size // 2)
        error.with_traceback(None)  # its frames hold what filled the memory
        release_memory()
        warnings.warn(f"out of memory: going on with batches of {self.batch_size} images", ExpungeWarning, stacklevel=2)

    def _run(self, own: slice, work: Work, at_once: int | None = None) -> Iterator[Sequence[Tensor]]:
        start = own.start
        while True:
            most = self._steady or self.batch_size
            size = most if at_once is None else min(at_once, most)
            part = slice(start, min(start + size, own.stop))
            try:
                done = work(part)
            except (RuntimeError, MemoryError) as error:
                self.halve(error, part.stop - part.start)
                continue
            yield done
            start = part.stop
            if start >= own.stop:
                return


def fitting_cache(x: Tensor, device: torch.device) -> int | None:
    """Return how many of some images, or of what goes through a cut, a network is to be given at a time.

    Args:
        x: (n, c, h, w).
        device: of the network; any but a CPU wants as many as there are: None.
    """
    return max(LEAST_IN_CACHE, PIXELS_IN_CACHE // (x.shape[2] * x.shape[3])) if device.type == "cpu" else None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that an allocation failed, on a GPU or a CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS_OF_NO_MEMORY)
    )
