"""Images named in a table."""

import os
from pathlib import Path

from expunge.base.errors import DataError
from expunge.data.images import Subset
from expunge.data.labels import labels_of_table
from expunge.data.sources.file_images import FileImages
from expunge.data.sources.places import TABLE_NAMES, check_is_folder, is_file
from expunge.data.sources.splits import DataRequest, DataSplits
from expunge.data.tables import Table, read_table, unique_cells

SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}


def load_folder(folder: Path, request: DataRequest) -> DataSplits:
    """Return the images that a table names, all of them training images unless a column says otherwise.

    The table is `request.table`, or table.csv or labels.csv in the folder. Its columns:

    - path: the image file, from the folder; never outside of it;
    - label: a number from 0, or a class name;
    - id (optional): what the image is called; its path as written if there is no such column;
    - name (optional): the class name of a label that is a number;
    - split (optional): train, or test or val for images that are only measured on.

    Other columns are left alone, so that `rows_from_table` may read `new_label` from the same table.

    Raises:
        DataError: no table; a path or an id that stands in two lines; a path that is absolute or leads out of the
            folder; a file that is not there; a label that is no class. Each names the file and the line.
    """
    table = read_table(request.table or _find_table(folder), ("path", "label"))
    paths = unique_cells(table, "path")
    names = unique_cells(table, "id") if "id" in table.columns else paths
    labels, class_names = labels_of_table(table, request.class_names, request.num_classes)
    if class_names and not request.class_names and "name" not in table.columns:
        request.check_class_count(len(class_names), str(table.path))
    images = FileImages(names, labels, paths_below(folder, table), request.preprocessing)
    return _divided(images, table, class_names) if "split" in table.columns else DataSplits(images, None, class_names)


def _divided(images: FileImages, table: Table, class_names: tuple[str, ...]) -> DataSplits:
    """Return the images by the column `split`."""
    parts: dict[str, list[int]] = {"train": [], "test": []}
    for row, line in enumerate(table.lines):
        split = line.cells["split"].lower()
        if split not in SPLITS:
            raise DataError(line.place, f"a split, one of {', '.join(SPLITS)}", split or "nothing")
        parts[SPLITS[split]].append(row)
    if not parts["train"]:
        raise DataError(str(table.path), "at least one line whose split is train", "none")
    test = Subset(images, parts["test"]) if parts["test"] else None
    return DataSplits(Subset(images, parts["train"]), test, class_names)


def _find_table(folder: Path) -> Path:
    check_is_folder(folder, "folder")
    for name in TABLE_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        str(folder),
        f"a table of the images: {' or '.join(TABLE_NAMES)}",
        "neither",
        "write one with the columns path,label; for one folder a class, use imagefolder:",
    )


def paths_below(folder: Path, table: Table) -> list[Path]:
    """Return the files of the column `path`, which must be in `folder`.

    Raises:
        DataError: one isn't.
    """
    paths = []
    for line in table.lines:
        written = line.cells["path"]
        inner = os.path.normpath(written)
        if Path(written).is_absolute() or Path(inner).parts[:1] in ((), (os.pardir,)):
            raise DataError(line.place, f"a path inside {folder}", written)
        path = folder / inner
        if not is_file(path):
            raise DataError(line.place, "an image file", f"{written}, which is not in {folder}")
        paths.append(path)
    return paths
