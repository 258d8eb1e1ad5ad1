"""A trained classifier as the rest of the package sees it: pixels in, logits out."""

import copy
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from expunge.base.errors import ClassifierError
from expunge.base.tensors import sha256_tensors
from expunge.models.modes import gradients_in_order

PROBABILITY_TOLERANCE = 1e-4


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


class Normalised(nn.Module):
    """A network with its input normalisation in front, so that it takes pixels: network((x - mean) / std).

    Mean and std are on the network's device, but no part of its state: `network.state_dict()` is what was loaded,
    under its own keys.
    An output object with a `logits` field (transformers) is replaced by that field.
    """

    def __init__(self, network: nn.Module, normalisation: Normalisation = Normalisation()) -> None:
        super().__init__()
        self.network = network
        weight = next(network.parameters(), None)
        device = None if weight is None else weight.device
        for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
            buffer = torch.tensor([float(value) for value in values], device=device).view(1, -1, 1, 1)
            self.register_buffer(name, buffer, persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, classes) for pixels (b, c, h, w)."""
        output: Any = self.network((x - self.mean) / self.std)
        logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
        if not isinstance(logits, Tensor):
            raise ClassifierError(
                "classifier", "a tensor of logits, or an object with a `logits` field", type(output).__name__
            )
        return logits


@dataclass(frozen=True, slots=True)
class Classifier:
    """A module from pixels (b, c, h, w) within `bounds` to logits (b, num_classes).

    Normalisation belongs inside the module; `Classifier.wrap` puts it there. `layout` is how images lie in memory when
    they reach the module: it changes the time, not the answers (see `expunge.models.folding`).

    Raises:
        ClassifierError: fewer than two classes, a wrong number of class names, or weights that are not finite.

    >>> classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), num_classes=3)
    >>> tuple(classifier(torch.zeros(1, 3, 2, 2)).shape)
    (1, 3)
    """

    module: nn.Module
    num_classes: int
    bounds: Bounds = Bounds()
    class_names: tuple[str, ...] = ()
    layout: torch.memory_format = torch.contiguous_format

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ClassifierError("num_classes", "at least 2", str(self.num_classes))
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ClassifierError("class_names", f"{self.num_classes} names", str(len(self.class_names)))
        if not any(True for _ in self.module.parameters()):
            raise ClassifierError("classifier", "a module with weights to edit", "one without parameters")
        for name, tensor in self.module.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise ClassifierError(name, "finite weights", "NaN or infinity", "the checkpoint is damaged")

    @classmethod
    def wrap(
        cls,
        network: nn.Module,
        *,
        num_classes: int,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        bounds: Bounds = Bounds(),
        class_names: Sequence[str] = (),
    ) -> "Classifier":
        """Return a classifier that normalises pixels with `mean` and `std` (one value, or one a channel)."""
        normalised = Normalised(network, Normalisation(tuple(mean), tuple(std)))
        return cls(normalised, num_classes, bounds, tuple(class_names))

    def __call__(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Return the logits of `x`, in whatever mode the module is."""
        one = len(x) == 1 and torch.is_grad_enabled()
        with gradients_in_order(self.module) if one else nullcontext():
            logits: Tensor = self.module(x.contiguous(memory_format=self.layout))
        return logits

    @property
    def network(self) -> nn.Module:
        """Return the user's own network, without the normalisation that `wrap` put in front."""
        return self.module.network if isinstance(self.module, Normalised) else self.module

    @property
    def normalisation(self) -> Normalisation:
        """Return what is done to pixels before they reach `network`; nothing, where `wrap` put nothing in front."""
        if not isinstance(self.module, Normalised):
            return Normalisation()
        mean, std = (tuple(values.flatten().tolist()) for values in (self.module.mean, self.module.std))
        return Normalisation(mean, std)

    @property
    def device(self) -> torch.device:
        """Return the device of the first weight."""
        return next(self.module.parameters()).device

    def copy(self) -> "Classifier":
        """Return a deep copy: weights, buffers and training flags of its own."""
        return replace(self, module=copy.deepcopy(self.module))

    def frozen_copy(self, sharing: Collection[nn.Module] = ()) -> "Classifier":
        """Return a deep copy in eval mode whose weights need no gradient: f0 in the papers' notation.

        Modules in `sharing` are not copied: what is written to their weights is seen by both.
        """
        memo = {id(kept): kept for part in sharing for kept in (*part.modules(), *part.parameters())}
        shared = set(memo)
        twin = replace(self, module=copy.deepcopy(self.module, memo))
        for part in twin.module.modules():
            part.training = part.training and id(part) in shared
        for weight in twin.module.parameters():
            weight.requires_grad_(weight.requires_grad and id(weight) in shared)
        return twin

    def to(self, device: torch.device) -> "Classifier":
        """Return this classifier if it is on `device`, otherwise a copy that is."""
        if self.device == device:
            return self
        twin = self.copy()
        twin.module.to(device)
        return twin

    def sha256(self) -> str:
        """Return one hash over the network's weights and buffers."""
        return sha256_tensors(self.network.state_dict())


def check_logits(logits: Tensor, num_classes: int) -> None:
    """Check once what a classifier answers: (b, num_classes), finite, and logits rather than probabilities.

    Raises:
        ClassifierError: any of these does not hold.
    """
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise ClassifierError(
            "classifier", f"outputs of shape (b, {num_classes})", str(tuple(logits.shape)), "check the class count"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ClassifierError("classifier", "finite logits", "NaN or infinity", "check the weights and the input range")
    nonnegative = bool((logits >= 0).all())
    if nonnegative and bool(((logits.sum(dim=1) - 1).abs() < PROBABILITY_TOLERANCE).all()):
        raise ClassifierError(
            "classifier", "logits", "probabilities (each row sums to 1)", "remove the softmax at the network's end"
        )
