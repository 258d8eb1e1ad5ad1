"""Which tensors of a file can be weights at all: dense numbers of the kind that the network has there."""

from collections.abc import Mapping

import torch
from torch import Tensor

from expunge.base.errors import ClassifierError


def check_plain(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], *, place: str) -> None:
    """Check that every tensor has values, and is dense, real and of the same kind as the network's.

    Args:
        weights: tensors by name, as a file has them.
        own: the network's, by the same names.
        place: where the weights come from, for the message.

    Raises:
        ClassifierError: the first that is not.
    """
    for name, tensor in weights.items():
        found = _oddity(tensor)
        wanted = own.get(name)
        if not found and wanted is not None and wanted.is_floating_point() and not tensor.is_floating_point():
            found = f"whole numbers ({tensor.dtype}): are they quantised?"
        if found:
            raise ClassifierError(f"{place}: {name}", "a dense tensor of real numbers", found, "save plain weights")


def _oddity(tensor: Tensor) -> str:
    kinds = {
        "one without values (meta)": tensor.is_meta,
        "a nested one": tensor.is_nested,
        "a sparse one": tensor.layout != torch.strided,
        "a quantised one": tensor.is_quantized,
        "complex numbers": tensor.is_complex(),
    }
    return next((words for words, holds in kinds.items() if holds), "")
