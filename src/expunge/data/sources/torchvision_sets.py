"""Data sets of torchvision by name, where they lie on the disk already; nothing is downloaded."""

from collections.abc import Mapping
from pathlib import Path

from expunge.base.errors import DataError, one_line, package_needed, suggest
from expunge.data.objects import images_of
from expunge.data.reading import Reading
from expunge.data.sources.splits import DataRequest, DataSplits

BY_FLAG = ({"train": True}, {"train": False})
BY_NAME = ({"split": "train"}, {"split": "test"})
SETS: Mapping[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
    **dict.fromkeys(("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "USPS"), BY_FLAG),
    **dict.fromkeys(("STL10", "SVHN"), BY_NAME),
}
"""Those that list their labels, and what torchvision calls their training and test parts."""


def load_torchvision(place: Path, request: DataRequest) -> DataSplits:
    """Return a data set that torchvision unpacked before; ids are row numbers.

    Args:
        place: NAME:DIR, where DIR is what torchvision calls root.
        request: how the images are wanted.

    Raises:
        DataError: torchvision is not installed, another name, or the files are not there or not the original ones.
    """
    name, colon, folder = str(place).partition(":")
    if name not in SETS or not colon or not folder:
        raise DataError("data", f"torchvision:NAME:DIR with one of {', '.join(SETS)}", str(place), suggest(name, SETS))
    with package_needed("torchvision", "models", DataError):
        from torchvision import datasets  # noqa: PLC0415 - an optional extra
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(str(root), "a folder", "none there")
    try:
        parts = [getattr(datasets, name)(root, download=False, **part) for part in SETS[name]]
    except Exception as error:  # torchvision's readers raise nearly anything for what isn't whole
        hint = f"expunge downloads nothing; torchvision.datasets.{name}(root, download=True) does"
        raise DataError(str(root), f"{name} as torchvision unpacks it", one_line(error), hint) from error
    names = tuple(getattr(parts[0], "classes", ()))
    if names:
        request.check_classes(list(names), str(root))
    reading = Reading(request.preprocessing, request.class_names or names)
    train, test = (images_of(part, reading=reading) for part in parts)
    return DataSplits(train, test, request.class_names or names)
