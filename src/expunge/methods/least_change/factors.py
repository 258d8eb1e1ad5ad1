"""Factors of the curvature: square roots of inverse second moments, whole or, for very wide layers, thin.

A thin factor knows the moments from one vector an image. It is a rank-r change of a multiple of the identity, which is
what a whole one is, too, where a layer sees fewer vectors than it is wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import SettingsError
from expunge.compute.float64 import eigh, to_float64
from expunge.methods.layers import Layer

GIGABYTE = 2**30
BYTES_SUMMED = 12
"""For each number of a whole factor: the moments of a batch, those so far, and their sum."""
BYTES_INVERTED = 48
"""For each number of the one that is being inverted, in float64."""
LEAST_GIGABYTES = 0.25
"""Torch itself takes as much; less is not asked of factors."""
GROWTHS = 12
RANK_TOLERANCE = 1e-9


class Factor(Protocol):
    """L of size (g, n, n) with L' L = the inverse of the damped moments, 0 where nothing was ever seen."""

    @property
    def effort(self) -> int:
        """Return the multiplications that a product with one vector takes."""
        ...

    def before(self, matrix: Float[Tensor, "*b g n m"], *, transposed: bool = False) -> Float[Tensor, "*b g n m"]:
        """Return L matrix, or L' matrix."""
        ...

    def after(self, matrix: Float[Tensor, "*b g m n"], *, transposed: bool = False) -> Float[Tensor, "*b g m n"]:
        """Return matrix L, or matrix L'."""
        ...


@dataclass(frozen=True, slots=True)
class WholeFactor:
    """The inverse of the lower Cholesky factor."""

    matrix: Float[Tensor, "g n n"]

    @property
    def effort(self) -> int:
        """Return the multiplications that a product with one vector takes."""
        return self.matrix.shape[-1] ** 2

    def before(self, matrix: Tensor, *, transposed: bool = False) -> Tensor:
        """Return L matrix, or L' matrix."""
        return _before(self.matrix.mT if transposed else self.matrix, matrix)

    def after(self, matrix: Tensor, *, transposed: bool = False) -> Tensor:
        """Return matrix L, or matrix L'."""
        return _after(matrix, self.matrix.mT if transposed else self.matrix)


@dataclass(frozen=True, slots=True)
class ThinFactor:
    """The symmetric root scale (I - basis diag(shrunk) basis')."""

    basis: Float[Tensor, "g n r"]
    shrunk: Float[Tensor, "g r 1"]
    scale: Float[Tensor, "g 1 1"]

    @property
    def effort(self) -> int:
        """Return the multiplications that a product with one vector takes."""
        return 2 * self.basis.shape[-2] * self.basis.shape[-1]

    def before(self, matrix: Tensor, *, transposed: bool = False) -> Tensor:
        """Return L matrix, which is L' matrix."""
        return self.scale * (matrix - _before(self.basis, self.shrunk * _before(self.basis.mT, matrix)))

    def after(self, matrix: Tensor, *, transposed: bool = False) -> Tensor:
        """Return matrix L, which is matrix L'."""
        return self.scale * (matrix - _after(_after(matrix, self.basis) * self.shrunk.mT, self.basis.mT))


def _before(matrix: Float[Tensor, "g n m"], others: Float[Tensor, "*b g m l"]) -> Float[Tensor, "*b g n l"]:
    """Return matrix @ others; a product that broadcasts would copy the matrix for each of b."""
    return torch.einsum("gnm,...gml->...gnl", matrix, others)


def _after(others: Float[Tensor, "*b g l n"], matrix: Float[Tensor, "g n m"]) -> Float[Tensor, "*b g l m"]:
    """Return others @ matrix, see `_before`."""
    return torch.einsum("...gln,gnm->...glm", others, matrix)


def choose_thin(layers: Sequence[Layer], images: int, memory_gigabytes: float) -> frozenset[tuple[int, int]]:
    """Return which factors are to be thin so that all fit into the memory: the widest, as few as will do.

    Args:
        layers: what can be edited.
        images: from which moments are estimated; only what is over twice as wide becomes thin.
        memory_gigabytes: for factors while they are made.

    Returns:
        (number of the layer, 1 for its outputs or 2 for its inputs).

    Raises:
        SettingsError: they don't fit.
    """
    allowed = max(memory_gigabytes, LEAST_GIGABYTES) * GIGABYTE
    sides = [(number, side) for number in range(len(layers)) for side in (1, 2)]
    by_width = sorted(sides, key=lambda each: -_numbers(layers, each))
    for count in range(len(by_width) + 1):
        whole = [_numbers(layers, each) for each in by_width[count:]]
        thin = [images * layers[number].shape[0] * layers[number].shape[side] for number, side in by_width[:count]]
        needed = BYTES_SUMMED * sum(whole + thin) + BYTES_INVERTED * max(whole + thin)
        if needed <= allowed:
            return frozenset(by_width[:count])
        if count < len(by_width) and layers[by_width[count][0]].shape[by_width[count][1]] <= 2 * images:
            break
    raise SettingsError(
        "memory_gigabytes",
        f"at least {needed / GIGABYTE:.2g} for the curvature of the widest layers",
        f"{memory_gigabytes}",
    )


def make_factor(
    total: Float[Tensor, "g m n"], divisor: Float[Tensor, "g 1 1"] | int, damping: float, *, thin: bool
) -> Factor:
    """Return the factor of the damped second moments.

    Args:
        total: the sum over images of outer products, or for a thin factor one vector an image.
        divisor: what makes the sum a mean.
        damping: added, as a share of the mean eigenvalue.
        thin: whether `total` is vectors.
    """
    return make_thin(total / divisor**0.5, damping) if thin else make_whole(total / divisor, damping)


def make_whole(moments: Float[Tensor, "g n n"], damping: float) -> WholeFactor:
    """Return the whole factor of second moments; what rounding makes indefinite is damped more.

    Args:
        moments: mean over images of outer products.
        damping: added to each, as a share of its mean eigenvalue.
    """
    given, moments = moments, to_float64(moments)
    mean = moments.diagonal(dim1=1, dim2=2).mean(dim=1).view(-1, 1, 1)
    unseen = mean <= 0
    identity = torch.eye(moments.shape[1], dtype=moments.dtype, device=moments.device).expand_as(moments)
    for growth in range(GROWTHS):
        shift = torch.where(unseen, 1.0, damping * 10.0**growth * mean)
        factor, failed = torch.linalg.cholesky_ex(moments + shift * identity)
        if not bool(failed.any()):
            break
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return WholeFactor(torch.where(unseen, 0.0, inverse).to(given))


def make_thin(vectors: Float[Tensor, "g m n"], damping: float) -> ThinFactor:
    """Return the thin factor of the second moments vectors' vectors.

    Args:
        vectors: m of them, fewer than they are long.
        damping: as in `make_whole`.
    """
    known = to_float64(vectors)
    values, directions = eigh(known @ known.mT)
    values, total = values.clamp_min(0), values.sum(dim=1).view(-1, 1, 1)
    damped = damping * total / vectors.shape[-1]
    kept = values.unsqueeze(-1) > RANK_TOLERANCE * total
    basis = known.mT @ directions / values.sqrt().unsqueeze(1).clamp_min(1e-300)
    shrunk = torch.where(kept, 1 - (damped / (damped + values.unsqueeze(-1)).clamp_min(1e-300)).sqrt(), 0.0)
    scale = torch.where(total > 0, damped.clamp_min(1e-300).rsqrt(), 0.0)
    basis = torch.where(kept.mT, basis, 0.0)
    return ThinFactor(basis.to(vectors), shrunk.to(vectors), scale.to(vectors))


def _numbers(layers: Sequence[Layer], which: tuple[int, int]) -> int:
    number, side = which
    return layers[number].shape[0] * layers[number].shape[side] ** 2
