"""The folder of an audit: written such that audit.json comes last, and nothing of an older audit stays."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from expunge.audit.defined import NotDefinedError
from expunge.audit.gathered import ONLY_FULL, Gathered
from expunge.audit.places import FEATURES_FILE, IMAGES_FOLDER, POOLS_FILE, PREDICTIONS_FILE
from expunge.audit.record import AUDIT_FILE, SLICES_FILE, Audit, Slice, TableFile, to_json
from expunge.audit.tables import TABLES, Table, picture
from expunge.classifier import Bounds
from expunge.disk import write_bytes, write_json, write_text

LARGEST_SIDE = 128


def write_data(folder: Path, data: Gathered) -> dict[str, TableFile]:
    """Write arrays and tables; return which tables there are, and why not the others."""
    arrays: dict[str, np.ndarray] = {}
    for name, part in data.parts.items():
        arrays[f"{name}.ids"] = np.array(part.ids)
        arrays[f"{name}.labels"] = part.labels
        arrays[f"{name}.before"], arrays[f"{name}.after"] = part.before, part.after
    _write_arrays(folder / PREDICTIONS_FILE, arrays)
    if data.deep is not None and data.deep.features:
        _write_arrays(folder / FEATURES_FILE, _features(data))
    if data.deep is not None and data.deep.slices:
        _write_arrays(folder / SLICES_FILE, _slices(data.deep.slices))
    pools = _pools(data)
    if pools:
        _write_arrays(folder / POOLS_FILE, pools)
    return {**{name: _write_table(folder, name, data) for name in TABLES}, "slices": _say_slices(data)}


def write_pictures(folder: Path, x: Tensor, bounds: Bounds, data: Gathered) -> None:
    """Write the forgotten images as PNG, at most 128 pixels wide or high; `x` has 1 or 3 channels."""
    (folder / IMAGES_FOLDER).mkdir(exist_ok=True)
    levels = ((x.detach().cpu() - bounds.lower) / bounds.width * 255).round().clamp(0, 255).to(torch.uint8)
    for number, pixels in enumerate(levels.permute(0, 2, 3, 1).numpy()):
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
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(table.to_text())
    write_text(folder / f"{name}.csv", stream.getvalue())
    return TableFile(f"{name}.csv")


def _say_slices(data: Gathered) -> TableFile:
    if data.deep is None:
        return TableFile(None, ONLY_FULL)
    if not data.deep.slices:
        return TableFile(None, data.deep.reasons.get("slices", "no plane could be cut"))
    return TableFile(SLICES_FILE)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    write_bytes(path, stream.getvalue())


def _features(data: Gathered) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, part in ({} if data.deep is None else data.deep.features).items():
        arrays |= {f"{name}.rows": part.rows, f"{name}.before": part.before, f"{name}.after": part.after}
        if part.retrained is not None:
            arrays[f"{name}.retrained"] = part.retrained
    return arrays


def _slices(slices: Sequence[Slice]) -> dict[str, np.ndarray]:
    return {
        "row": np.array([each.row for each in slices]),
        "names": np.array([each.names for each in slices]),
        "points": np.stack([each.points for each in slices]),
        "extent": np.array([each.extent for each in slices]),
        "before": np.stack([each.before for each in slices]).astype(np.int32),
        "after": np.stack([each.after for each in slices]).astype(np.int32),
    }


def _pools(data: Gathered) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    if data.shadows is not None:
        pool = data.shadows
        found = {
            "seen": pool.seen,
            "forget": pool.forget,
            "test_rows": pool.test_rows,
            "test": pool.test,
            "unlearned_forget": pool.unlearned_forget,
            "unlearned_test": pool.unlearned_test,
        }
        arrays |= {f"shadow.{name}": array for name, array in found.items() if array is not None}
    if data.retrained is not None:
        for number, logits in enumerate(data.retrained.logits, 1):
            arrays |= {f"retrained{number}.{name}": array for name, array in logits.items()}
    return arrays
