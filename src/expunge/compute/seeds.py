"""Randomness by purpose: each use draws from a generator of its own."""

import hashlib

import torch


def seeded_generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator that depends on the seed and on what it is for, so that no two uses are correlated."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
