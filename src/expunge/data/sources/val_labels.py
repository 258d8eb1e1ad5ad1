"""The labels of ImageNet's validation images where they lie in one folder, from a table beside it."""

import csv
from collections.abc import Sequence
from pathlib import Path

from expunge.base.errors import DataError

TABLES = ("LOC_val_solution.csv", "val.txt", "val_labels.csv")
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def read_val_labels(root: Path, files: Sequence[str], wnids: Sequence[str]) -> list[int]:
    """Return the label of each file, from a table in `root` or in root/val.

    Known tables: LOC_val_solution.csv of Kaggle (ImageId,PredictionString), val.txt of Caffe ("FILE LABEL" a line), or
    val_labels.csv of your own (path,label). A label is a WordNet id, or a number in the order of the ids; text after
    it, such as a box, is left alone.

    Raises:
        DataError: no table, a line of another form, a label that is no class, or a file that the table lacks.
    """
    path = _find_table(root)
    label_of = {name: label for label, wnid in enumerate(wnids) for name in (wnid, str(label))}
    found: dict[str, int] = {}
    for number, (name, text) in enumerate(_read_pairs(path), start=1):
        place = f"{path}, line {number}"
        label = label_of.get(text)
        if label is None:
            if number == 1:
                continue  # the names of the columns
            raise DataError(place, f"a WordNet id, or a label in 0..{len(wnids) - 1}", text or "nothing")
        found[Path(name).stem] = label
    missing = [name for name in files if Path(name).stem not in found]
    if missing or not files:
        what = f"{missing[0]}, which it lacks, and {len(missing) - 1} more" if missing else "no images in val/"
        raise DataError(str(path), "a label for each validation image", what)
    return [found[Path(name).stem] for name in files]


def _find_table(root: Path) -> Path:
    for folder in (root, root / "val"):
        for name in TABLES:
            if (folder / name).is_file():
                return folder / name
    known = f"a table of the validation labels: {', '.join(TABLES)}"
    if any((folder / GROUND_TRUTH).is_file() for folder in (root, root / "val")):
        hint = "its numbers are not in the order of the WordNet ids that all published weights have"
        raise DataError(str(root), known, f"only {GROUND_TRUTH}", hint)
    raise DataError(str(root), known, "none", "or one folder a class in val/")


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return file name and first word of the label of each line."""
    text = path.read_text("utf-8-sig")
    if path.suffix == ".csv":
        cells = [line for line in csv.reader(text.splitlines()) if line]
    else:
        cells = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    short = next((number for number, line in enumerate(cells, start=1) if len(line) < 2), None)
    if short is not None:
        raise DataError(f"{path}, line {short}", "a file and its label", "one of them only")
    return [(line[0].strip(), (line[1].split() or [""])[0]) for line in cells]
