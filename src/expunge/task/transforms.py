"""Copies of an image as a deployed classifier may meet them: mirrored, shifted, resized, recompressed, noised.

A row that answers with its old label as soon as its picture is stored again was hidden, not forgotten.
`random_copies` draws the copies on which "goal achieved, robust" is measured.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from expunge.base.errors import SettingsError
from expunge.base.functions import find_function
from expunge.models.pixels import Bounds

SHIFT_FRACTION = 2 / 32
RESIZE_RANGE = (0.85, 1.15)
JPEG_QUALITY_RANGE = (60, 95)
NOISE_MAXIMUM = 0.02

Transform = Callable[[Tensor, Bounds, torch.Generator], Tensor]
"""(b, c, h, w) pixels within bounds -> a randomly changed copy of the same shape, within bounds."""


def mirrored(x: Float[Tensor, "b c h w"], bounds: Bounds, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Return each image with left and right exchanged."""
    return x.flip(-1)


def shifted(x: Float[Tensor, "b c h w"], bounds: Bounds, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Return each image moved by up to 2 pixels of 32 (in proportion) each way, not by (0, 0); edges are repeated."""
    height, width = x.shape[-2:]
    reach_y, reach_x = (max(1, round(SHIFT_FRACTION * size)) for size in (height, width))
    padded = F.pad(x, (reach_x, reach_x, reach_y, reach_y), mode="replicate")
    offsets_per_row = 2 * reach_x + 1
    still = reach_y * offsets_per_row + reach_x
    drawn = torch.randint((2 * reach_y + 1) * offsets_per_row - 1, (len(x),), generator=generator).tolist()
    moved = []
    for image, number in zip(padded, drawn, strict=True):
        top, left = divmod(number + (number >= still), offsets_per_row)
        moved.append(image[:, top : top + height, left : left + width])
    return torch.stack(moved)


def resized(x: Float[Tensor, "b c h w"], bounds: Bounds, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Return each image at 0.85 to 1.15 of its size, then cropped or padded with its edges to the old size again."""
    low, high = RESIZE_RANGE
    scales = low + (high - low) * torch.rand(len(x), generator=generator)
    return bounds.clip(
        torch.cat([_rescaled(image, scale) for image, scale in zip(x.split(1), scales.tolist(), strict=True)])
    )


def recompressed(x: Float[Tensor, "b c h w"], bounds: Bounds, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Return each image after JPEG at a quality of 60 to 95; 1 or 3 channels."""
    low, high = JPEG_QUALITY_RANGE
    qualities = torch.randint(low, high + 1, (len(x),), generator=generator).tolist()
    arrays = bounds.to_levels(x).cpu().permute(0, 2, 3, 1).numpy()
    changed = np.stack([_through_jpeg(array, quality) for array, quality in zip(arrays, qualities, strict=True)])
    pixels = torch.from_numpy(changed).permute(0, 3, 1, 2).to(x)
    return bounds.clip(bounds.lower + pixels / 255 * bounds.width)


def noised(x: Float[Tensor, "b c h w"], bounds: Bounds, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Return each image with Gaussian noise of a standard deviation of up to 0.02 of the range, clipped."""
    deviation = NOISE_MAXIMUM * bounds.width * torch.rand(len(x), 1, 1, 1, generator=generator)
    noise = deviation * torch.randn(x.shape, generator=generator)
    return bounds.clip(x + noise.to(x))


TRANSFORMS: dict[str, Transform] = {
    "mirrored": mirrored,
    "shifted": shifted,
    "resized": resized,
    "recompressed": recompressed,
    "noised": noised,
}


def find_transforms(names: Sequence[str]) -> dict[str, Transform]:
    """Return the transforms of these names, each one of `TRANSFORMS` or a function package.module:function.

    What a function of the user's own returns is checked each time it is called, and clipped to the bounds.

    Raises:
        SettingsError: none are named, one is named twice, or there is no such transform.

    >>> list(find_transforms(["noised", "mirrored"]))
    ['noised', 'mirrored']
    """
    if not names or len(set(names)) < len(names):
        raise SettingsError("transforms", "different names, at least one", ", ".join(names) or "none")
    return {name: TRANSFORMS[name] if name in TRANSFORMS else _of_user(name) for name in names}


def copy_kinds(channels: int, transforms: Mapping[str, Transform] = TRANSFORMS) -> tuple[tuple[str, ...], ...]:
    """Return every single transform and every pair; without JPEG where it can't hold the channels."""
    names = [name for name in transforms if name != "recompressed" or channels in (1, 3)]
    return (*((name,) for name in names), *combinations(names, 2))


def random_copies(
    x: Float[Tensor, "b c h w"],
    count: int,
    bounds: Bounds,
    generator: torch.Generator,
    transforms: Mapping[str, Transform] = TRANSFORMS,
) -> Iterator[tuple[tuple[str, ...], Float[Tensor, "b c h w"]]]:
    """Yield `count` times a kind and one fresh copy of that kind of every image.

    The kinds come in rounds: each is used once, in random order, before any is used again. Strength and position
    are drawn anew for each image.

    >>> generator = torch.Generator().manual_seed(0)
    >>> [tuple(copy.shape) for _, copy in random_copies(torch.rand(2, 3, 8, 6), 2, Bounds(), generator)]
    [(2, 3, 8, 6), (2, 3, 8, 6)]
    """
    kinds = copy_kinds(x.shape[1], transforms)
    order: list[int] = []
    for _ in range(count):
        order = order or torch.randperm(len(kinds), generator=generator).tolist()
        kind = kinds[order.pop()]
        yield kind, _through(x, [transforms[name] for name in kind], bounds, generator)


def draw_copies(
    x: Float[Tensor, "b c h w"],
    bounds: Bounds,
    generator: torch.Generator,
    transforms: Mapping[str, Transform] = TRANSFORMS,
) -> Float[Tensor, "b c h w"]:
    """Return one fresh copy of each image, of a kind drawn for each image on its own.

    >>> tuple(draw_copies(torch.rand(5, 3, 8, 6), Bounds(), torch.Generator().manual_seed(0)).shape)
    (5, 3, 8, 6)
    """
    kinds = copy_kinds(x.shape[1], transforms)
    drawn = torch.randint(len(kinds), (len(x),), generator=generator)
    copies = x.clone()
    for number in drawn.unique().tolist():
        rows = (drawn == number).nonzero().flatten().to(x.device)
        copies[rows] = _through(x[rows], [transforms[name] for name in kinds[number]], bounds, generator)
    return copies


def _through(x: Tensor, chain: Sequence[Transform], bounds: Bounds, generator: torch.Generator) -> Tensor:
    for transform in chain:
        x = transform(x, bounds, generator)
    return x


def _of_user(name: str) -> Transform:
    return check_copies(
        name, find_function(name, SettingsError, otherwise=f", or one of {', '.join(TRANSFORMS)}", known=TRANSFORMS)
    )


def check_copies(name: str, function: Transform) -> Transform:
    """Return the user's transform, whose copies are checked and clipped to the bounds; our own is returned as it is.

    The transform that is returned raises SettingsError if a copy is of another shape, or not finite.
    """
    if function in TRANSFORMS.values():
        return function

    def checked(x: Tensor, bounds: Bounds, generator: torch.Generator) -> Tensor:
        copy = function(x, bounds, generator)
        if not isinstance(copy, Tensor) or copy.shape != x.shape or not bool(torch.isfinite(copy).all()):
            found = f"shape {tuple(copy.shape)}" if isinstance(copy, Tensor) else type(copy).__name__
            raise SettingsError(name, f"finite pixels of shape {tuple(x.shape)} from the transform", found)
        return bounds.clip(copy.detach().to(x))

    return checked


def _rescaled(image: Tensor, scale: float) -> Tensor:
    height, width = image.shape[-2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    scaled = F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    margins = (left, width - size[1] - left, top, height - size[0] - top)
    return F.pad(scaled, margins, mode="replicate")


def _through_jpeg(array: np.ndarray, quality: int) -> np.ndarray:
    picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).reshape(array.shape)
