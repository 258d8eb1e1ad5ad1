"""Weights from a file into a network, with the differences named when they do not fit."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.models.copying import put_weights
from expunge.models.heads import last_length
from expunge.models.sources.checkpoint import read_weights
from expunge.models.sources.names import BATCH_COUNTER, align
from expunge.models.sources.plain import check_plain
from expunge.models.wrappers import HALVES

__all__ = ["fill", "last_length", "read_weights"]


def fill(network: nn.Module, weights: Mapping[str, Tensor], *, place: str) -> None:
    """Copy `weights` into `network`, converted to its number format; BatchNorm's batch counters may be missing.

    What stands before all names, or beside the network, is seen to by `align`.

    Args:
        network: changed in place.
        weights: tensors by name.
        place: where they come from, for the message.

    Raises:
        ClassifierError: names that are missing or too many, or shapes that differ: the first of each and how many.

    Warns:
        ExpungeWarning: the weights are in half precision and the network isn't; or see `align`.
    """
    own = {name: tensor for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}
    weights = align(weights, own.keys(), place=place)
    check_plain(weights, own, place=place)  # first: an odd tensor may have no shape
    missing = [name for name in own if name not in weights and not name.endswith(BATCH_COUNTER)]
    surplus = [name for name in weights if name not in own]
    misshapen = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    found = [
        f"{len(names)} {kind} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for kind, names in (("missing", missing), ("surplus", surplus), ("misshapen", misshapen))
        if names
    ]
    if found:
        hint = "is the network the one that they were trained in, with as many classes?"
        raise ClassifierError(place, "the weights of this architecture", ", ".join(found), hint)
    halves = sorted({str(tensor.dtype) for name, tensor in weights.items() if tensor.dtype in HALVES})
    if halves and any(tensor.dtype == torch.float32 for tensor in own.values()):
        names = " and ".join(halves).replace("torch.", "")
        warnings.warn(f"{place} is in {names}: it is edited and saved as float32", ExpungeWarning, stacklevel=2)
    put_weights(network, weights, strict=False)
