"""What several processes that work on one edit have to tell each other; one alone has nothing to tell.

Every process goes through the same steps on the same weights. Work over many images is divided among them and its
results are summed, so all of them know the same afterwards.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Processes(Protocol):
    """The processes of one run, seen from one of them."""

    @property
    def rank(self) -> int:
        """Return this one's number; 0 writes files and shows progress."""
        ...

    @property
    def count(self) -> int:
        """Return how many there are."""
        ...

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes.

        Raises:
            ProcessError: another process is gone.
        """
        ...

    def agree(self, tensor: Tensor) -> Tensor:
        """Return what the first process has, so that all decide alike.

        Raises:
            ProcessError: another process is gone.
        """
        ...

    def follow(self) -> None:
        """Go on once the first process has come here, however long it works on its own before; it goes on at once.

        Raises:
            ProcessError: it is gone.
        """
        ...


class Alone:
    """One process."""

    rank, count = 0, 1

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""

    def agree(self, tensor: Tensor) -> Tensor:
        """Return the tensor."""
        return tensor

    def follow(self) -> None:
        """Go on."""


ALONE = Alone()


def share_of(processes: Processes, count: int) -> slice:
    """Return this process's part of `count` items; everything where there are fewer items than processes.

    >>> share_of(ALONE, 5)
    slice(0, 5, None)
    """
    if count < processes.count:
        return slice(0, count)
    return slice(
        count * processes.rank // processes.count,
        count * (processes.rank + 1) // processes.count,
    )
