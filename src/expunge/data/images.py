"""Labelled images that are loaded when they are asked for."""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.errors import DataError

PIXEL_SAMPLE = 64
"""Images of a set, spread evenly over it, whose pixels are part of its hash."""
LOADED_AT_ONCE = 16
"""Images in one call of `load` by one thread."""
AHEAD = 1
"""Batches that are loaded while the one before is used."""


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
        ids = self.images.ids  # once: some images make the list anew
        return [ids[row] for row in self.rows]

    @property
    def labels(self) -> Tensor:
        """Return the labels of the chosen rows."""
        return self.images.labels[torch.as_tensor(list(self.rows), dtype=torch.int64)]

    def load(self, rows: Sequence[int]) -> Tensor:
        """Return the pixels of these rows of the subset."""
        return self.images.load([self.rows[row] for row in rows])


@dataclass(frozen=True, slots=True)
class ConcatImages:
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


def hash_images(images: Images) -> str:
    """Return one hash over ids and labels of all images, and over the pixels of a sample, since reading all is slow.

    Other pixels under the same ids, as of another crop or of files that were replaced, give another hash.
    """
    rows = hashlib.sha256(json.dumps([list(images.ids), images.labels.tolist()]).encode())
    rows.update(images.load(range(0, len(images.labels), -(-len(images.labels) // PIXEL_SAMPLE))).numpy().tobytes())
    return rows.hexdigest()


def batches(images: Images, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (pixels, labels) in order, at most `batch_size` at a time, the next ones being loaded meanwhile."""
    labels = images.labels
    parts = [range(start, min(start + batch_size, len(labels))) for start in range(0, len(labels), batch_size)]
    for rows, x in zip(parts, load_ahead(images, parts), strict=True):
        yield x, labels[rows.start : rows.stop]


def load_ahead(
    images: Images, batches_of_rows: Iterable[Sequence[int]], threads: int | None = None
) -> Iterator[Float[Tensor, "b c h w"]]:
    """Yield the pixels of each batch of rows in order, while threads load the next one.

    So a set of any size costs the memory of two batches. Decoding and resizing, which take the time, do without the
    interpreter's lock; threads, unlike processes, start at once and share what the images note about themselves.

    Args:
        images: `load` is called from several threads.
        batches_of_rows: read one batch ahead.
        threads: how many; default: as many as torch computes with.

    Raises:
        DataError: whatever `images.load` raises for a batch, when it is that batch's turn.
    """
    pool = ThreadPoolExecutor(threads or torch.get_num_threads(), thread_name_prefix="load images")
    waiting = deque[tuple[Sequence[int], list[Future[Tensor]]]]()
    try:
        for rows in batches_of_rows:
            parts = [rows[start : start + LOADED_AT_ONCE] for start in range(0, len(rows), LOADED_AT_ONCE)]
            waiting.append((rows, [pool.submit(images.load, part) for part in parts]))
            if len(waiting) > AHEAD:
                yield _join(images, *waiting.popleft())
        while waiting:
            yield _join(images, *waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _join(images: Images, rows: Sequence[int], parts: list[Future[Tensor]]) -> Tensor:
    loaded = [part.result() for part in parts]
    if len({part.shape[1:] for part in loaded}) > 1:
        return images.load(rows)  # which says what is wrong with them
    return loaded[0] if len(loaded) == 1 else torch.cat(loaded)
