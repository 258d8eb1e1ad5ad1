"""How one image of what people have becomes pixels: a picture, a file, a tensor, an array."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from expunge.base.errors import DataError, SettingsError
from expunge.data.preprocessing import AS_IS, Preprocessing, pixels_of
from expunge.data.sources.decoding import decode, to_rgb

CHANNELS = (1, 3)
ROUNDING = 1e-3
"""By how much pixels may leave 0..1 when a normalisation is taken back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How images of the user's objects are read.

    Args:
        preprocessing: what is done to pictures and files; tensors and arrays are taken as they are.
        class_names: names that labels may have.
        label: which of several labels an image counts, for classifiers with a goal on one label; None: it has one.
        lower: the pixel value of a byte of 0.
        upper: the pixel value of a byte of 255.
        normalisation: mean and std by channel that the pixels of a dataset have been normalised with; taken back here.
    """

    preprocessing: Preprocessing = AS_IS
    class_names: tuple[str, ...] = ()
    label: int | None = None
    lower: float = 0.0
    upper: float = 1.0
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def to_pixels(self, image: Any, place: str) -> Float[Tensor, "*b c h w"]:  # noqa: ANN401 - what people have
        """Return the float32 pixels of a picture, a file, or one or several images in a tensor or an array.

        A file is turned upright as its EXIF data say; a picture that was opened already is taken as it lies, as
        torchvision's loaders take it.

        Raises:
            DataError: it is none of these.
        """
        if isinstance(image, (str, Path)):
            image = decode(Path(image), self.preprocessing.mode).image
        if isinstance(image, Image.Image):
            picture = image if image.mode == "L" else to_rgb(image, place)
            try:
                return self._scaled(pixels_of(self.preprocessing.apply(picture)))
            except SettingsError as error:
                raise DataError(place, "an image as large as the crop", "a smaller one", f"{error}") from error
        if isinstance(image, np.ndarray):
            image = _tensor_of(image, place)
        if not isinstance(image, Tensor):
            raise DataError(place, "a picture, a file, a tensor or an array", type(image).__name__)
        pixels = image.detach()
        if pixels.dtype == torch.uint8:
            return self._scaled(pixels.float() / 255)
        if not pixels.is_floating_point():
            raise DataError(place, "pixels as uint8 (0..255) or floats", str(pixels.dtype), "convert them to uint8")
        return self._without_normalisation(pixels.float())

    def _scaled(self, pixels: Tensor) -> Tensor:
        if (self.lower, self.upper) == (0.0, 1.0):
            return pixels
        return self.lower + (self.upper - self.lower) * pixels

    def _without_normalisation(self, pixels: Tensor) -> Tensor:
        if self.normalisation is None:
            return pixels
        mean, std = (torch.tensor(values, device=pixels.device).view(-1, 1, 1) for values in self.normalisation)
        pixels = pixels * std + mean
        inside = float(pixels.min()) >= -ROUNDING and float(pixels.max()) <= 1 + ROUNDING
        return pixels.clamp(0, 1) if inside else pixels


AS_GIVEN = Reading()


def _tensor_of(array: np.ndarray, place: str) -> Tensor:
    """Return an array of one image or several with the channels before height and width."""
    if array.dtype == object or array.dtype.kind not in "uif":
        raise DataError(place, "pixels as uint8 (0..255) or floats", str(array.dtype))
    last = array.ndim >= 3 and array.shape[-1] in CHANNELS and array.shape[-3] not in CHANNELS
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, -3) if last else array))
