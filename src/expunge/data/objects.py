"""Labelled images out of the objects that people have: arrays, datasets, loaders, tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Subset as TorchSubset

from expunge.base.errors import DataError, ExpungeError, one_line
from expunge.compute.devices import CPU, generators_kept
from expunge.data.images import Images, Subset, TensorImages
from expunge.data.labels import LABEL_NAMES, to_labels
from expunge.data.reading import AS_GIVEN, Reading
from expunge.data.sources.huggingface import images_of_dataset
from expunge.data.sources.imagefolder import is_image_name
from expunge.data.sources.splits import DataRequest

IMAGE_NAMES = ("image", "images", "img", "pixel_values", "pixels", "x", "jpg", "jpeg", "png", "webp")
PATH_NAMES = ("path", "paths", "file", "filename", "file_name", "filepath", "file_path", "image_path", *IMAGE_NAMES)
KINDS = "a ForgetSet, (images, labels), a Dataset, a DataLoader, a data frame or a Hugging Face dataset"


@dataclass(frozen=True, slots=True)
class ItemImages:
    """Images of anything that gives items by number: (image, label) or a mapping of the two.

    Args:
        items: the object.
        numbers: which of its items, in this order.
        given_ids: what they are called; the numbers if empty.
        reading: how they are read.
    """

    items: Any
    numbers: Sequence[int]
    reading: Reading = AS_GIVEN
    given_ids: Sequence[str] = ()
    _labels: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def ids(self) -> Sequence[str]:
        """Return what the images are called."""
        return [self.given_ids[number] if self.given_ids else str(number) for number in self.numbers]

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """Return the labels: those that the object lists, or else what the items say, read at the first call."""
        if not self._labels:
            listed = _listed_labels(self.items)
            found = [listed[number] if listed else self._label_of(number) for number in self.numbers]
            self._labels.append(to_labels(found, self.reading.class_names, label=self.reading.label))
        return self._labels[0]

    def load(self, rows: Sequence[int]) -> Float[Tensor, "b c h w"]:
        """Return the pixels of these rows.

        Raises:
            DataError: an item that can't be read, or images of different sizes.
        """
        pixels = [self._load_one(self.numbers[row]) for row in rows]
        for row, image in zip(rows, pixels, strict=True):
            if image.shape != pixels[0].shape:
                shapes = (tuple(each.shape) for each in (pixels[0], image))
                first, other = (f"{shape}" for shape in shapes)
                raise DataError(f"item {self.numbers[row]}", f"an image of shape {first} as the first", other)
        return torch.stack(pixels)

    def _load_one(self, number: int) -> Tensor:
        with _item_at(number) as place:
            pixels = self.reading.to_pixels(_split_item(self.items[number], place)[0], place)
        return pixels[None] if pixels.ndim == 2 else pixels

    def _label_of(self, number: int) -> Any:  # noqa: ANN401
        with _item_at(number) as place:
            return _split_item(self.items[number], place)[1]


@contextmanager
def _item_at(number: int) -> Iterator[str]:
    """Give an item's name; whatever the user's own data set raises for it in the block becomes an error of that name.

    Raises:
        DataError: it raised anything.
    """
    place = f"item {number}"
    try:
        yield place
    except ExpungeError:
        raise
    except Exception as error:  # data sets are anybody's code
        raise DataError(place, "an image and its label", one_line(error)) from error


def images_of(
    given: Any,  # noqa: ANN401 - what people have
    numbers_of: Callable[[int], Sequence[int]] = range,
    reading: Reading = AS_GIVEN,
) -> Images:
    """Return the images of what a person has, and their labels.

    Args:
        given: `Images`, (images, labels) as tensors, arrays or lists, a torch `Dataset`, a `DataLoader` (its dataset
            counts, whatever its order), a list of (image, label), a data frame of paths and labels, or a dataset of
            Hugging Face.
        numbers_of: which images to take, given how many there are; default: all.
        reading: how they are read.

    Raises:
        DataError: it is none of these, or can't be read as such.

    >>> images = images_of((np.zeros((2, 4, 5, 3), dtype=np.uint8), np.array([1, 0], dtype=np.uint8)))
    >>> images.load([1]).shape, images.labels.tolist()
    (torch.Size([1, 3, 4, 5]), [1, 0])
    """
    given = _dataset_of(given)
    if all(hasattr(given, name) for name in ("ids", "labels", "load")):
        whole: Images = given
        return whole if numbers_of is range else Subset(whole, numbers_of(len(whole.labels)))
    if hasattr(given, "iterrows"):
        return _images_of_frame(given, numbers_of, reading)
    if type(given).__module__.startswith("datasets."):
        return _images_of_huggingface(given, numbers_of, reading)
    if _is_pair(given):
        return _images_of_pair(given[0], given[1], numbers_of, reading)
    if not hasattr(given, "__getitem__") or not hasattr(given, "__len__") or isinstance(given, (str, Mapping, Tensor)):
        raise DataError("forget", KINDS, type(given).__name__)
    return ItemImages(given, numbers_of(len(given)), reading)


def normalisation_of(given: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:  # noqa: ANN401
    """Return mean and std of the `Normalize` at the end of a dataset's transform, None where there is none."""
    while isinstance(given, DataLoader) or (hasattr(given, "dataset") and hasattr(given, "indices")):
        given = given.dataset
    steps = [getattr(given, "transform", None)]
    for step in steps:
        steps += list(getattr(step, "transforms", ()))
    found = next((step for step in reversed(steps) if type(step).__name__ == "Normalize"), None)
    if found is None:
        return None
    mean, std = (tuple(map(float, np.atleast_1d(np.asarray(values)))) for values in (found.mean, found.std))
    return mean, std


def _dataset_of(given: Any) -> Any:  # noqa: ANN401
    """Return what a loader loads from; what can only be walked through is walked through.

    The user's own draws from torch's global generator, which loaders draw from as well, stay the same.
    """
    if isinstance(given, DataLoader) and not isinstance(given.dataset, IterableDataset):
        return given.dataset
    with generators_kept(CPU):
        if isinstance(given, DataLoader):
            return [pair for batch in given for pair in zip(*_split_item(batch, "a batch"), strict=True)]
        return list(given) if isinstance(given, IterableDataset) else given


def _is_pair(given: Any) -> bool:  # noqa: ANN401
    """Return whether `given` is (images, labels), and no list of (image, label); or one item, which is refused later.

    Two lists of two are [image, label] each if the second of each may be a label, and the first may not.
    """
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return False
    if all(isinstance(each, list) and len(each) == 2 for each in given):
        return not all(_may_be_label(each[1]) and not _may_be_label(each[0]) for each in given)
    return isinstance(given[0], (Tensor, np.ndarray, list)) or isinstance(given[1], Number)


def _may_be_label(value: Any) -> bool:  # noqa: ANN401
    """Return whether this is a number, truth values of several labels, or text that names no image file."""
    if isinstance(value, str):
        return not is_image_name(Path(value).name)
    if isinstance(value, (Tensor, np.ndarray)):
        return value.ndim < 2
    return isinstance(value, Number) or (isinstance(value, (list, tuple)) and all(map(_may_be_label, value)))


def _images_of_pair(
    x: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    numbers_of: Callable[[int], Sequence[int]],
    reading: Reading,
) -> Images:
    if isinstance(y, str) or not isinstance(y, Iterable) or getattr(y, "ndim", 1) == 0:
        raise DataError("labels", "labels, one an image", repr(y), "wrap one item in a list: [(image, label)]")
    if isinstance(x, list):
        y = list(y)
        _check_count(len(x), len(y))
        items = list(zip(x, y, strict=True))
        names = [str(each) for each in x] if all(isinstance(each, (str, Path)) for each in x) else []
        return ItemImages(items, numbers_of(len(items)), reading, names)
    labels = to_labels(y, reading.class_names, label=reading.label)
    _check_count(len(x), len(labels))
    if x.ndim == 3:
        x = x[:, None]
    rows = list(numbers_of(len(x)))
    pixels = reading.to_pixels(x[rows], "images")
    if pixels.ndim != 4:
        raise DataError("images", "shape (n, c, h, w) or (n, h, w, c)", str(tuple(x.shape)))
    return TensorImages([str(row) for row in rows], labels[rows], pixels)


def _check_count(images: int, labels: int) -> None:
    if images != labels:
        raise DataError("labels", f"{images}, one an image", str(labels))


def _images_of_frame(frame: Any, numbers_of: Callable[[int], Sequence[int]], reading: Reading) -> Images:  # noqa: ANN401
    """Return the images whose paths are in a frame's column; they are relative to the current folder."""
    find = partial(_column_of, [str(name) for name in frame.columns])
    paths, labels = list(frame[find("image", PATH_NAMES)]), list(frame[find("label", LABEL_NAMES)])
    ids = [str(name) for name in (frame["id"] if "id" in frame.columns else paths)]
    if not reading.class_names and all(isinstance(label, str) for label in labels):
        raise DataError(
            "labels", "numbers, or class names that the classifier knows", repr(labels[0]), "give it class_names=[...]"
        )
    return ItemImages(list(zip(paths, labels, strict=True)), numbers_of(len(paths)), reading, ids)


def _column_of(columns: Sequence[str], kind: str, names: Sequence[str]) -> str:
    """Return the first of `names` that is a column, in whatever case."""
    by_name = {column.lower(): column for column in reversed(columns)}
    found = next((by_name[name] for name in names if name in by_name), None)
    if found is None:
        raise DataError("forget", f"a column of {kind}s called {' or '.join(names[:3])}", ", ".join(columns))
    return found


def _images_of_huggingface(dataset: Any, numbers_of: Callable[[int], Sequence[int]], reading: Reading) -> Images:  # noqa: ANN401
    if isinstance(dataset, dict):
        raise DataError("forget", "one split of the dataset", ", ".join(dataset), "pass dataset['train']")
    if any(type(feature).__name__ == "Image" for feature in dataset.features.values()):
        request = DataRequest(reading.preprocessing, class_names=reading.class_names)
        found = images_of_dataset(dataset.with_format(None), "dataset", request)[0]
        return Subset(found, numbers_of(len(found.labels)))
    return ItemImages(dataset, numbers_of(len(dataset)), reading)


def _listed_labels(items: Any) -> Sequence[Any]:  # noqa: ANN401
    """Return the labels of torchvision's data sets and subsets of them, for which no image has to be read; or ()."""
    if isinstance(items, TorchSubset):
        listed = _listed_labels(items.dataset)
        return [listed[number] for number in items.indices] if listed else ()
    targets: Any = getattr(items, "targets", ())
    changed = getattr(items, "target_transform", None) is not None
    usable = isinstance(targets, (list, tuple, Tensor, np.ndarray)) and not changed and len(targets) == len(items)
    return list(targets) if usable else ()


def _split_item(item: Any, place: str) -> tuple[Any, Any]:  # noqa: ANN401
    """Return an item's image and its label."""
    if isinstance(item, Mapping):
        names = [str(name) for name in item]
        return item[_column_of(names, "image", IMAGE_NAMES)], item[_column_of(names, "label", LABEL_NAMES)]
    if isinstance(item, Sequence) and len(item) >= 2 and not isinstance(item, str):
        return item[0], item[1]
    raise DataError(place, "an image and its label", type(item).__name__)
