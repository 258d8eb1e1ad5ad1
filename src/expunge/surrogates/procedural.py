"""Dead leaves: overlapping shapes of all sizes with natural texture, which have the statistics of photographs.

Lee, Mumford, Huang 2001, "Occlusion models for natural images"; as training images Baradad et al. 2021 (arXiv
2106.05963).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.models.pixels import Bounds

LEAVES = 40
SMALLEST_SHARE = 0.08
LUMINANCE, COLOUR = 0.22, 0.08


def draw_leaves(count: int, shape: tuple[int, int, int], bounds: Bounds, generator: torch.Generator) -> Tensor:
    """Return `count` dead-leaves images of `shape` (c, h, w), within bounds.

    Radii follow a power law, as occluding objects do; each leaf is an ellipse filled with one colour and some texture
    of a 1/f spectrum.

    >>> tuple(draw_leaves(2, (3, 8, 6), Bounds(), torch.Generator().manual_seed(0)).shape)
    (2, 3, 8, 6)
    """
    channels, height, width = shape
    if count == 0:
        return torch.zeros(0, *shape)
    texture = _draw_texture(count, shape, generator)
    colours, textures = [torch.zeros(count, channels)], [torch.arange(count)]
    top = torch.zeros(count, height, width, dtype=torch.uint8)
    for leaf in range(1, LEAVES + 1):
        top.masked_fill_(_draw_ellipses(count, height, width, generator), leaf)
        luminance = 0.45 + LUMINANCE * torch.randn(count, 1, 1, 1, generator=generator)
        colours.append((luminance + COLOUR * torch.randn(count, channels, 1, 1, generator=generator)).flatten(1))
        textures.append(torch.randperm(count, generator=generator))
    image = _paint(texture, top.long(), torch.stack(colours, dim=2), torch.stack(textures, dim=1))
    smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return bounds.clip(bounds.lower + bounds.width * (0.5 * smooth + 0.5 * image))


def _draw_ellipses(count: int, height: int, width: int, generator: torch.Generator) -> Bool[Tensor, "n h w"]:
    """Return for each image which pixels lie in one ellipse."""
    radius, top, left, stretch, angle = torch.rand(5, count, 1, 1, generator=generator)
    radius = 2.5 / 32 * max(height, width) / (radius * (1 - SMALLEST_SHARE) + SMALLEST_SHARE) ** 0.8
    down, right = torch.arange(height).view(-1, 1) - top * height, torch.arange(width) - left * width
    cosine, sine = (math.pi * angle).cos(), (math.pi * angle).sin()
    along, across = cosine * right + sine * down, cosine * down - sine * right
    inside: Tensor = along.mul_(0.5 + stretch).square_().add_(across.square_()) < radius.square()
    return inside


def _paint(
    texture: Float[Tensor, "n c h w"],
    top: Int[Tensor, "n h w"],
    colours: Float[Tensor, "n c leaves"],
    textures: Int[Tensor, "n leaves"],
) -> Float[Tensor, "n c h w"]:
    """Return each pixel in the colour and texture of the leaf that is on top; leaf 0 is the bare texture.

    Args:
        texture: of every image.
        top: number of the leaf on top.
        colours: of each leaf.
        textures: from which image each leaf takes its texture.
    """
    pixels = top.flatten(1)
    source = textures.gather(1, pixels).view_as(top).unsqueeze(1).expand_as(texture)
    colour = colours.gather(2, pixels.unsqueeze(1).expand(-1, texture.shape[1], -1)).view_as(texture)
    leaves = colour.add_(texture.gather(0, source).sub_(0.47).mul_(0.5)).clamp_(0, 1)
    return torch.where((top == 0).unsqueeze(1), texture, leaves)


def _draw_texture(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Return noise whose spectrum falls with frequency; channels share most of it, as natural colours do."""
    channels, height, width = shape
    frequency = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.fftfreq(width)[None].square()).sqrt()
    frequency = frequency.clamp_min(1 / max(height, width))
    exponent = 0.9 + 0.8 * torch.rand(count, 1, 1, 1, generator=generator)
    noise = torch.randn(count, channels + 1, height, width, generator=generator)
    wave = torch.fft.ifft2(torch.fft.fft2(noise) / frequency**exponent).real
    wave = (wave - wave.mean((2, 3), keepdim=True)) / wave.std((2, 3), keepdim=True).clamp_min(1e-6)
    contrast = 0.1 + 0.15 * torch.rand(count, 1, 1, 1, generator=generator)
    level = 0.47 + 0.12 * torch.randn(count, 1, 1, 1, generator=generator)
    pixels: Tensor = level + contrast * (wave[:, :1] + 0.25 * wave[:, 1:])
    return pixels.clamp(0, 1)
