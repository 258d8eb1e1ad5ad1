"""The files of an audit's folder, and how an older audit is removed from it; no metric is imported for that."""

from contextlib import suppress
from pathlib import Path

from expunge.audit.record import AUDIT_FILE, REPORT_FILE, SLICES_FILE
from expunge.base.disk import make_folder, remove_files, sweep

PREDICTIONS_FILE, FEATURES_FILE, POOLS_FILE = "predictions.npz", "features.npz", "pools.npz"
GATHERED_FILE = "gathered.json"
IMAGES_FOLDER = "images"
TABLE_NAMES = (
    "rows",
    "classes",
    "copies",
    "layers",
    "cka",
    "pattern",
    "membership",
    "residual",
    "relearning",
    "tsne",
    "cost",
    "pools",
)


def clear_folder(folder: Path) -> None:
    """Make the folder and remove what an earlier audit left there, audit.json first; other files stay.

    Raises:
        OutputError: it can't be made, or a file can't be removed.
    """
    make_folder(folder)
    names = [AUDIT_FILE, GATHERED_FILE, PREDICTIONS_FILE, FEATURES_FILE, POOLS_FILE, SLICES_FILE]
    remove_files(folder, [*names, REPORT_FILE, *(f"{name}.csv" for name in TABLE_NAMES)])
    images = folder / IMAGES_FOLDER
    sweep(folder)
    if images.is_dir():
        sweep(images)
        remove_files(images, sorted(path.name for path in images.glob("[0-9]*.png")))
        with suppress(OSError):  # there is something else
            images.rmdir()
