"""How far each tensor of the weights moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from expunge.audit.metrics.estimate import NotDefinedError


@dataclass(frozen=True, slots=True)
class Shift:
    """The change of one tensor.

    Args:
        name: its name in the network's state.
        size: number of values.
        l2: norm of the change.
        norm: norm before.
        changed: how many values changed.
    """

    name: str
    size: int
    l2: float
    norm: float
    changed: int

    @property
    def relative(self) -> float | None:
        """Return the norm of the change over the norm before; None where that is 0."""
        return self.l2 / self.norm if self.norm > 0 else None


def weight_shift(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[Shift, ...]:
    """Return the shift of every floating-point tensor, in the order of the network.

    Raises:
        NotDefinedError: the two are not of one architecture.
    """
    if {name: each.shape for name, each in before.items()} != {name: each.shape for name, each in after.items()}:
        raise NotDefinedError("the two classifiers have different architectures")
    shifts = []
    for name, old in before.items():
        if old.is_floating_point():
            old, new = old.detach().cpu().double(), after[name].detach().cpu().double()  # noqa: PLW2901
            change = new - old
            norms = float(torch.linalg.vector_norm(change)), float(torch.linalg.vector_norm(old))
            shifts.append(Shift(name, old.numel(), norms[0], norms[1], int(torch.count_nonzero(change))))
    return tuple(shifts)


def total_l2(shifts: Sequence[Shift]) -> float:
    """Return the norm of the change of all tensors together."""
    return sqrt(sum(shift.l2**2 for shift in shifts))


def total_relative(shifts: Sequence[Shift]) -> float:
    """Return the norm of the change over the norm before, in percent.

    Raises:
        NotDefinedError: all weights were 0.
    """
    norm = sqrt(sum(shift.norm**2 for shift in shifts))
    if norm == 0:
        raise NotDefinedError("all weights were 0 before")
    return 100 * total_l2(shifts) / norm


def touched(shifts: Sequence[Shift]) -> float:
    """Return the percentage of tensors of which at least one value changed."""
    return 100 * sum(shift.changed > 0 for shift in shifts) / len(shifts)
