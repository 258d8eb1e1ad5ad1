"""The Jacobian of the constraints by the weights, in whitened coordinates: products with it, held or made anew.

A row is one image's gap; a column one weight. The Jacobian is either held in memory, or, where it would not fit, made
again a few rows at a time: the same numbers for more work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.compute.context import Context
from expunge.methods.layers import Layer, count_weights
from expunge.methods.least_change.curvature import Whitening
from expunge.methods.tracing import images_at_once, trace_rows
from expunge.models.classifier import Classifier

Expired = Callable[[], bool]

Gap = Callable[[Tensor, Tensor], Tensor]
"""Logits and labels -> by how much each image is short of its boundary."""

SQUARED_AT_ONCE = 512
"""Rows of a Gram matrix that are computed at once."""

Step = list[Tensor]
"""A change of the weights in whitened coordinates, (g, o, i) for each layer."""


class OutOfTime(Exception):  # noqa: N818 - no error: a step that is not finished
    """The time of the task was over before a product was complete."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """Images, the labels that the goal speaks of, and what is needed to differentiate their gaps."""

    classifier: Classifier
    layers: tuple[Layer, ...]
    whitening: Whitening
    gap: Gap
    x: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]

    def rows(self, chosen: slice, context: Context) -> tuple[Float[Tensor, " m"], Step]:
        """Return gaps and whitened row gradients, (m, g, o, i) for each layer, of some rows."""
        start = chosen.start
        gaps, *rows = context.sharing.map_concat(
            chosen.stop - start,
            lambda part: self._differentiate(slice(start + part.start, start + part.stop), context),
            at_once=images_at_once(self.x, self.layers),
        )
        return gaps, rows

    def _differentiate(self, chosen: slice, context: Context) -> list[Tensor]:
        gaps: list[Tensor] = []

        def cotangent(logits: Tensor) -> Tensor:
            variable = logits.requires_grad_(True)
            with torch.enable_grad():
                gap = self.gap(variable, self.labels[chosen])
            gaps.append(gap.detach())
            return torch.autograd.grad(gap.sum(), variable)[0]

        _, flows = trace_rows(self.classifier, self.layers, self.x[chosen], cotangent)
        context.add_gradients(len(gaps[0]))
        return [gaps[0], *(self.whitening.pull_rows(number, flow) for number, flow in enumerate(flows))]


class Jacobian(Protocol):
    """J, n rows by all weights, at the weights that the classifier had when it was made."""

    @property
    def gaps(self) -> Float[Tensor, " n"]:
        """Return the rows' gaps, in logits."""
        ...

    def gram(self) -> Float[Tensor, "n n"]:
        """Return J J'."""
        ...

    def times(self, step: Step) -> Float[Tensor, " n"]:
        """Return J step."""
        ...

    def combine(self, multipliers: Float[Tensor, " n"]) -> Step:
        """Return J' multipliers."""
        ...


def make_jacobian(
    constraints: Constraints, *, memory_bytes: int, context: Context, expired: Expired = lambda: False
) -> Jacobian:
    """Return the Jacobian, held in memory if it takes at most `memory_bytes`, otherwise made anew block by block.

    Where it is made anew, `expired` is asked before each block.

    Raises:
        OutOfTime: `expired` says yes; so do the products with it.
    """
    per_row = count_weights(constraints.layers) * constraints.x.element_size()
    if per_row * len(constraints.x) <= memory_bytes:
        return HeldJacobian(constraints, context)
    return RecomputedJacobian(constraints, max(1, memory_bytes // (3 * per_row)), context, expired)


class HeldJacobian:
    """All rows in memory: n times the number of weights."""

    def __init__(self, constraints: Constraints, context: Context) -> None:
        self.gaps, self._rows = constraints.rows(slice(0, len(constraints.x)), context)

    def gram(self) -> Tensor:
        """Return J J'."""
        return _square(self._rows)

    def times(self, step: Step) -> Tensor:
        """Return J step."""
        return _inner(self._rows, [part.unsqueeze(0) for part in step]).squeeze(1)

    def combine(self, multipliers: Tensor) -> Step:
        """Return J' multipliers."""
        return [torch.tensordot(multipliers, rows, dims=1) for rows in self._rows]


class RecomputedJacobian:
    """Two blocks of rows in memory, one in the making; n/block passes a product, their square for the Gram matrix."""

    def __init__(
        self, constraints: Constraints, block: int, context: Context, expired: Expired = lambda: False
    ) -> None:
        self._constraints, self._context, self._expired = constraints, context, expired
        # not the size that this process may have halved: blocks are the same in all processes
        self._blocks = _blocks(len(constraints.x), min(block, context.runtime.batch_size))
        self._gram, self.gaps = self._compute_gram()

    def gram(self) -> Tensor:
        """Return J J'."""
        return self._gram

    def times(self, step: Step) -> Tensor:
        """Return J step."""
        lifted = [part.unsqueeze(0) for part in step]
        return torch.cat([_inner(self._rows(block), lifted).squeeze(1) for block in self._blocks])

    def combine(self, multipliers: Tensor) -> Step:
        """Return J' multipliers."""
        total: Step | None = None
        for block in self._blocks:
            if not bool(multipliers[block].any()):
                continue
            part = [torch.tensordot(multipliers[block], rows, dims=1) for rows in self._rows(block)]
            total = part if total is None else [sum_ + new for sum_, new in zip(total, part, strict=True)]
        if total is None:
            return [torch.zeros_like(layer.read()) for layer in self._constraints.layers]
        return total

    def _rows(self, block: slice) -> Step:
        return self._rows_and_gaps(block)[1]

    def _rows_and_gaps(self, block: slice) -> tuple[Tensor, Step]:
        if self._expired():
            raise OutOfTime
        return self._constraints.rows(block, self._context)

    def _compute_gram(self) -> tuple[Tensor, Tensor]:
        count = len(self._constraints.x)
        gram, gaps = self._constraints.x.new_zeros(count, count), []
        for number, block in enumerate(self._blocks):
            gap, rows = self._rows_and_gaps(block)
            gaps.append(gap)
            gram[block, block] = _square(rows)
            for other in self._blocks[:number]:
                gram[block, other] = _inner(rows, self._rows(other))
                gram[other, block] = gram[block, other].T
        return gram, torch.cat(gaps)


def _inner(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    total = first[0].new_zeros(len(first[0]), len(second[0]))
    for a, b in zip(first, second, strict=True):
        total.addmm_(a.flatten(1), b.flatten(1).T)
    return total


def _square(rows: Sequence[Tensor]) -> Tensor:
    """Return the inner products of rows with each other; of many, those below the diagonal are also those above."""
    gram = rows[0].new_zeros(len(rows[0]), len(rows[0]))
    for block in _blocks(len(gram), SQUARED_AT_ONCE):
        before = slice(0, block.stop)
        gram[block, before] = _inner([part[block] for part in rows], [part[before] for part in rows])
    return gram.tril() + gram.tril(-1).T


def _blocks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
