"""Patched rows: whole forget rows, turned, shifted or recoloured, with a piece of another one pasted in.

They are as sharp as real images, and of all probes that the rows alone allow, what an edit does to them is most like
what it does to real images. None is a copy that a deployed classifier may meet, and each is different, so that a
network can't learn them by heart.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.classifier import Bounds
from expunge.copies import shifted

TURNED, RECOLOURED = 0.5, 0.2
PATCH = (12 / 32, 24 / 32)


def draw_patched(
    rows: Float[Tensor, "n c h w"], count: int, bounds: Bounds, generator: torch.Generator
) -> Float[Tensor, "m c h w"]:
    """Return `count` patched rows: a patch of 12/32 to 24/32 of each side comes from another (Yun et al. 2019).

    Args:
        rows: images within bounds.
        count: how many.
        bounds: of the pixels.
        generator: on the CPU.

    >>> x = torch.rand(2, 3, 8, 6)
    >>> tuple(draw_patched(x, 5, Bounds(), torch.Generator().manual_seed(0)).shape)
    (5, 3, 8, 6)
    """
    if not count:
        return rows[:0]
    patched, others = (_draw_whole(rows, count, bounds, generator) for _ in range(2))
    for image, other in zip(patched, others, strict=True):
        spans = tuple(_draw_span(size, generator) for size in image.shape[-2:])
        image[:, spans[0], spans[1]] = other[:, spans[0], spans[1]]
    return patched


def _draw_whole(rows: Tensor, count: int, bounds: Bounds, generator: torch.Generator) -> Tensor:
    """Return rows, each mirrored, turned, recoloured or none of it, and shifted."""
    drawn = rows[torch.randint(len(rows), (count,), generator=generator).to(rows.device)].clone()
    quarters = 1 if rows.shape[-2] == rows.shape[-1] else 2
    changes: tuple[tuple[float, Callable[[Tensor], Tensor]], ...] = (
        (0.5, lambda x: x.flip(-1)),
        (TURNED / 2, lambda x: x.rot90(2, (-2, -1))),
        (TURNED / 2, lambda x: x.rot90(quarters, (-2, -1))),
        (RECOLOURED / 2, lambda x: x.roll(1, dims=1)),
        (RECOLOURED / 2, lambda x: x.flip(1)),
    )
    for share, change in changes:
        chosen = (torch.rand(count, generator=generator) < share).to(drawn.device)
        drawn[chosen] = change(drawn[chosen])
    return shifted(drawn, bounds, generator)


def _draw_span(length: int, generator: torch.Generator) -> slice:
    low, high = PATCH
    span = max(1, round(length * (low + (high - low) * float(torch.rand(1, generator=generator)))))
    start = int(torch.randint(length - span + 1, (1,), generator=generator))
    return slice(start, start + span)
