"""Tables for people in a terminal and for programs behind a pipe; neither ever breaks a word."""

import sys
import textwrap
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from expunge.base.visible import visible
from expunge.cli.say import say

BORDERS = 3
"""Characters that a column takes beside its text: a line and two blanks."""


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", numbers: bool = False
) -> None:
    """Print a table on standard output.

    In a terminal it has borders, cells are wrapped between words, and where even the longest words don't fit side by
    side, each row becomes a paragraph. Behind a pipe it is lines of cells with tabs between them, the names first.
    Escapes within cells and title are written out, see `expunge.cli.say`.

    Args:
        columns: their names.
        rows: their cells, the first of which names the row.
        title: a line above the table, for a terminal only.
        numbers: all columns but the first hold numbers, which stand at the right.
    """
    columns, *rows = [[visible(" ".join(cell.split())) for cell in row] for row in (columns, *rows)]
    title = "\n".join(map(visible, title.splitlines()))
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(row))
        return
    console = Console()
    widths = _fit(list(zip(columns, *rows, strict=True)), console.width - BORDERS * len(columns) - 1)
    if widths is None:
        for line in _to_paragraphs(columns, rows, title, console.width):
            say(line)
        return
    table = Table(title=escape(title) or None, title_justify="left")
    for number, (name, width) in enumerate(zip(columns, widths, strict=True)):
        table.add_column(name, width=width, justify="right" if numbers and number else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table, markup=True, highlight=False)


def _fit(columns: Sequence[Sequence[str]], space: int) -> list[int] | None:
    """Return widths of columns that fit into `space` together, each wide enough for its words; None if there are none.

    The widest of those that have room to spare gives way first.
    """
    least = [max(map(_longest_word, cells)) for cells in columns]
    widths = [max(len(cell) for cell in cells) for cells in columns]
    if sum(least) > space:
        return None
    while sum(widths) > space:
        widest = max((width, number) for number, width in enumerate(widths) if width > least[number])[1]
        widths[widest] -= 1
    return widths


def _to_paragraphs(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str, width: int) -> list[str]:
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, width)]
    for row in rows:
        lines += ["", row[0]]
        for name, cell in zip(columns[1:], row[1:], strict=True):
            if cell:
                lines += textwrap.wrap(
                    f"{name}: {cell}",
                    width,
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
    return lines


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)
