"""Unlabelled images of the user's own as surrogates: the nearer to the training data, the better."""

import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from expunge.base.errors import DataError, ExpungeWarning
from expunge.data.preprocessing import pixels_of
from expunge.models.pixels import Bounds

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
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


def drop_forgotten(
    own: Float[Tensor, "n c h w"], rows: Float[Tensor, "k c h w"], bounds: Bounds, folder: str
) -> Float[Tensor, "m c h w"]:
    """Return the images that are none of the rows, mirrored or not: what is to be forgotten must not be held.

    Args:
        own: the user's images.
        rows: the images to forget.
        bounds: of the pixels.
        folder: named in the error.

    Raises:
        DataError: no image is left.

    Warns:
        ExpungeWarning: some are left out.
    """
    both = torch.cat([rows, rows.flip(-1)]).flatten(1)
    nearest = torch.cdist(own.flatten(1), both).amin(dim=1) / both.shape[1] ** 0.5
    others = own[nearest > SAME * bounds.width]
    if not len(others):
        raise DataError(folder, "images other than those to forget", "none")
    if len(others) < len(own):
        left_out = len(own) - len(others)
        warnings.warn(
            f"{folder}: {left_out} of {len(own)} images left out: they are to be forgotten", ExpungeWarning, 3
        )
    return others


def _load(path: Path, shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = shape
    try:
        with Image.open(path) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(str(path), "an image that can be read", str(error)) from error
    return pixels_of(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR))
