"""Images of Hugging Face datasets, by name or from a folder."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import torch

from expunge.base.errors import DataError, package_needed
from expunge.data.labels import LABEL_NAMES
from expunge.data.sources.decoding import Encoded
from expunge.data.sources.file_images import FileImages
from expunge.data.sources.splits import DataRequest, DataSplits

SAVED = ("state.json", "dataset_dict.json")
TEST_NAMES = ("test", "validation")
HINT = "name it: hf:PLACE?{0}=COLUMN"


@dataclass(frozen=True, slots=True)
class EncodedRows(Sequence[Encoded | Path]):
    """The image files in a column of a dataset, undecoded, read when asked for."""

    dataset: Any
    column: str
    place: str

    def __len__(self) -> int:
        return len(self.dataset)

    @overload
    def __getitem__(self, row: int) -> Encoded | Path: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Encoded | Path]: ...
    def __getitem__(self, row: int | slice) -> "Encoded | Path | Sequence[Encoded | Path]":
        if isinstance(row, slice):
            return [self[number] for number in range(len(self))[row]]
        found = self.dataset[row][self.column]
        if not found or (found["bytes"] is None and not found["path"]):
            raise DataError(f"row {row} of {self.place}", "an image", "none")
        return Path(found["path"]) if found["bytes"] is None else Encoded(f"row {row} of {self.place}", found["bytes"])


def load_huggingface(place: Path, request: DataRequest) -> DataSplits:
    """Return the images of a dataset that `datasets` knows: a name on the hub, or a folder; ids are row numbers.

    Options after a question mark: `image` and `label`, columns (default: the only ones that hold images, or classes);
    `train` and `test`, splits (train; test, or else validation); `config`, where a name has several. Images are decoded
    here, not by `datasets`, so that what is said of files holds for them. No code of a dataset is run.

    Raises:
        DataError: `datasets` is not installed, or cannot load it; a split or a column that is not there, or could be
            several; labels that are no numbers from 0; or another number of classes than the classifier's.
    """
    name = place.as_posix()
    splits = _load(place, request.options.get("config"))
    train_name = request.options.get("train", "train" if "train" in splits or len(splits) > 1 else next(iter(splits)))
    test_name = request.options.get("test", next((each for each in TEST_NAMES if each in splits), None))
    for split in (train_name, test_name):
        if split is not None and split not in splits:
            raise DataError(f"hf:{name}", f"a split {split}", ", ".join(splits), "name it: hf:PLACE?train=SPLIT")
    train, class_names = images_of_dataset(splits[train_name], f"{name}, {train_name}", request)
    if class_names:
        request.check_classes(class_names, f"hf:{name}")
    test = None if test_name is None else images_of_dataset(splits[test_name], f"{name}, {test_name}", request)[0]
    return DataSplits(train, test, request.class_names or tuple(class_names))


def _load(place: Path, config: str | None) -> Mapping[str, Any]:
    with package_needed("datasets", "huggingface", DataError):
        datasets = importlib.import_module("datasets")
    try:
        if any((place / name).is_file() for name in SAVED):
            found = datasets.load_from_disk(str(place))
        else:
            found = datasets.load_dataset(place.as_posix(), config)
    except Exception as error:  # the library raises anything, from OSError to its HTTP client's own errors
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise DataError(f"hf:{place}", "a dataset that `datasets` can load", reason) from error
    return found if isinstance(found, dict) else {"train": found}


def images_of_dataset(
    dataset: Any,  # noqa: ANN401 - no types
    place: str,
    request: DataRequest,
) -> tuple[FileImages, Sequence[str]]:
    """Return the images of one split, and the names of its classes where it has them.

    Args:
        dataset: a `datasets.Dataset`.
        place: what it is called, for messages.
        request: how its images are wanted; its options name the columns.

    Raises:
        DataError: no column of images or labels, or several; or labels that are no numbers from 0.
    """
    datasets = importlib.import_module("datasets")
    image = _column(dataset, "image", datasets.Image, place, request)
    label = _column(dataset, "label", datasets.ClassLabel, place, request)
    values = [int(value) if isinstance(value, float) and value.is_integer() else value for value in dataset[label]]
    odd = next((row for row, value in enumerate(values) if not isinstance(value, int) or value < 0), None)
    if odd is not None:
        hint = "some test splits are not labelled: name another, hf:PLACE?test=SPLIT"
        raise DataError(f"row {odd} of {place}: {label}", "a label, a whole number from 0", repr(values[odd]), hint)
    encoded = dataset.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    ids = [str(row) for row in range(len(values))]
    files = EncodedRows(encoded, image, place)
    names = getattr(dataset.features[label], "names", ())
    return FileImages(ids, torch.tensor(values, dtype=torch.int64), files, request.preprocessing), names


def _column(dataset: Any, option: str, kind: type, place: str, request: DataRequest) -> str:  # noqa: ANN401
    """Return the column that the request names, or the only one of this kind."""
    chosen: str | None = request.options.get(option)
    if chosen is not None and chosen not in dataset.features:
        raise DataError(place, f"a column {chosen}", ", ".join(dataset.features))
    of_kind: list[str] = [name for name, feature in dataset.features.items() if isinstance(feature, kind)]
    if option == "image" and chosen is not None and chosen not in of_kind:
        raise DataError(f"{place}: {chosen}", "a column of images", str(dataset.features[chosen]))
    if chosen is not None:
        return chosen
    if option == "label" and not of_kind:
        by_name = {name.lower(): name for name in reversed(list(dataset.features))}
        of_kind = [by_name[name] for name in LABEL_NAMES if name in by_name][:1]
    if len(of_kind) != 1:
        found = ", ".join(of_kind) or f"none of {', '.join(dataset.features)}"
        raise DataError(place, f"one column of type {kind.__name__}", found, HINT.format(option))
    return of_kind[0]
