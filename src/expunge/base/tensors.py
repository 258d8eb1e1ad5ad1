"""Tensors in files, and hashes that say which ones they are; plain files are in `expunge.base.disk`."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from expunge.base.disk import write_bytes


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write named tensors as safetensors, with string metadata in the header; return the file's SHA-256.

    Equal content gives equal bytes.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return write_bytes(path, _with_metadata(safetensors_bytes(plain), metadata))


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file with `metadata` in the order of its names; the library's own order is random.

    Source: the format's specification: 8 bytes of length, a JSON header padded with spaces, the tensors.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(content[8:end])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[end:]))


def sha256_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return one SHA-256 over the names, types, shapes and bytes of `tensors`, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
