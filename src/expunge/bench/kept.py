"""What grids have measured, kept beside their tables: a grid goes on, and its tables are made, where no cell was run.

NAME.jsonl has one line for each finished cell: what it is (`cell`), the hash of what was asked (`key`), where it was
run (`machine`), its result without the trace of its steps, and the figures of its audit. A cell is looked up by its
key, so that grids that ask for the same measure it once; what was measured with other settings than a method has now
is left.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.base.errors import DataError
from expunge.bench.cells import Cell, settings_of

SUFFIX = ".jsonl"
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
        line: dict[str, Any] = {"cell": cell.name, "key": cell.key, "machine": cell.machine(), "result": told}
        audit = cell.audit()
        lines.append(json.dumps(line | ({"audit": audit} if audit else {})) + "\n")
    return "".join(lines)


def with_kept(cells: Iterable[Cell], folder: Path, name: str) -> tuple[Cell, ...]:
    """Return the cells with what `folder` keeps of them; where several grids do, the grid of this `name` goes first.

    Raises:
        DataError: a file of kept results cannot be read.
    """
    own = folder / f"{name}{SUFFIX}"
    others = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if path != own]
    known: dict[str, list[dict[str, Any]]] = {}
    for path in [own, *others]:
        for line in _read(path):
            known.setdefault(line["key"], []).append(line)
    return tuple(replace(cell, kept=_find(cell, known.get(cell.key, []))) for cell in cells)


def _find(cell: Cell, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first line whose settings are those that the cell would be run with, as far as both tell."""
    if not lines:
        return {}
    settings = settings_of(cell.job)
    return next((line for line in lines if _agree(line["result"].get("settings", {}), settings)), {})


def _agree(told: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(
        _agree(told[name], value) if isinstance(value, Mapping) else told[name] == value
        for name, value in settings.items()
        if name in told
    )


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    rule = "kept results, one JSON object a line with key and result"
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
