"""CIFAR-10 and CIFAR-100 as torchvision keeps them on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from expunge.base.errors import DataError
from expunge.data.images import Images
from expunge.data.sources.array_images import images_from_arrays
from expunge.data.sources.splits import DataRequest, DataSplits


def load_cifar10(root: Path, request: DataRequest) -> DataSplits:
    """Return CIFAR-10 (Krizhevsky, 2009) from the folder above cifar-10-batches-py; ids are row numbers.

    The files are pickles; torchvision compares their MD5 sums with the original ones before it opens them.

    Raises:
        DataError: torchvision is not installed, the files are not there or not the original ones, or the classifier
            has another number of classes.
    """
    return _load("CIFAR10", root, request)


def load_cifar100(root: Path, request: DataRequest) -> DataSplits:
    """Return CIFAR-100 with its 100 fine labels from the folder above cifar-100-python; ids are row numbers.

    The files are pickles, checked as those of CIFAR-10 are.

    Raises:
        DataError: torchvision is not installed, the files are not there or not the original ones, or the classifier
            has another number of classes.
    """
    return _load("CIFAR100", root, request)


def _load(name: str, root: Path, request: DataRequest) -> DataSplits:
    try:
        from torchvision import datasets  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise DataError("torchvision", "an installed package", "none", "pip install expunge[models]") from error
    dataset = getattr(datasets, name)
    try:
        splits = [dataset(root, train=train, download=False) for train in (True, False)]
    except RuntimeError as error:
        raise DataError(
            str(root),
            f"{name} as torchvision unpacks it",
            "files that are missing or not the original ones",
            f"download it with torchvision.datasets.{name}(root, download=True)",
        ) from error
    request.check_classes(splits[0].classes, str(root))
    train, test = (_images(split, root, request) for split in splits)
    return DataSplits(train, test, request.class_names or tuple(splits[0].classes))


def _images(split: Any, root: Path, request: DataRequest) -> Images:  # noqa: ANN401 - torchvision has no types
    return images_from_arrays(
        split.data, np.asarray(split.targets), place=str(root), preprocessing=request.preprocessing
    )
