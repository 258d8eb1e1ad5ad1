"""Labelled image files, decoded when they are asked for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.errors import DataError, SettingsError
from expunge.data.preprocessing import AS_IS, Preprocessing, pixels_of
from expunge.data.sources.decoding import Encoded, decode


@dataclass(frozen=True, slots=True)
class PathsBelow(Sequence[Path]):
    """The paths of files by their names below a folder, made when asked for: a million names are a million strings.

    >>> PathsBelow(Path("photos"), ("a.png", "cat/b.png"))[1].as_posix()
    'photos/cat/b.png'
    """

    folder: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, row: int) -> Path: ...
    @overload
    def __getitem__(self, row: slice) -> "PathsBelow": ...
    def __getitem__(self, row: int | slice) -> "Path | PathsBelow":
        return PathsBelow(self.folder, self.names[row]) if isinstance(row, slice) else self.folder / self.names[row]


@dataclass(frozen=True, slots=True)
class FileImages:
    """n image files with their ids and labels; decoding and preprocessing happen in `load`.

    Raises:
        DataError: no files, or not as many ids and labels as files.
    """

    ids: Sequence[str]
    labels: Int[Tensor, " n"]
    paths: Sequence[Path | Encoded]
    preprocessing: Preprocessing = AS_IS
    _changes: dict[int, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.paths:
            raise DataError("images", "at least one image", "none")
        if not len(self.ids) == len(self.labels) == len(self.paths):
            raise DataError(
                "images", "as many ids and labels as files", f"{len(self.ids)}, {len(self.labels)}, {len(self.paths)}"
            )

    def load(self, rows: Sequence[int]) -> Float[Tensor, "b c h w"]:
        """Return the pixels of these rows, float32 within 0..1.

        Raises:
            DataError: no rows, a file that cannot be read, or images of different sizes after preprocessing.
        """
        if len(rows) == 0:
            raise DataError("indices", "at least one image to load", "none")
        pixels = [self._load_one(row) for row in rows]
        for row, image in zip(rows, pixels, strict=True):
            if image.shape != pixels[0].shape:
                raise DataError(
                    str(self.paths[row]),
                    f"{_size(pixels[0])} pixels as in {self.paths[rows[0]]}",
                    _size(image),
                    "give all images one size: --resize PIXELS and --crop PIXELS",
                )
        return torch.from_numpy(np.stack([image.numpy() for image in pixels]))  # see `pixels_of`

    def notes(self) -> tuple[str, ...]:
        """Return what was changed in the images loaded so far, one sentence a kind; each image counts once."""
        counts = Counter(change for changes in self._changes.values() for change in changes)
        return tuple(f"{count} image{'s' * (count > 1)} {change}" for change, count in sorted(counts.items()))

    def _load_one(self, row: int) -> Tensor:
        decoded = decode(self.paths[row], self.preprocessing.mode)
        if decoded.changes:
            self._changes[row] = decoded.changes
        try:
            return pixels_of(self.preprocessing.apply(decoded.image))
        except SettingsError as error:
            raise DataError(
                str(self.paths[row]), "an image as large as the crop", "a smaller one", f"{error}"
            ) from error


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[2]}"
