"""Mixes: two images cropped, mirrored and recoloured at random, then blended or pasted into each other."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from expunge.models.pixels import Bounds

SMALLEST_CROP = 14 / 32
BLEND = (0.3, 0.7)
PATCH = (10 / 32, 24 / 32)
CONTRAST_DEVIATION = 0.2
BRIGHTNESS_DEVIATION = 0.06


def draw_mixes(
    sources: Float[Tensor, "n c h w"], count: int, bounds: Bounds, generator: torch.Generator
) -> Float[Tensor, "m c h w"]:
    """Return `count` mixes of random pairs of `sources`.

    Half are blends (Zhang et al. 2018, arXiv 1710.09412) with shares of 0.3 to 0.7, half hold a pasted patch (Yun et
    al. 2019, arXiv 1905.04899) of 10/32 to 24/32 of each side. Each part was cropped to 14/32 to 1 of its size and
    stretched back, so no mix is close to the image of a forget row: a surrogate that is would pin what should move.

    >>> x = torch.rand(2, 3, 8, 6)
    >>> tuple(draw_mixes(x, 5, Bounds(), torch.Generator().manual_seed(0)).shape)
    (5, 3, 8, 6)
    """
    return torch.cat([_draw_mix(sources, bounds, generator) for _ in range(count)]) if count else sources[:0]


def _draw_mix(sources: Tensor, bounds: Bounds, generator: torch.Generator) -> Tensor:
    first, second = (_draw_part(sources, generator) for _ in range(2))
    if _uniform(0, 1, generator) < 0.5:
        share = _uniform(*BLEND, generator)
        mixed = share * first + (1 - share) * second
    else:
        rows, columns = (_draw_span(size, _uniform(*PATCH, generator), generator) for size in first.shape[-2:])
        mixed = first.clone()
        mixed[..., rows, columns] = second[..., rows, columns]
    channels = mixed.shape[1]
    contrast = 1 + CONTRAST_DEVIATION * torch.randn(1, channels, 1, 1, generator=generator)
    brightness = BRIGHTNESS_DEVIATION * bounds.width * torch.randn(1, channels, 1, 1, generator=generator)
    return bounds.clip(bounds.lower + (mixed - bounds.lower) * contrast.to(mixed) + brightness.to(mixed))


def _draw_part(sources: Tensor, generator: torch.Generator) -> Tensor:
    image = sources[int(torch.randint(len(sources), (1,), generator=generator))].unsqueeze(0)
    size = image.shape[-2:]
    share = _uniform(SMALLEST_CROP, 1, generator)
    rows, columns = (_draw_span(length, share, generator) for length in size)
    part = F.interpolate(image[..., rows, columns], size=size, mode="bilinear", align_corners=False)
    return part.flip(-1) if _uniform(0, 1, generator) < 0.5 else part


def _draw_span(length: int, share: float, generator: torch.Generator) -> slice:
    span = max(1, round(share * length))
    start = int(torch.randint(length - span + 1, (1,), generator=generator))
    return slice(start, start + span)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator))
