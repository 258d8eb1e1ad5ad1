"""Tensors in files, and hashes that say which ones they are; plain files are in `expunge.base.disk`."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from expunge.base.disk import prepare_output_folder, sha256_file, write_bytes, write_json, write_text

__all__ = [
    "prepare_output_folder",
    "sha256_file",
    "sha256_tensors",
    "tensors_to_bytes",
    "write_bytes",
    "write_json",
    "write_tensors",
    "write_text",
]
LENGTH_BYTES = 8
"""Of the number at the start of a safetensors file that says how long its header is."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write named tensors as safetensors, with string metadata in the header; return the file's SHA-256."""
    return write_bytes(path, tensors_to_bytes(tensors, metadata))


def tensors_to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the content of a safetensors file; equal tensors and metadata give equal bytes."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = safetensors_bytes(plain, metadata=dict(metadata))
    if len(metadata) < 2:
        return content
    # the library writes metadata in another order each time
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return b"".join((len(text).to_bytes(LENGTH_BYTES, "little"), text, memoryview(content)[end:]))


def sha256_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return one SHA-256 over the names, types, shapes and bytes of `tensors`, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
