"""Networks as if never trained: the same architecture with new weights."""

from collections.abc import Callable

import torch
from torch import nn

from expunge.base.errors import ClassifierError
from expunge.compute.devices import seeded
from expunge.models.classifier import Classifier


def reinitialise(classifier: Classifier, generator: torch.Generator) -> None:
    """Give `classifier` new weights, drawn as its modules draw theirs; BatchNorm statistics start anew, too.

    Modules know only torch's global generators, which are seeded for the call and put back afterwards.

    Raises:
        ClassifierError: a module holds weights and has no `reset_parameters`; the first five are named, and none is
            changed.
    """
    parts = list(classifier.module.named_modules())
    without = [f"{name} ({type(part).__name__})" for name, part in parts if _holds_weights(part) and not _reset(part)]
    if without:
        names = ", ".join(without[:5])
        raise ClassifierError("classifier", "modules that can draw new weights", names, "give them reset_parameters")
    with seeded(generator.initial_seed(), classifier.device), torch.no_grad():
        for _, part in parts:
            reset = _reset(part)
            if reset is not None:
                reset()


def _holds_weights(part: nn.Module) -> bool:
    return any(True for _ in part.parameters(recurse=False))


def _reset(part: nn.Module) -> Callable[[], None] | None:
    return getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
