"""The files of an audit's folder, and how an older audit is removed from it; no metric is imported for that."""

from pathlib import Path

from expunge.audit.record import AUDIT_FILE, SLICES_FILE
from expunge.base.errors import OutputError

AUDIT_FOLDER = "audit"
"""Of an audit within the folder of the run that it speaks of."""
PREDICTIONS_FILE, FEATURES_FILE, POOLS_FILE = "predictions.npz", "features.npz", "pools.npz"
GATHERED_FILE = "gathered.json"
REPORT_FILE = "report.html"
IMAGES_FOLDER = "images"
TABLE_NAMES = (
    "rows",
    "classes",
    "copies",
    "layers",
    "cka",
    "pattern",
    "membership",
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [AUDIT_FILE, GATHERED_FILE, PREDICTIONS_FILE, FEATURES_FILE, POOLS_FILE, SLICES_FILE]
        names += [REPORT_FILE, *(f"{name}.csv" for name in TABLE_NAMES)]
        old = [folder / name for name in names] + sorted((folder / IMAGES_FOLDER).glob("[0-9]*.png"))
        for path in old:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(str(folder), "a folder that can be written to", f"{error.strerror}") from error
