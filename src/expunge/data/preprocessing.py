"""What a classifier wants done to a photograph before it sees it: make it grey, resize it, crop the centre."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from expunge.base.errors import SettingsError

MODES = {1: "L", 3: "RGB"}
"""Pillow's names of pictures with so many channels."""


class Interpolation(StrEnum):
    """How a resized pixel is made from its neighbours; Pillow's filters, which smooth when they shrink."""

    NEAREST = "nearest"
    BOX = "box"
    BILINEAR = "bilinear"
    HAMMING = "hamming"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"

    @property
    def filter(self) -> Image.Resampling:
        """Return Pillow's filter of this name."""
        return Image.Resampling[self.name]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize an image, then cut out its centre; the default leaves it as it is.

    Args:
        resize: pixels of the shorter side, the other follows; or (height, width), which may distort; None for
            no resizing.
        crop: (height, width) of the centre to keep; None for all of it.
        interpolation: how resized pixels are computed.
        channels: 1 makes pictures grey (Pillow's "L"), 3 gives them three colours; None leaves pictures as they are,
            and decodes files, which are of any kind, in colour.

    Raises:
        SettingsError: a size below 1, a crop that is larger than what `resize` leaves, or another number of channels.

    >>> Preprocessing(resize=8, crop=(6, 6)).apply(Image.new("RGB", (20, 10))).size
    (6, 6)
    """

    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: Interpolation = Interpolation.BILINEAR
    channels: int | None = None

    def __post_init__(self) -> None:
        least = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        for name, size in (("resize", least), ("crop", self.crop)):
            if size is not None and (len(size) != 2 or min(size) < 1):
                raise SettingsError(name, "sizes of at least 1 pixel", str(size))
        if least is not None and self.crop is not None and (self.crop[0] > least[0] or self.crop[1] > least[1]):
            raise SettingsError("crop", f"at most the resized {least[0]}x{least[1]}", f"{self.crop[0]}x{self.crop[1]}")
        if self.channels is not None and self.channels not in MODES:
            raise SettingsError("channels", " or ".join(map(str, MODES)), str(self.channels))

    @property
    def mode(self) -> str:
        """Return what Pillow calls the kind of picture that a file is decoded to."""
        return MODES[self.channels or 3]

    @property
    def keeps_size(self) -> bool:
        """Return whether images are neither resized nor cropped."""
        return self.resize is None and self.crop is None

    def __str__(self) -> str:
        """Return what is done to the size in words.

        >>> print(Preprocessing(resize=256, crop=(224, 224)))
        resized to 256, cropped to 224x224
        """
        done = []
        if self.resize is not None:
            size = self.resize if isinstance(self.resize, int) else f"{self.resize[0]}x{self.resize[1]}"
            done.append(f"resized to {size}")
        if self.crop is not None:
            done.append(f"cropped to {self.crop[0]}x{self.crop[1]}")
        return ", ".join(done) or "as they are"

    def sized(self, resize: int | None, crop: int | None) -> "Preprocessing":
        """Return this with another shorter side or another square in place of its own; None keeps it."""
        return replace(
            self,
            resize=self.resize if resize is None else resize,
            crop=self.crop if crop is None else (crop, crop),
        )

    def apply(self, image: Image.Image) -> Image.Image:
        """Return the image in these channels, resized and cropped; sizes are rounded as torchvision rounds them.

        Raises:
            SettingsError: the image is smaller than the crop, and `resize` is None.
        """
        if self.channels is not None and image.mode != self.mode:
            image = image.convert(self.mode)
        if self.resize is not None:
            image = image.resize(self._resized(image.width, image.height), self.interpolation.filter)
        if self.crop is None:
            return image
        height, width = self.crop
        if image.height < height or image.width < width:
            raise SettingsError(
                "crop",
                f"at most the image's {image.height}x{image.width}",
                f"{height}x{width}",
                "resize to a shorter side at least as long as the crop",
            )
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        return image.crop((left, top, left + width, top + height))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        short = self.resize or min(width, height)
        return (short, int(short * height / width)) if width <= height else (int(short * width / height), short)


AS_IS = Preprocessing()


def pixels_of(image: Image.Image) -> Float[Tensor, "c h w"]:
    """Return an 8-bit image's pixels as float32 (c, h, w) within 0..1.

    NumPy does it: torch would wake all its threads for each image, which costs more than the work where threads that
    load images, or other programs, keep the cores busy.

    >>> pixels_of(Image.new("L", (3, 2), 255)).shape
    torch.Size([1, 2, 3])
    """
    array = np.array(image, dtype=np.uint8)
    channels_last = array if array.ndim == 3 else array[:, :, None]
    return torch.from_numpy(channels_last.transpose(2, 0, 1).astype(np.float32, order="C") / np.float32(255))
