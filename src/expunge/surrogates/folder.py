"""Unlabelled images of the user's own as surrogates: the nearer to the training data, the better."""

from pathlib import Path

import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from torch import Tensor

from expunge.base.errors import DataError
from expunge.data.preprocessing import pixels_of
from expunge.data.sources.decoding import decode
from expunge.data.sources.imagefolder import SUFFIXES
from expunge.models.pixels import Bounds

SAME = 0.03
"""Root mean square difference, as a share of the pixel range, up to which two images are one, stored anew."""


def load_surrogate_folder(folder: str, shape: tuple[int, int, int], bounds: Bounds) -> Float[Tensor, "n c h w"]:
    """Return every image in `folder` and below, its centre resized to `shape` (c, h, w), within bounds.

    Raises:
        DataError: no image there, or one that can't be read.
    """
    root = Path(folder)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(folder, "a folder with images", "none there")
    pixels = torch.stack([_load(path, shape) for path in paths])
    return bounds.lower + pixels * bounds.width


def are_among(x: Float[Tensor, "n d e f"], others: Float[Tensor, "k d e f"], width: float) -> Bool[Tensor, " n"]:
    """Return which images, or what goes through a cut for them, are one of `others`, stored anew.

    Args:
        x: the images.
        others: on the same device.
        width: of the range of values.
    """
    nearest = torch.cdist(x.flatten(1), others.flatten(1)).amin(dim=1) / others[0].numel() ** 0.5
    among: Tensor = nearest <= SAME * width
    return among


def _load(path: Path, shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = shape
    image = decode(path).image.convert("L" if channels == 1 else "RGB")
    return pixels_of(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR))
