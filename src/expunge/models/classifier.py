"""A trained classifier as the rest of the package sees it: pixels in, logits out."""

import hashlib
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import isfinite
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.base.html import table
from expunge.base.tensors import sha256_tensors
from expunge.compute.devices import find_device
from expunge.data.preprocessing import AS_IS, Preprocessing
from expunge.models.channels import in_its_channels
from expunge.models.copying import copy_module
from expunge.models.known import Known, read_timm, read_torchvision, read_transformers
from expunge.models.modes import gradients_in_order
from expunge.models.normalised import Normalised
from expunge.models.pixels import Bounds, Normalisation
from expunge.models.soundness import check_sound
from expunge.models.wrappers import own_network

__all__ = ["Classifier", "Normalisation", "check_logits"]

PROBABILITY_TOLERANCE = 1e-4
NONE_KNOWN = (
    "nothing is known of the network's normalisation, so it gets pixels as they are: say mean=... and std=..., or "
    "mean=0 and std=1 if that is right"
)


@dataclass(frozen=True, slots=True, repr=False)
class Classifier:
    """A module from pixels (b, c, h, w) within `bounds` to logits (b, num_classes).

    Normalisation belongs inside the module; `Classifier.wrap` puts it there. `layout` is how images lie in memory when
    they reach the module: it changes the time, not the answers (see `expunge.models.folding`). `preprocessing` is what
    pictures and files go through before they are pixels; tensors don't.

    Raises:
        ClassifierError: fewer than two classes, a wrong number of class names, or what `check_sound` finds wrong.

    >>> classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), num_classes=3, mean=0.5, std=0.5)
    >>> classifier
    Classifier(Sequential, 3 classes, mean 0.5, std 0.5)
    >>> tuple(classifier(torch.zeros(1, 3, 2, 2)).shape)
    (1, 3)
    """

    module: nn.Module
    num_classes: int
    bounds: Bounds = Bounds()
    class_names: tuple[str, ...] = ()
    layout: torch.memory_format = torch.contiguous_format
    preprocessing: Preprocessing = AS_IS

    def __post_init__(self) -> None:
        count: Any = self.num_classes
        if not isinstance(count, Integral):
            raise ClassifierError("num_classes", "a whole number", repr(count))
        if self.num_classes < 2:
            raise ClassifierError("num_classes", "at least 2", str(self.num_classes))
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ClassifierError("class_names", f"{self.num_classes} names", str(len(self.class_names)))
        check_sound(self.module)

    @classmethod
    def wrap(  # noqa: PLR0913 - what a network doesn't say of itself
        cls,
        network: nn.Module,
        *,
        num_classes: int | None = None,
        mean: float | Sequence[float] | Tensor | None = None,
        std: float | Sequence[float] | Tensor | None = None,
        bounds: Bounds = Bounds(),
        class_names: Sequence[str] = (),
        preprocessing: Preprocessing = AS_IS,
        label: int | None = None,
    ) -> "Classifier":
        """Return a classifier that normalises pixels with `mean` and `std` (one value, or one a channel).

        Args:
            network: may be compiled, in DataParallel or averaged; may answer with a tuple, a mapping or one logit.
            num_classes: how many logits it gives; 2 for one logit, which says yes where it is above 0.
            mean: what is subtracted from pixels; 0 with std 1 for a network that takes them as they are.
            std: what they are divided by.
            bounds: the range of the pixels.
            class_names: in order of the labels.
            preprocessing: what pictures go through before they are pixels; they are made grey for a network whose first
                layer takes one channel, unless this says `channels`.
            label: for a network of several labels an image, one logit each: the one to edit. The classifier has two
                classes then, 0 for no and 1 for yes.

        Raises:
            ClassifierError: no class count, or what `Classifier` finds wrong.

        Warns:
            ExpungeWarning: neither mean nor std is given; or the network is in half precision.
        """
        if mean is None and std is None:
            warnings.warn(NONE_KNOWN, ExpungeWarning, stacklevel=2)
        if num_classes is None and label is None:
            raise ClassifierError("num_classes", "how many classes the network has", "none", "pass num_classes=...")
        count, outputs = (2, None) if label is not None else (num_classes or 0, num_classes)
        network = own_network(network)
        normalisation = Normalisation(_values("mean", mean, 0.0), _values("std", std, 1.0))
        module = Normalised(network, normalisation, num_classes=outputs, label=label)
        preprocessing = in_its_channels(preprocessing, network, normalisation)
        return cls(module, count, bounds, tuple(class_names), preprocessing=preprocessing)

    @classmethod
    def from_timm(cls, network: nn.Module, *, class_names: Sequence[str] = ()) -> "Classifier":
        """Return a model of timm with the mean, std, size and class names that it knows; see `wrap`."""
        return cls._from_known(network, read_timm(own_network(network)), class_names)

    @classmethod
    def from_torchvision(cls, network: nn.Module, weights: Any, *, class_names: Sequence[str] = ()) -> "Classifier":  # noqa: ANN401
        """Return a model of torchvision with the mean, std, size and class names of its weights.

        Args:
            network: the model.
            weights: the weights that it was made with or trained on from, such as `ResNet18_Weights.DEFAULT` or their
                name, "ResNet18_Weights.DEFAULT"; a model of torchvision doesn't remember them.
            class_names: in their place, for a model that was trained on other classes.
        """
        return cls._from_known(network, read_torchvision(own_network(network), weights), class_names)

    @classmethod
    def from_transformers(
        cls,
        network: nn.Module,
        processor: Any = None,  # noqa: ANN401 - no types
        *,
        class_names: Sequence[str] = (),
    ) -> "Classifier":
        """Return a model of transformers with the class names of its configuration, and its processor's settings.

        Args:
            network: what `AutoModelForImageClassification.from_pretrained` gives.
            processor: what `AutoImageProcessor.from_pretrained` gives; default: the one beside the model, where it came
                from.
            class_names: in place of the configuration's.
        """
        return cls._from_known(network, read_transformers(own_network(network), processor), class_names)

    @classmethod
    def _from_known(cls, network: nn.Module, known: Known, class_names: Sequence[str]) -> "Classifier":
        normalisation = known.normalisation or Normalisation()
        return cls.wrap(
            network,
            num_classes=known.num_classes,
            mean=normalisation.mean,
            std=normalisation.std,
            class_names=class_names or known.class_names,
            preprocessing=known.preprocessing,
        )

    def __repr__(self) -> str:
        """Return what the classifier is in a line."""
        facts = [f"{value} {name}" if name == "classes" else f"{name} {value}" for name, value in self._facts().items()]
        return f"Classifier({type(self.network).__name__}, {', '.join(facts)})"

    def _repr_html_(self) -> str:
        """Return what notebooks show: a table of what the classifier is."""
        weights = sum(weight.numel() for weight in self.network.parameters())
        facts = {"network": type(self.network).__name__, "weights": f"{weights:,}", **self._facts()}
        return table((), [(name, value) for name, value in facts.items()])

    def _facts(self) -> Mapping[str, str]:
        """Return what there is to know in words, by name; what is as by default is left out."""
        own, size = self.normalisation, self.preprocessing
        facts = {"classes": str(self.num_classes)}
        if self.class_names:
            facts["names"] = "/".join(self.class_names[:3]) + ("/..." if self.num_classes > 3 else "")
        for name, values in (("mean", own.mean), ("std", own.std)):
            if own != Normalisation():
                facts[name] = " ".join(f"{value:.3g}" for value in values)
        if self.bounds != Bounds():
            facts["pixels"] = f"{self.bounds.lower:g}..{self.bounds.upper:g}"
        if size != AS_IS:
            facts["size"] = f"{size}"
        if self.device.type != "cpu":
            facts["on"] = str(self.device)
        return facts

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
        return replace(self, module=copy_module(self.module))

    def frozen_copy(self, sharing: Collection[nn.Module] = ()) -> "Classifier":
        """Return a deep copy in eval mode whose weights need no gradient: f0 in the papers' notation.

        Modules in `sharing` are not copied: what is written to their weights is seen by both.
        """
        memo = {id(kept): kept for part in sharing for kept in (*part.modules(), *part.parameters())}
        shared = set(memo)
        twin = replace(self, module=copy_module(self.module, memo))
        for part in twin.module.modules():
            part.training = part.training and id(part) in shared
        for weight in twin.module.parameters():
            weight.requires_grad_(weight.requires_grad and id(weight) in shared)
        return twin

    def to(self, device: torch.device) -> "Classifier":
        """Return this classifier if it is on `device`, otherwise a copy that is."""
        if self.device == find_device(device):
            return self
        twin = self.copy()
        twin.module.to(device)
        return twin

    def sha256(self) -> str:
        """Return one hash over the network's weights and buffers."""
        return sha256_tensors(self.network.state_dict())

    def cache_key(self) -> str:
        """Return one hash over all that the answers depend on: `sha256`, classes, normalisation and range of pixels."""
        label = self.module.label if isinstance(self.module, Normalised) else None
        parts = (self.sha256(), self.num_classes, label, self.normalisation, self.bounds)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def _values(name: str, given: float | Sequence[float] | Tensor | None, default: float) -> tuple[float, ...]:
    """Return one value, or one a channel, as a tuple.

    Raises:
        ClassifierError: they are no finite numbers.
    """
    if given is None:
        return (default,)
    try:
        values = tuple(torch.as_tensor(given, dtype=torch.float64).flatten().tolist())
    except (TypeError, ValueError, RuntimeError) as error:
        raise ClassifierError(name, "a number, or one a channel", repr(given)) from error
    if not all(map(isfinite, values)):
        raise ClassifierError(name, "finite numbers", repr(given))
    return values


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
