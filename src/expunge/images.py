"""Labelled images that are loaded when they are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.errors import DataError


class Images(Protocol):
    """n labelled images; `load` reads the rows that are asked for, so that no set has to fit into memory."""

    @property
    def ids(self) -> Sequence[str]:
        """Return n ids."""
        ...

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """Return n labels."""
        ...

    def load(self, rows: Sequence[int]) -> Float[Tensor, "b c h w"]:
        """Return the pixels of these rows, float32, within 0..1."""
        ...


@dataclass(frozen=True, slots=True)
class TensorImages:
    """Images that are in memory already, as uint8 (0..255) or floats within the classifier's bounds.

    >>> images = TensorImages(("a",), torch.tensor([1]), torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    >>> images.load([0]).max().item()
    1.0
    """

    ids: Sequence[str]
    labels: Tensor
    pixels: Tensor

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.labels) == len(self.pixels):
            raise DataError(
                "images", "as many ids and labels as images", f"{len(self.ids)}, {len(self.labels)}, {len(self.pixels)}"
            )

    def load(self, rows: Sequence[int]) -> Tensor:
        """Return the pixels of these rows; uint8 is scaled to 0..1."""
        pixels = self.pixels[torch.as_tensor(list(rows), dtype=torch.int64)]
        return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


@dataclass(frozen=True, slots=True)
class Subset:
    """Some rows of other images, in a given order."""

    images: Images
    rows: Sequence[int]

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of the chosen rows."""
        return [self.images.ids[row] for row in self.rows]

    @property
    def labels(self) -> Tensor:
        """Return the labels of the chosen rows."""
        return self.images.labels[torch.as_tensor(list(self.rows), dtype=torch.int64)]

    def load(self, rows: Sequence[int]) -> Tensor:
        """Return the pixels of these rows of the subset."""
        return self.images.load([self.rows[row] for row in rows])


@dataclass(frozen=True, slots=True)
class Joined:
    """Two sets of images as one: the rows of `first`, then those of `second`."""

    first: Images
    second: Images

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of both."""
        return [*self.first.ids, *self.second.ids]

    @property
    def labels(self) -> Tensor:
        """Return the labels of both."""
        return torch.cat([self.first.labels, self.second.labels])

    def load(self, rows: Sequence[int]) -> Tensor:
        """Return the pixels of these rows, each in its place."""
        split, index = len(self.first.labels), torch.as_tensor(list(rows), dtype=torch.int64)
        parts = []
        for images, chosen, start in ((self.first, index < split, 0), (self.second, index >= split, split)):
            if bool(chosen.any()):
                parts.append((chosen, images.load((index[chosen] - start).tolist())))
        pixels = parts[0][1].new_empty(len(index), *parts[0][1].shape[1:])
        for chosen, loaded in parts:
            pixels[chosen] = loaded.to(pixels)
        return pixels


def batches(images: Images, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (pixels, labels) in order, at most `batch_size` at a time."""
    labels = images.labels
    for start in range(0, len(labels), batch_size):
        rows = range(start, min(start + batch_size, len(labels)))
        yield images.load(rows), labels[start : rows.stop]
