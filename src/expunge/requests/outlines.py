"""Coarse outlines of pictures, compared at many shifts and sizes: copies that were moved or resized are found, too.

An outline is the picture in grey at 16 x 16 positions. Two outlines are compared by their normalised cross-correlation
(Lewis 1995, "Fast normalized cross-correlation") over the positions that both have; the picture that is looked for is
mirrored, shifted and scaled in every way of `VARIANTS`, and the best one counts.
"""

from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

SIDE = 16
FINE = 2 * SIDE
"""Pixels from which outlines are averaged."""
FLAT = 1.0
"""Least norm of an outline, in levels of 0..255, so that an even area correlates with nothing."""
AT_ONCE = 32768
"""Outlines that are compared at once."""


class Variant(NamedTuple):
    """How a picture is changed before it is compared; shifts are parts of its width and height."""

    mirrored: bool
    scale: float
    across: float
    down: float


SHIFTS = tuple(step / SIDE for step in (-2, -1, 0, 1, 2))
SCALES = (0.75, 0.875, 1.125, 1.25)
VARIANTS = tuple(
    Variant(mirrored, *change)
    for mirrored in (False, True)
    for change in [
        *((1.0, across, down) for across, down in product(SHIFTS, SHIFTS)),
        *((scale, 0.0, 0.0) for scale in SCALES),
    ]
)


def outline(x: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n {SIDE*SIDE}"]:
    """Return the outlines of n images within 0..1.

    >>> outline(torch.rand(2, 3, 8, 6)).shape
    torch.Size([2, 256])
    """
    return (255 * F.avg_pool2d(_fine(x), 2)).round().clamp(0, 255).to(torch.uint8).flatten(1)


def correlate(
    x: Float[Tensor, "q c h w"], outlines: UInt8[Tensor, "n {SIDE*SIDE}"], count: int
) -> tuple[Float[Tensor, "q count"], Tensor]:
    """Return the best correlations (-1..1) of q images with n outlines, and the rows of those outlines, best first."""
    count = min(count, len(outlines))
    changed = [_change(_fine(x), variant) for variant in VARIANTS]
    values, rows = torch.empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.int64)
    for start in range(0, len(outlines), AT_ONCE):
        found = _best(changed, outlines[start : start + AT_ONCE].float())
        here = found.topk(min(count, found.shape[1]), dim=1)
        values, rows = torch.cat([values, here.values], dim=1), torch.cat([rows, here.indices + start], dim=1)
    best = values.topk(count, dim=1)
    return best.values, rows.gather(1, best.indices)


def _best(
    changed: list[tuple[Float[Tensor, "q s"], Bool[Tensor, " s"]]], outlines: Float[Tensor, "n s"]
) -> Float[Tensor, "q n"]:
    """Return the correlation of each picture's best variant with each outline."""
    squares = outlines * outlines
    best = torch.full((len(changed[0][0]), len(outlines)), -1.0)
    for pattern, inside in changed:
        part = inside.float()
        spread = (squares @ part - (outlines @ part) ** 2 / part.sum()).clamp_min(FLAT**2).sqrt()
        torch.maximum(best, (pattern @ outlines.T) / spread, out=best)
    return best


def _fine(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 f f"]:
    grey = x.detach().cpu().float().mean(dim=1, keepdim=True)
    return F.interpolate(grey, (FINE, FINE), mode="bilinear", antialias=True, align_corners=False)


def _change(fine: Float[Tensor, "q 1 f f"], variant: Variant) -> tuple[Float[Tensor, "q s"], Bool[Tensor, " s"]]:
    """Return a variant of the pictures with mean 0 and norm 1, and which of its positions show the picture."""
    turned = -variant.scale if variant.mirrored else variant.scale
    matrix = torch.tensor([[turned, 0.0, 2 * variant.across], [0.0, variant.scale, 2 * variant.down]])
    grid = F.affine_grid(matrix.expand(len(fine), 2, 3), list(fine.shape), align_corners=False)
    moved = F.avg_pool2d(F.grid_sample(fine, grid, align_corners=False), 2).flatten(1)
    shown = (grid[:1].abs().amax(-1) <= 1).float()[:, None]
    inside = F.avg_pool2d(shown, 2).flatten() > 0.99
    moved = (moved - moved[:, inside].mean(dim=1, keepdim=True)) * inside
    return moved / moved.norm(dim=1, keepdim=True).clamp_min(FLAT / 255), inside
