"""Images that are only measured on: one that can't be read is left out with a note, and costs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import DataError
from expunge.data.images import Images, Subset, load_ahead

SHOWN = 3


@dataclass(frozen=True, slots=True)
class TolerantImages:
    """Other images, in which a row that can't be read, or is of another shape, is black and noted.

    Args:
        images: what is loaded.
        shape: (c, h, w) that each must have.
        faults: what is wrong with the rows loaded so far that can't be used, by row.
    """

    images: Images
    shape: tuple[int, int, int]
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of all rows."""
        return self.images.ids

    @property
    def labels(self) -> Tensor:
        """Return the labels of all rows."""
        return self.images.labels

    def load(self, rows: Sequence[int]) -> Float[Tensor, "b c h w"]:
        """Return the pixels of these rows."""
        try:
            pixels = self.images.load(rows)
        except DataError:
            pixels = None
        if pixels is not None and pixels.shape[1:] == self.shape:
            return pixels
        return torch.stack([self._load_one(row) for row in rows])

    def _load_one(self, row: int) -> Tensor:
        try:
            pixels = self.images.load([row])[0]
        except DataError as error:
            self.faults[row] = str(error)
            return torch.zeros(self.shape)
        if pixels.shape == self.shape:
            return pixels
        sizes = ("x".join(map(str, each)) for each in (self.shape, pixels.shape))
        self.faults[row] = "`{}`: expected {} values, got {}".format(self.images.ids[row], *sizes)
        return torch.zeros(self.shape)


def without_faults(images: TolerantImages, faults: Sequence[int]) -> Subset:
    """Return the rows of the images below that are not among `faults`; there may be none left."""
    left_out = set(faults)
    kept = [row for row in range(len(images.labels)) if row not in left_out]
    below = images.images
    return Subset(below.images, [below.rows[row] for row in kept]) if isinstance(below, Subset) else Subset(below, kept)


def say_faults(name: str, images: TolerantImages) -> tuple[str, ...]:
    """Return a note on the rows that are left out; nothing if there is none."""
    if not images.faults:
        return ()
    some = "; ".join(images.faults[row] for row in sorted(images.faults)[:SHOWN])
    more = "; ..." if len(images.faults) > SHOWN else ""
    return (f"{name}: {len(images.faults)} of {len(images.labels)} images left out of what is measured: {some}{more}",)


def find_faults(images: TolerantImages, batch_size: int) -> None:
    """Load all rows once, so that `images.faults` is complete."""
    count = len(images.labels)
    for _ in load_ahead(images, [range(at, min(at + batch_size, count)) for at in range(0, count, batch_size)]):
        pass
