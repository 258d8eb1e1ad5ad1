"""What can be known to be wrong before any cell runs."""

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from expunge.base.errors import ExpungeError, OutputError, SettingsError
from expunge.base.settings import to_mapping
from expunge.bench.alike import DATA, DIGITS, FORGET, WEIGHTS, WHAT, name_cells, rows_of
from expunge.bench.cells import Cell
from expunge.bench.stream import draw_stream
from expunge.compute.runtime import Runtime
from expunge.data import DataSplits, forget_set
from expunge.jobs.inputs import load_sources, select_inputs
from expunge.jobs.job import GoalChoice
from expunge.methods import make_method
from expunge.methods.protocol import Needs
from expunge.models.sources import LoadedClassifier


def check_cells(cells: Sequence[Cell], say: Callable[[str], None]) -> None:
    """Check every cell, also what those that are done were measured on; classifiers and images are loaded once each.

    Where all that is asked of a classifier is done, it need not be there; `say` then takes a line about it.

    Raises:
        ExpungeError: classifier or images can't be loaded or don't fit each other, there are too few images, none are
            left for a method that needs retain data, or a result is of another classifier or other images.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(json.dumps([to_mapping(cell.job.model), to_mapping(cell.job.data)]), []).append(cell)
    for alike in groups.values():
        missing = [cell for cell in alike if cell.result() is None]
        try:
            loaded, splits = load_sources(alike[0].job, Runtime())
        except ExpungeError as error:
            if missing:
                raise
            say(f"the results of {len(alike)} cells could not be compared with classifier and images: {error}")
            continue
        for cell in missing:
            _check_size(cell, len(splits.train.ids))
        _check_class(missing, loaded, splits)
        _check_inputs(alike, loaded, splits)


def _check_size(cell: Cell, there: int) -> None:
    wanted = cell.job.forget.random or 0
    if wanted > there:
        raise SettingsError("counts", f"at most {there} rows, all of {cell.job.data.source}", str(wanted))
    method = make_method(cell.job.method, cell.job.settings)
    if method.needs is Needs.FORGET_AND_RETAIN and wanted == there:
        raise SettingsError(
            f"methods: {cell.label}", "training images besides those to forget", f"none with k = {wanted}"
        )


def _check_class(cells: Sequence[Cell], loaded: LoadedClassifier, splits: DataSplits) -> None:
    """Check that the grid says how many images the class has that these cells forget as a whole, if they do."""
    name = cells[0].job.forget.class_name if cells else None
    if name is None:
        return
    there = len(select_inputs(cells[0].job, loaded, splits, Runtime()).forget_set.ids)
    if there != cells[0].count:
        raise SettingsError("counts", f"[{there}], the training images of the class {name}", f"[{cells[0].count}]")


def _check_inputs(cells: Sequence[Cell], loaded: LoadedClassifier, splits: DataSplits) -> None:
    """Check that what cells have measured is of this classifier and these images, as far as their results tell.

    Raises:
        OutputError: some was measured on others.
    """
    now, drawn = {WEIGHTS: loaded.weights_sha256, DATA: splits.sha256()}, dict[object, str | None]()
    for name, what in WHAT.items():
        others = []
        for cell in cells:
            told, rows = cell.inputs().get(name), rows_of(cell)
            if told is None:
                continue
            if name == FORGET and rows not in drawn:
                drawn[rows] = _hash_rows(cell, loaded, splits)
            if (drawn[rows] if name == FORGET else now[name]) not in (None, told):
                others.append(cell)
        if others:
            raise _refuse_inputs(others, what, name)


def _hash_rows(cell: Cell, loaded: LoadedClassifier, splits: DataSplits) -> str | None:
    """Return the hash of the rows that a cell forgets; None if they are the classifier's mistakes."""
    if cell.job.goal is GoalChoice.CORRECT:
        return None
    if cell.stream.requests > 1:
        return forget_set(splits.train, draw_stream(cell.job, splits)).sha256()
    return select_inputs(cell.job, loaded, splits, Runtime()).forget_set.sha256()


def _refuse_inputs(cells: Sequence[Cell], what: str, name: str) -> OutputError:
    stored = all(cell.is_only_stored for cell in cells)
    told = sorted({cell.inputs()[name][:DIGITS] for cell in cells})
    return OutputError(
        name_cells(cells),
        f"results of the {what} that the grid names now",
        f"results of others ({name} {', '.join(told)})",
        "--again measures them anew, and --results DIR keeps the old ones beside them"
        if stored
        else "delete their folders to measure them anew, or give the rows other labels",
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
