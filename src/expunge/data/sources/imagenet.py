"""ImageNet-1K as it is usually unpacked, and ImageNet-A, whose classes are some of its."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from expunge.base.errors import DataError
from expunge.data.sources.file_images import FileImages, PathsBelow
from expunge.data.sources.imagefolder import SUFFIXES, is_image_name
from expunge.data.sources.splits import DataRequest, DataSplits
from expunge.data.sources.val_labels import read_val_labels
from expunge.data.sources.wnids import CLASSES, WNID, read_wnids

SHOWN = 5


def load_imagenet(root: Path, request: DataRequest) -> DataSplits:
    """Return ImageNet (Russakovsky et al. 2015, arXiv 1409.0575): root/train/WNID/image.JPEG, and root/val.

    Labels are the places of the WordNet ids in ascending order, as all published weights have them. `val` holds folders
    too, or the images themselves; their labels are then in a table, see `read_val_labels`. Without `val` there are no
    test images. Which classes there must be is in a list in the root, or are the 1,000 of the challenge; a classifier
    of another number of classes was trained on a part of them, and the folders must be as many. Names are read when
    it is opened, images when they are used.

    Raises:
        DataError: no such folder, a class whose folder is missing or empty, a folder that is no class, a list or a
            table of another form.
    """
    if not (root / "train").is_dir():
        raise DataError(str(root), "a folder with train/ and val/", "no train/", "unpack one folder a class into it")
    found = _class_folders(root / "train")
    classes = _classes(root, found, request)
    _check_folders(root / "train", found, list(classes))
    train = _images(root / "train", list(classes), request, list(classes))
    names = request.class_names or tuple(classes.values())
    return DataSplits(train, _validation(root, list(classes), request), names)


def load_imagenet_a(folder: Path, request: DataRequest) -> DataSplits:
    """Return ImageNet-A (Hendrycks et al. 2021, arXiv 1907.07174): 200 folders whose labels are ImageNet-1K's.

    They are photographs that classifiers get wrong: with the goal `correct`, rows to move to their true label. All are
    training images here, since rows are chosen from those.

    Raises:
        DataError: no such folder, no folders in it, one that is none of the 1,000 classes or empty, or a classifier of
            another number of classes.
    """
    if not folder.is_dir():
        raise DataError(str(folder), "a folder", "none there")
    classes = read_wnids(folder)
    if request.num_classes is not None and request.num_classes != len(classes):
        raise DataError("num_classes", f"a classifier of ImageNet's {len(classes)} classes", str(request.num_classes))
    found = _class_folders(folder)
    _refuse_unknown(folder, found, list(classes))
    return DataSplits(
        _images(folder, found, request, list(classes)), None, request.class_names or tuple(classes.values())
    )


def _classes(root: Path, found: Sequence[str], request: DataRequest) -> Mapping[str, str]:
    """Return the classes that there must be, in order, with their names."""
    if request.num_classes in (None, CLASSES):
        return read_wnids(root)
    request.check_class_count(len(found), str(root / "train"))
    return dict(zip(found, found, strict=True))


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(str(folder), "one folder a class, named by its WordNet id", "no folders")
    return names


def _check_folders(folder: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing = sorted(set(wanted) - set(found))
    if missing:
        rule = f"a folder for each of {len(wanted)} classes"
        raise DataError(str(folder), rule, f"{len(missing)} missing: {_some(missing)}", "is it unpacked completely?")
    _refuse_unknown(folder, found, wanted)


def _refuse_unknown(folder: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    unknown = sorted(set(found) - set(wanted))
    if unknown:
        raise DataError(str(folder), "folders named by WordNet ids of ImageNet's classes", _some(unknown))


def _validation(root: Path, wnids: Sequence[str], request: DataRequest) -> FileImages | None:
    folder = root / "val"
    if not folder.is_dir():
        return None
    names = sorted(entry.name for entry in os.scandir(folder))
    if any(WNID.fullmatch(name) for name in names):
        found = _class_folders(folder)
        _check_folders(folder, found, wnids)
        return _images(folder, found, request, wnids)
    files = [name for name in names if is_image_name(name)]
    labels = read_val_labels(root, files, wnids)
    return FileImages(files, torch.tensor(labels), PathsBelow(folder, files), request.preprocessing)


def _images(folder: Path, found: Sequence[str], request: DataRequest, wnids: Sequence[str]) -> FileImages:
    """Return the images of these class folders; ids are paths from `folder`."""
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    names: list[str] = []
    labels: list[int] = []
    for wnid in found:
        files = sorted(entry.name for entry in os.scandir(folder / wnid) if is_image_name(entry.name))
        if not files:
            raise DataError(str(folder / wnid), f"images ({', '.join(SUFFIXES)})", "none")
        names += [f"{wnid}/{name}" for name in files]
        labels += [label_of[wnid]] * len(files)
    return FileImages(names, torch.tensor(labels), PathsBelow(folder, names), request.preprocessing)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
