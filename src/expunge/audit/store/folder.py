"""What people read in the folder of an audit: tables, pictures and, last, audit.json."""

import io
from pathlib import Path

from PIL import Image
from torch import Tensor

from expunge.audit.audit_json import to_json
from expunge.audit.collect.collected import ONLY_FULL, Gathered
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.record import AUDIT_FILE, SLICES_FILE, Audit, TableFile
from expunge.audit.store.files import IMAGES_FOLDER
from expunge.audit.tables import TABLES, Table, picture
from expunge.base.cells import csv_text
from expunge.base.disk import make_folder, write_bytes, write_json, write_text
from expunge.models.pixels import Bounds

LARGEST_SIDE = 128


def write_tables(folder: Path, data: Gathered) -> dict[str, TableFile]:
    """Write the tables; return which there are, and why not the others."""
    return {**{name: _write_table(folder, name, data) for name in TABLES}, "slices": _say_slices(data)}


def write_pictures(folder: Path, x: Tensor, bounds: Bounds, data: Gathered) -> None:
    """Write the forgotten images as PNG, at most 128 pixels wide or high; `x` has 1 or 3 channels."""
    make_folder(folder / IMAGES_FOLDER)
    for number, pixels in enumerate(bounds.to_levels(x.cpu()).permute(0, 2, 3, 1).numpy()):
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        stream = io.BytesIO()
        image.save(stream, "PNG")
        name = picture(data, number)
        if name is not None:
            write_bytes(folder / name, stream.getvalue())


def write_audit(audit: Audit) -> None:
    """Write audit.json, the last file of a folder."""
    write_json(audit.folder / AUDIT_FILE, to_json(audit))


def _write_table(folder: Path, name: str, data: Gathered) -> TableFile:
    try:
        table: Table = TABLES[name](data)
    except NotDefinedError as error:
        return TableFile(None, str(error))
    write_text(folder / f"{name}.csv", csv_text(table.to_text()))
    return TableFile(f"{name}.csv")


def _say_slices(data: Gathered) -> TableFile:
    if data.deep is None:
        return TableFile(None, ONLY_FULL)
    if not data.deep.slices:
        return TableFile(None, data.deep.reasons.get("slices", "no plane could be cut"))
    return TableFile(SLICES_FILE)
