"""Labelled images that are in memory as bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from expunge.base.errors import DataError, SettingsError
from expunge.base.values import LARGEST
from expunge.data.images import Images, TensorImages
from expunge.data.preprocessing import AS_IS, Preprocessing, pixels_of
from expunge.data.reading import CHANNELS

HIGHEST_BYTE = 255


@dataclass(frozen=True, slots=True)
class PreprocessedImages:
    """Images in memory that are resized, cropped or made grey, one by one, when they are asked for."""

    ids: Sequence[str]
    labels: Int[Tensor, " n"]
    pixels: UInt8[Tensor, "n c h w"]
    preprocessing: Preprocessing

    def load(self, rows: Sequence[int]) -> Float[Tensor, "b c h w"]:
        """Return the preprocessed pixels of these rows, float32 within 0..1.

        Raises:
            DataError: no rows, or images smaller than the crop.
        """
        if len(rows) == 0:
            raise DataError("indices", "at least one image to load", "none")
        return torch.stack([self._load_one(row) for row in rows])

    def _load_one(self, row: int) -> Tensor:
        array = self.pixels[row].permute(1, 2, 0).numpy()
        image = Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])
        try:
            return pixels_of(self.preprocessing.apply(image))
        except SettingsError as error:
            raise DataError(
                f"image {self.ids[row]}", "one as large as the crop", "a smaller one", f"{error}"
            ) from error


def images_from_arrays(
    x: NDArray[np.generic], y: NDArray[np.generic], *, place: str, preprocessing: Preprocessing = AS_IS
) -> Images:
    """Return images whose ids are their row numbers, "0", "1", ...

    Args:
        x: uint8, or other integers in 0..255, (n, h, w, c), (n, c, h, w) or (n, h, w), with 1 or 3 channels; a single
            channel stays single unless `preprocessing` says otherwise.
        y: (n,) or (n, 1) labels, whole numbers from 0 of any type.
        place: where the arrays come from, for messages.
        preprocessing: what is done to every image.

    Raises:
        DataError: any of these does not hold.

    >>> x, y = np.zeros((2, 4, 5, 3), dtype=np.uint8), np.array([0, 1])
    >>> images_from_arrays(x, y, place="here").load([1]).shape
    torch.Size([1, 3, 4, 5])
    """
    pixels = _channels_first(x, place)
    if len(pixels) == 0:
        raise DataError(place, "at least one image", "none")
    y = y[:, 0] if y.shape == (len(pixels), 1) else y
    if y.shape != (len(pixels),) or not _are_whole(y):
        raise DataError(f"{place}: labels", f"{len(pixels)} whole numbers, one an image", f"{y.dtype} {y.shape}")
    if int(y.min()) < 0 or int(y.max()) >= LARGEST:
        odd = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise DataError(f"{place}: labels", "numbers from 0 that fit into 63 bits", str(odd))
    ids = tuple(str(row) for row in range(len(pixels)))
    labels = torch.from_numpy(y.astype(np.int64))
    if preprocessing.keeps_size and preprocessing.channels in (None, pixels.shape[1]):
        return TensorImages(ids, labels, pixels)
    return PreprocessedImages(ids, labels, pixels, preprocessing)


def _channels_first(x: NDArray[np.generic], place: str) -> Tensor:
    x = _bytes(x, place)
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in CHANNELS:
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4 or x.shape[1] not in CHANNELS:
        raise DataError(f"{place}: images", "shape (n, h, w, c) or (n, c, h, w) with 1 or 3 channels", str(x.shape))
    return torch.from_numpy(np.ascontiguousarray(x))


def _bytes(x: NDArray[np.generic], place: str) -> NDArray[np.uint8]:
    """Return integers in 0..255 as bytes.

    Raises:
        DataError: there are others, or no integers.
    """
    plain: NDArray[Any] = x
    is_number = x.dtype.kind in "iuf" and x.size > 0
    lowest, highest = (float(plain.min()), float(plain.max())) if is_number else (0.0, 0.0)
    in_bytes = lowest >= 0 and highest <= HIGHEST_BYTE
    if x.dtype.kind in "iu" and in_bytes:
        return plain.astype(np.uint8, copy=False)
    found, hint = f"{x.dtype} in {lowest:g}..{highest:g}" if is_number else str(x.dtype), ""
    if x.dtype.kind == "f":
        scaled = in_bytes and highest > 1
        hint = 'store them as uint8: x.astype("uint8")' if scaled else "multiply by 255 where they are 0..1, and round"
    raise DataError(f"{place}: images", "uint8 values, 0..255", found, hint)


def _are_whole(y: NDArray[Any]) -> bool:
    return y.dtype.kind in "iu" or (y.dtype.kind == "f" and bool((np.isfinite(y) & (y == np.floor(y))).all()))
