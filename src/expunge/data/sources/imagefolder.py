"""Images sorted into one folder a class."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from expunge.base.errors import DataError, suggest
from expunge.base.visible import visible_name
from expunge.data.labels import labels_of_table
from expunge.data.sources.file_images import FileImages
from expunge.data.sources.folder import paths_below
from expunge.data.sources.places import check_is_folder
from expunge.data.sources.splits import DataRequest, DataSplits
from expunge.data.tables import read_table, unique_cells

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
TEST_NAMES = ("test", "val")


def load_imagefolder(folder: Path, request: DataRequest) -> DataSplits:
    """Return the images of torchvision's layout: folder/class/image.jpg, or folder/train/class/image.jpg.

    Where there is a folder `train`, its images are the training images and those of `test`, or else `val`, the
    test images. Folders below a class folder belong to the class. Ids are paths from the folder of the split.

    Classes are numbered in the alphabetical order of their folders. Where the classifier's class names are known
    and each folder bears one of them, a folder has the number of its name instead. Where the user said the names, or
    some folders bear one, every folder must.

    A table beside it (`request.table`: path from the folder, label, optionally id) names images that are to be
    forgotten or labelled otherwise. They come before the others; one that lies in a class folder counts once, as the
    table has it. So the cost of the edit can be measured on all others.

    Raises:
        DataError: no folder, no class folders, a class without images, test classes that the training images lack,
            or another number of classes than the classifier's.
    """
    check_is_folder(folder, "imagefolder")
    train_folder = folder / "train" if (folder / "train").is_dir() else folder
    found = _class_folders(train_folder)
    class_names, remarks = number_classes(str(train_folder), found, request)
    train = _images(train_folder, found, class_names, request)
    if request.table is not None:
        train = _with_table(train, folder, class_names, request)
    if train_folder == folder:
        return DataSplits(train, None, class_names, remarks)
    test_folder = next((folder / name for name in TEST_NAMES if (folder / name).is_dir()), None)
    if test_folder is None:
        return DataSplits(train, None, class_names, remarks)
    tested = _class_folders(test_folder)
    unknown = [name for name in tested if name not in class_names]
    if unknown:
        hint = suggest(unknown[0], class_names)
        raise DataError(str(test_folder), f"classes of {train_folder}", ", ".join(unknown[:5]), hint)
    return DataSplits(train, _images(test_folder, tested, class_names, request), class_names, remarks)


def is_image_name(name: str) -> bool:
    """Return whether a file of that name is an image; hidden files, such as macOS leaves beside each, are not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(str(folder), "one folder a class", "no folders", "for images in a table, use folder:")
    return names


def number_classes(place: str, found: Sequence[str], request: DataRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the class names in order of their labels, and a remark where the order had to be assumed.

    Args:
        place: what the images lie in, for messages.
        found: the folders, in order of their names.
        request: what is known of the classifier's classes.

    Raises:
        DataError: another number of folders than of classes, or one of another name where names are to be found.
    """
    wanted = request.class_names
    if not wanted:
        request.check_class_count(len(found), place)
        return tuple(found), ()
    counts, lowered = Counter(wanted), {name.lower() for name in wanted}
    others = [name for name in found if counts[name] != 1]
    if not others:
        return tuple(wanted), ()
    in_another_language = not request.names_given and not any(name.lower() in lowered for name in found)
    if in_another_language and len(wanted) == len(found):
        return tuple(found), ("classes are numbered as their folders sort: their names are not the classifier's",)
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    raise DataError(
        place,
        f"folders named as the classifier's {len(wanted)} classes",
        f"{', '.join(others[:5])}{more}",
        suggest(others[0], wanted) or f"the classes are {', '.join(wanted[:5])}{', ...' if len(wanted) > 5 else ''}",
    )


def _with_table(images: FileImages, folder: Path, class_names: tuple[str, ...], request: DataRequest) -> FileImages:
    """Return the images of the request's table, and then those that it doesn't name."""
    table = read_table(request.table or folder, ("path", "label"))
    written = unique_cells(table, "path")
    own = unique_cells(table, "id") if "id" in table.columns else written
    labels, _ = labels_of_table(table, class_names)
    paths = paths_below(folder, table)
    named = {path.resolve() for path in paths}
    rest = [row for row, path in enumerate(images.paths) if Path(str(path)).resolve() not in named]
    ids = [*own, *(images.ids[row] for row in rest)]
    files = [*paths, *(images.paths[row] for row in rest)]
    return FileImages(ids, torch.cat([labels, images.labels[rest]]), files, request.preprocessing)


def _images(folder: Path, found: Sequence[str], class_names: Sequence[str], request: DataRequest) -> FileImages:
    ids, labels, paths = [], [], []
    for name in found:
        found_files = (path for path in (folder / name).rglob("*") if is_image_name(path.name))
        files = sorted(path for path in found_files if path.is_file())
        if not files:
            raise DataError(str(folder / name), f"images ({', '.join(SUFFIXES)})", "none")
        paths += files
        ids += [visible_name(path.relative_to(folder).as_posix()) for path in files]
        labels += [class_names.index(name)] * len(files)
    return FileImages(ids, torch.tensor(labels), paths, request.preprocessing)
