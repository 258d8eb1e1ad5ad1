"""The store of results: what grids have measured, beside their pages, so that pages are made where no cell was run.

NAME/results.jsonl has one line for each finished cell: what it is (`cell`), the hash of what was asked (`key`), the
revision of the method (`revision`, see `expunge.methods.protocol`; a line without one is of the first), where it was
run (`machine`), its result without the trace of its steps, and the figures of its audit. A cell is looked up by key and
revision, so that grids that ask for the same measure it once; what was measured with other settings, or by other code,
than a method has now is not found, and is gone when the page is written next. Lines of cells that the grid does not
name stay, so that nothing is lost where a method or a forget set is taken out of a grid for a while.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.base.errors import DataError
from expunge.bench.cells import Cell, settings_agree, settings_of

RESULTS_FILE = "results.jsonl"
LEFT_OUT = ("trace", "files")
"""What no table is made of: each step of an edit, and hashes of files that are not kept."""


def to_lines(cells: Iterable[Cell]) -> str:
    """Return a line for each cell that is done."""
    lines = []
    for cell in cells:
        result = cell.result()
        if result is None:
            continue
        told = {name: value for name, value in result.items() if name not in LEFT_OUT}
        line: dict[str, Any] = {"cell": cell.name, "key": cell.key, "revision": cell.revision}
        line |= {"machine": _without_job(cell.machine()), "result": told}
        audit = cell.audit()
        lines.append(json.dumps(line | ({"audit": audit} if audit else {})) + "\n")
    return "".join(lines)


def unnamed_lines(cells: Iterable[Cell], path: Path) -> str:
    """Return the lines of a store's file that are of none of these cells.

    Raises:
        DataError: the file cannot be read.
    """
    names, edits = {cell.name for cell in cells}, {(cell.key, cell.revision) for cell in cells}
    others = [
        line
        for line in _read(path)
        if line.get("cell") not in names and (line["key"], line.get("revision", 1)) not in edits
    ]
    return "".join(json.dumps(line) + "\n" for line in others)


def with_stored(cells: Iterable[Cell], folder: Path, name: str) -> tuple[Cell, ...]:
    """Return the cells with what the store has of them; where several grids do, the grid of this `name` goes first.

    Args:
        cells: of the grid.
        folder: of the store, with a folder for each grid.
        name: of the grid.

    Raises:
        DataError: a file of the store cannot be read.
    """
    own = folder / name / RESULTS_FILE
    others = [path for path in sorted(folder.glob(f"*/{RESULTS_FILE}")) if path != own]
    known: dict[str, list[dict[str, Any]]] = {}
    for path in [own, *others]:
        for line in _read(path):
            known.setdefault(line["key"], []).append(line)
    return tuple(replace(cell, stored=_find(cell, known.get(cell.key, []))) for cell in cells)


def _without_job(machine: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return where a cell was run, without what the line says itself."""
    if machine is None:
        return None
    return {name: value for name, value in machine.items() if name not in ("key", "revision")}


def _find(cell: Cell, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first line of the method's revision whose settings are the cell's, as far as both tell.

    A line of the cell's own name goes before others: two cells of a grid may be the same edit.
    """
    if not lines:
        return {}
    settings = settings_of(cell.job)
    current = [line for line in lines if line.get("revision", 1) == cell.revision]
    current.sort(key=lambda line: line.get("cell") != cell.name)
    return next((line for line in current if settings_agree(line["result"].get("settings", {}), settings)), {})


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    rule = "results, one JSON object a line with key and result"
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(str(path), rule, str(error), "delete the file to measure anew") from error
    for number, line in enumerate(lines, start=1):
        if (
            not isinstance(line, dict)
            or not isinstance(line.get("key"), str)
            or not isinstance(line.get("result"), dict)
        ):
            raise DataError(str(path), rule, f"another thing in line {number}", "delete the line to measure anew")
    return lines
