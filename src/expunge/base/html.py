"""Pieces of HTML for what notebooks show."""

from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; every cell is escaped.

    >>> table(("a", "b"), [(1, "<2>")])
    '<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>&lt;2&gt;</td></tr></table>'
    """
    lines = [("th", head)] if head else []
    lines += [("td", row) for row in rows]
    return f"<table>{''.join(_line(tag, cells) for tag, cells in lines)}</table>"


def _line(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
