"""Text in the cells of CSV files: what a spreadsheet would take for a formula is marked, and read back unmarked."""

import csv
import io
from collections.abc import Iterable

MARK = "'"
MARKED_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", " ", MARK)
"""Formulas, what readers strip, and the mark itself, without which a name that begins with it would not come back."""

BOTH_BREAKS = "\r\n"


def escape_cell(text: str) -> str:
    """Return `text` such that no spreadsheet takes it for a formula; `unescape_cell` undoes it.

    >>> escape_cell("=1+1")
    "'=1+1"
    """
    return f"{MARK}{text}" if text.startswith(MARKED_STARTS) else text


def unescape_cell(text: str) -> str:
    """Return the text that `escape_cell` was given.

    >>> unescape_cell(escape_cell("'tis"))
    "'tis"
    """
    return text[1:] if text[:1] == MARK and text[1:].startswith(MARKED_STARTS) else text


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Return `rows` as CSV text, one line each; `csv.reader` gives every cell back, line breaks within it too.

    >>> csv_text([["id", "label"], ["a\rb", 3]])
    'id,label\n"a\rb",3\n'
    """
    lines = []
    for row in rows:
        stream = io.StringIO()
        csv.writer(stream, lineterminator=BOTH_BREAKS).writerow(row)  # quotes cells with either line break
        lines.append(stream.getvalue().removesuffix(BOTH_BREAKS) + "\n")
    return "".join(lines)
