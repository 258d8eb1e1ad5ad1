"""What can be known to be wrong before any cell runs."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from expunge.base.errors import OutputError, SettingsError
from expunge.base.settings import to_mapping
from expunge.bench.cells import Cell
from expunge.compute.runtime import Runtime
from expunge.jobs.inputs import load_sources
from expunge.methods import make_method
from expunge.methods.protocol import Needs


def check_cells(cells: Sequence[Cell]) -> None:
    """Check every cell that is still to run; classifiers and images are loaded once each.

    Raises:
        ExpungeError: classifier or images can't be loaded or don't fit each other, there are too few images, or none
            are left for a method that needs retain data.
    """
    sizes: dict[str, int] = {}
    for cell in cells:
        key = json.dumps([to_mapping(cell.job.model), to_mapping(cell.job.data)])
        if key not in sizes:
            _, splits = load_sources(cell.job, Runtime())
            sizes[key] = len(splits.train.ids)
        wanted, there = cell.job.forget.random or 0, sizes[key]
        if wanted > there:
            raise SettingsError("counts", f"at most {there} rows, all of {cell.job.data.source}", str(wanted))
        method = make_method(cell.job.method, cell.job.settings)
        if method.needs is Needs.FORGET_AND_RETAIN and wanted == there:
            raise SettingsError(
                f"methods: {cell.label}", "training images besides those to forget", f"none with k = {wanted}"
            )


def check_results(cells: Sequence[Cell]) -> None:
    """Check that what the cells' folders hold already, results and requests of streams that go on, is of these cells.

    Raises:
        OutputError: a folder was begun for another job.
    """
    for cell in cells:
        key = cell.key_of_folder
        if not cell.is_begun or key == cell.key:
            continue
        _compare_jobs(cell)
        if key is not None:
            raise _refuse(cell, "a result of the job that the grid describes", "one of another job")


def _compare_jobs(cell: Cell) -> None:
    """Compare a cell with the job in its folder as far as both tell."""
    path = cell.folder / "job.toml"
    if not path.is_file():
        return
    saved, wanted = tomllib.loads(path.read_text("utf-8")), to_mapping(cell.job)
    for name in ("method", "seed", "forget", "settings", "strength", "max_steps", "max_seconds"):
        if name in wanted and not _within(wanted[name], saved.get(name)):
            raise _refuse(
                cell, f"a result with {name} = {wanted[name]}, as the grid says", f"one with {saved.get(name)}"
            )


def _refuse(cell: Cell, expected: str, got: str) -> OutputError:
    return OutputError(str(cell.folder), expected, got, "delete the folder, or give the row another label")


def _within(wanted: Any, saved: Any) -> bool:  # noqa: ANN401 - any TOML value
    """Return whether all that is wanted was saved; what was saved beside it are defaults."""
    if isinstance(wanted, Mapping):
        known = isinstance(saved, Mapping)
        return all(known and _within(value, saved.get(name)) for name, value in wanted.items())
    return bool(wanted == saved)
