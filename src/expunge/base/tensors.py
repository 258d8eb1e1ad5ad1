"""Tensors in files, and hashes that say which ones they are; plain files are in `expunge.base.disk`."""

import hashlib
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
    "write_bytes",
    "write_json",
    "write_tensors",
    "write_text",
]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors as safetensors, with string metadata in the header."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, safetensors_bytes(plain, metadata=dict(metadata)))


def sha256_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return one SHA-256 over the names, types, shapes and bytes of `tensors`, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
