"""What is done to images each time they are trained on."""

from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from expunge.models.pixels import Bounds

CROP_REACH = 4 / 32


class Augmentation(StrEnum):
    """What is done to images each time they are trained on."""

    NONE = "none"
    CROPS = "crops"
    """Cropped at random out of 4 pixels of padding (of 32, in proportion)."""
    FLIPS_AND_CROPS = "flips_and_crops"
    """The same, and mirrored half of the time."""


def augment(
    x: Float[Tensor, "b c h w"], augmentation: Augmentation, bounds: Bounds, generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Return the images as they are trained on; the padding has the lowest pixel value.

    Args:
        x: images on any device.
        augmentation: what is done to them.
        bounds: of the pixels.
        generator: on the CPU; it draws the same whatever the device.
    """
    if augmentation is Augmentation.NONE:
        return x
    count, channels, height, width = x.shape
    down, right = (max(1, round(CROP_REACH * size)) for size in (height, width))
    padded = F.pad(x, (right, right, down, down), value=bounds.lower)
    flips = torch.zeros(count, dtype=torch.bool)
    if augmentation is Augmentation.FLIPS_AND_CROPS:
        flips = torch.rand(count, generator=generator) < 0.5
    tops = torch.randint(2 * down + 1, (count,), generator=generator)
    lefts = torch.randint(2 * right + 1, (count,), generator=generator)
    across = torch.where(flips[:, None], torch.arange(width - 1, -1, -1), torch.arange(width))
    rows, columns = (tops[:, None] + torch.arange(height)).to(x.device), (lefts[:, None] + across).to(x.device)
    images, planes = torch.arange(count, device=x.device), torch.arange(channels, device=x.device)
    return padded[images[:, None, None, None], planes[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]
