"""What the values of pixels mean: their range, and the normalisation that a network wants."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from expunge.base.errors import ClassifierError

SMALL_IMAGE = 64 * 64
"""Pixels of the largest image that counts as small."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of pixel values; every radius and noise level of the package is in these units.

    >>> Bounds(0, 255).width
    255
    """

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ClassifierError("bounds", "lower < upper", f"({self.lower}, {self.upper})")

    @property
    def width(self) -> float:
        """Return upper - lower."""
        return self.upper - self.lower

    def clip(self, x: Tensor) -> Tensor:
        """Return `x` with every value moved into the bounds."""
        return x.clamp(self.lower, self.upper)

    def to_levels(self, x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
        """Return `x` as levels of 8 bits, the nearest ones: 0 for the lower bound, 255 for the upper.

        >>> Bounds(-1, 1).to_levels(torch.tensor([-1.0, 0.01, 1.2])).tolist()
        [0, 129, 255]
        """
        return ((x.detach() - self.lower) / self.width * 255).round().clamp(0, 255).to(torch.uint8)

    def from_levels(self, levels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the pixels that levels of 8 bits stand for."""
        return self.lower + self.width * (levels / 255)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What a network wants done to pixels in 0..1: (x - mean) / std.

    Args:
        mean: one value, or one a channel.
        std: the same, above 0.

    Raises:
        ClassifierError: no value, or a std that is not above 0.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not values:
                raise ClassifierError(name, "one value, or one a channel", "none")
        if not all(value > 0 for value in self.std):
            raise ClassifierError("std", "values above 0", str(list(self.std)))

    @classmethod
    def read(cls, mean: Sequence[float] | None, std: Sequence[float] | None) -> "Normalisation | None":
        """Return the normalisation that two settings say, None if neither says anything.

        Raises:
            ClassifierError: one of the two alone, or different lengths.

        >>> Normalisation.read((0.5,), None)
        Traceback (most recent call last):
        ...
        expunge.base.errors.ClassifierError: `mean and std`: expected both or neither, got only mean; ...
        """
        if mean is None and std is None:
            return None
        if mean is None or std is None:
            given = "std" if mean is None else "mean"
            raise ClassifierError("mean and std", "both or neither", f"only {given}", "pass --mean and --std")
        if len(mean) != len(std):
            raise ClassifierError("std", f"{len(mean)} values as in mean", str(len(std)))
        return cls(tuple(mean), tuple(std))
