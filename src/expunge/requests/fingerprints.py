"""Perceptual hashes: pictures that look alike have hashes that differ in few of 128 bits.

The difference hash (dHash): the image is made grey and shrunk, and each bit says whether it gets brighter from one
pixel to the next; 64 bits from left to right, 64 from top to bottom.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

SIDE = 8
BYTES = 2 * SIDE * SIDE // 8
FLAT = 0.02
"""Steps below this count as none, so that noise in an even area sets no bit."""
NEAR = 6
"""Hashes that differ in at most so many bits are near duplicates."""
FEWEST_BITS = 8
"""A picture with fewer steps than this is too plain for its hash to say anything."""


def fingerprint(x: Float[Tensor, "n c h w"]) -> NDArray[np.uint8]:
    """Return the hashes of n images with pixels in 0..1, 16 bytes each.

    >>> fingerprint(torch.rand(2, 3, 8, 6)).shape
    (2, 16)
    """
    grey = x.detach().cpu().float().mean(dim=1, keepdim=True)
    across = F.interpolate(grey, (SIDE, SIDE + 1), mode="bilinear", antialias=True, align_corners=False)
    down = F.interpolate(grey, (SIDE + 1, SIDE), mode="bilinear", antialias=True, align_corners=False)
    bits = [(across[..., 1:] - across[..., :-1] > FLAT), (down[..., 1:, :] - down[..., :-1, :] > FLAT)]
    packed: NDArray[np.uint8] = np.packbits(torch.cat([part.flatten(1) for part in bits], dim=1).numpy(), axis=1)
    return packed


def near_pairs(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Return (row of first, row of second, differing bits) of every near pair; plain pictures have none.

    Args:
        first: (n, 16) hashes.
        second: (m, 16) hashes.
    """
    telling = np.bitwise_count(second).sum(axis=1) >= FEWEST_BITS
    pairs = []
    for row, value in enumerate(first):
        distances = np.bitwise_count(second ^ value).sum(axis=1)
        pairs += [(row, int(other), int(distances[other])) for other in np.flatnonzero((distances <= NEAR) & telling)]
    return pairs
