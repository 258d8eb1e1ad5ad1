"""Weight patches that restore every bit: the exclusive or of the bit patterns, of the tensors that changed.

A difference of floats would not: (a + (b - a)) is not always b. The exclusive or also works both ways, so one file
leads to a version and back.
"""

import json
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from expunge.base.errors import LedgerError
from expunge.base.tensors import sha256_tensors

FORMAT = "expunge-xor-1"
Weights = Mapping[str, Tensor]


def make_patch(base: Weights, result: Weights) -> bytes:
    """Return the patch between two sets of weights of the same names, types and shapes, as a safetensors file.

    Each changed tensor is stored as one uint8 vector: the exclusive or of old and new bytes, sorted by their place in
    the number (so that the unchanged high bytes lie together), compressed with zlib.
    """
    changed = {name: _difference(base[name], tensor) for name, tensor in result.items()}
    stored = {
        name: torch.frombuffer(bytearray(zlib.compress(planes.tobytes(), 9)), dtype=torch.uint8)
        for name, planes in changed.items()
        if planes.any()
    }
    layout = {name: [str(result[name].dtype), *result[name].shape] for name in stored}
    metadata = {
        "format": FORMAT,
        "base_sha256": sha256_tensors(base),
        "result_sha256": sha256_tensors(result),
        "layout": json.dumps(layout, sort_keys=True),
    }
    return save(stored, metadata=metadata)


def apply_patch(weights: Weights, content: bytes, place: str) -> dict[str, Tensor]:
    """Return the weights at the other end of a patch.

    Args:
        weights: those the patch was made from, or those it leads to.
        content: of the patch file.
        place: its name, for the message.

    Raises:
        LedgerError: it is damaged, or the weights are neither of its ends.
    """
    metadata, stored = _read(content, place)
    here = sha256_tensors(weights)
    ends = {metadata["base_sha256"]: metadata["result_sha256"], metadata["result_sha256"]: metadata["base_sha256"]}
    if here not in ends:
        raise LedgerError(place, f"a patch for the weights {here[:12]}...", "one for others", "was it swapped?")
    try:
        patched = {name: _flip(weights[name], stored[name]) if name in stored else weights[name] for name in weights}
    except (zlib.error, ValueError) as error:
        raise LedgerError(place, "a whole patch", f"{error}", "restore it from a backup") from error
    if sha256_tensors(patched) != ends[here]:
        raise LedgerError(place, f"a patch that leads to {ends[here][:12]}...", "other weights", "it was changed")
    return patched


def _read(content: bytes, place: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        length = int.from_bytes(content[:8], "little")
        metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        stored = load(content)
    except (SafetensorError, ValueError, AttributeError) as error:
        raise LedgerError(place, "a whole patch", f"{error}", "restore it from a backup") from error
    if metadata.get("format") != FORMAT:
        raise LedgerError(place, f"a patch of format {FORMAT}", metadata.get("format", "another file"))
    return metadata, stored


def _bytes_of(tensor: Tensor) -> NDArray[np.uint8]:
    flat: NDArray[np.uint8] = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat


def _difference(old: Tensor, new: Tensor) -> NDArray[np.uint8]:
    """Return the exclusive or, one row for each byte of a number."""
    return (_bytes_of(old) ^ _bytes_of(new)).reshape(-1, old.element_size()).T


def _flip(tensor: Tensor, stored: Tensor) -> Tensor:
    size = tensor.element_size()
    planes = np.frombuffer(zlib.decompress(stored.numpy().tobytes()), dtype=np.uint8).reshape(size, -1)
    flipped = _bytes_of(tensor) ^ planes.T.reshape(-1)
    return torch.from_numpy(flipped).view(tensor.dtype).reshape(tensor.shape)
