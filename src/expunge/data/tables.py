"""CSV tables whose every complaint names the file and the line."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.base.errors import DataError

DELIMITERS = (",", ";", "\t")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: where it stands, for messages, and its cells by column, without outer spaces."""

    place: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns and rows of a CSV file."""

    path: Path
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """Return the table in `path`: column names in the first line; empty lines don't count.

    It is as spreadsheets write it: UTF-8 or UTF-16, with or without a byte order mark, its cells separated by commas,
    semicolons or tabs.

    Args:
        path: the CSV file.
        columns: the columns that must be there and filled in every line; others may be.

    Raises:
        DataError: the file is missing, not text or empty; a column is missing or there twice; a line has
            too few or too many cells, or an empty one in one of `columns`.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(str(path), "UTF-8 text", f"{error.reason} at byte {error.start}", "save it as UTF-8") from error
    except OSError as error:
        raise DataError(str(path), "a table that can be read", error.strerror or "an error") from error
    delimiter = _delimiter_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = tuple(name.strip() for name in next(reader, []))
        _check_header(path, header, columns)
        lines = tuple(
            _line(f"{path}, line {reader.line_num}", header, cells, columns) for cells in reader if any(cells)
        )
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}", f"values separated by {delimiter!r}", f"{error}") from error
    if not lines:
        raise DataError(str(path), "at least one line below the column names", "none")
    return Table(path, header, lines)


def unique_cells(table: Table, column: str) -> list[str]:
    """Return a column in order.

    Raises:
        DataError: a line has no value, or one that an earlier line has.
    """
    first: dict[str, str] = {}
    for line in table.lines:
        value = line.cells[column]
        if not value:
            raise DataError(line.place, f"a value for {column}", "nothing")
        if value in first:
            raise DataError(line.place, f"each {column} once", f"{value} again, first in {first[value]}")
        first[value] = line.place
    return list(first)


def _delimiter_of(text: str) -> str:
    """Return what separates the names of the columns; of equally frequent ones, the first of `DELIMITERS`."""
    header = text.partition("\n")[0]
    return max(DELIMITERS, key=header.count)


def _check_header(path: Path, header: tuple[str, ...], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        found = ", ".join(header) or "an empty file"
        raise DataError(str(path), f"a column {' and '.join(missing)}", found, "the first line names the columns")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise DataError(str(path), "each column once", f"{', '.join(repeated)} more than once")


def _line(place: str, header: tuple[str, ...], cells: list[str], columns: Sequence[str]) -> Line:
    if len(cells) != len(header):
        raise DataError(place, f"{len(header)} cells", str(len(cells)), "put cells that hold a comma in quotes")
    by_column = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    empty = [name for name in columns if not by_column[name]]
    if empty:
        raise DataError(place, f"a value for {' and '.join(empty)}", "nothing")
    return Line(place, by_column)
