"""Spliced images: two forgotten images, turned, shifted or recoloured, that pass into each other along a soft edge.

They are as sharp as real images. Of all surrogates that the rows alone allow, what an edit does to them is most like
what it does to real images: the more natural they look, the less a network can tell them by their making from the
copies that are to be forgotten. None is a copy that a deployed classifier may meet, and each is different, so that a
network can't learn them by heart.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.models.pixels import Bounds
from expunge.task.transforms import shifted

TURNED, RECOLOURED, TINTED = 0.5, 0.2, 0.5
FURTHEST = 0.25
SOFTNESS = (0.03, 0.1)
FLAT = 1e-3


def draw_spliced(
    rows: Float[Tensor, "n c h w"], count: int, bounds: Bounds, generator: torch.Generator
) -> Float[Tensor, "m c h w"]:
    """Return `count` spliced rows, each of two different ones; half of them take the colours of another.

    A single row is spliced with itself upside down. The edge is a straight line in any direction, up to 1/8 of a side
    from the centre. Colours are means and deviations of the channels (Reinhard et al. 2001, without their change of
    colour space).

    Args:
        rows: images within bounds.
        count: how many.
        bounds: of the pixels.
        generator: on the CPU.

    >>> x = torch.rand(2, 3, 8, 6)
    >>> tuple(draw_spliced(x, 5, Bounds(), torch.Generator().manual_seed(0)).shape)
    (5, 3, 8, 6)
    """
    if not count:
        return rows[:0]
    one = torch.randint(len(rows), (count,), generator=generator)
    other = (one + 1 + torch.randint(max(1, len(rows) - 1), (count,), generator=generator)) % len(rows)
    first, second = (_vary(rows[drawn.to(rows.device)], bounds, generator) for drawn in (one, other))
    if len(rows) == 1:
        second = first.flip(-2)
    spliced = second + _draw_shares(count, rows, generator) * (first - second)
    tinted = (torch.rand(count, 1, 1, 1, generator=generator) < TINTED).to(spliced.device)
    others = spliced[torch.randperm(count, generator=generator).to(spliced.device)]
    return torch.where(tinted, bounds.clip(_tint(spliced, others)), spliced)


def _vary(images: Tensor, bounds: Bounds, generator: torch.Generator) -> Tensor:
    """Return images, each mirrored, turned, recoloured or none of it, and shifted."""
    quarters = 1 if images.shape[-2] == images.shape[-1] else 2
    changes: tuple[tuple[float, Callable[[Tensor], Tensor]], ...] = (
        (0.5, lambda x: x.flip(-1)),
        (TURNED / 2, lambda x: x.rot90(2, (-2, -1))),
        (TURNED / 2, lambda x: x.rot90(quarters, (-2, -1))),
        (RECOLOURED / 2, lambda x: x.roll(1, dims=1)),
        (RECOLOURED / 2, lambda x: x.flip(1)),
    )
    for share, change in changes:
        chosen = (torch.rand(len(images), 1, 1, 1, generator=generator) < share).to(images.device)
        images = torch.where(chosen, change(images), images)
    return shifted(images, bounds, generator)


def _draw_shares(count: int, rows: Tensor, generator: torch.Generator) -> Float[Tensor, "m 1 h w"]:
    """Return how much of the first image there is at each pixel."""
    angle, place, softness = torch.rand(3, count, 1, 1, 1, generator=generator).to(rows)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size).to(rows) for size in rows.shape[-2:]), indexing="ij")
    angle = 2 * math.pi * angle
    distance = angle.cos() * x + angle.sin() * y - FURTHEST * (2 * place - 1)
    low, high = SOFTNESS
    return torch.sigmoid(distance / (low + (high - low) * softness))


def _tint(images: Tensor, others: Tensor) -> Tensor:
    """Return images whose channels have the means and deviations of the others'."""
    centred, wanted = (each - each.mean(dim=(2, 3), keepdim=True) for each in (images, others))
    stretch = wanted.std(dim=(2, 3), keepdim=True) / centred.std(dim=(2, 3), keepdim=True).clamp_min(FLAT)
    return others - wanted + stretch * centred
