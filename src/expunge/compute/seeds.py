"""Randomness by purpose: each use draws from a generator of its own."""

import hashlib

import torch


def seeded_generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator that depends on the seed and on what it is for, so that no two uses are correlated."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_numbers(count: int, total: int, generator: torch.Generator) -> list[int]:
    """Return `count` different numbers of 0..total - 1, drawn evenly, in ascending order; all if there are no more.

    From generators in the same state, fewer numbers are some of those that a larger count draws.

    >>> draw_numbers(5, 3, torch.Generator())
    [0, 1, 2]
    """
    return sorted(torch.randperm(total, generator=generator)[:count].tolist())
