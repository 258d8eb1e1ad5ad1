"""Records as tables: which rows and columns, what is best, and the same in Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from expunge.base.cells import csv_text, escape_cell
from expunge.bench.best import find_best
from expunge.bench.records import MeanOverSets, Record, group_records

LATEX = str.maketrans(
    {each: f"\\{each}" for each in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': r"{\char34}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}"}
)
"""Characters with a meaning in LaTeX; brackets and stars have one after the end of a line of a table."""
MARKDOWN = str.maketrans({each: f"\\{each}" for each in "\\|[]*`"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of a table.

    Args:
        keys: what stands on the left: classifier, goal, k, request, method, where there are several.
        estimates: by column.
        best: columns in which it is bold, see `expunge.bench.best`.
        reasons: why its edits ended.
        n: number of forget sets.
    """

    keys: tuple[str, ...]
    estimates: dict[str, MeanOverSets]
    best: frozenset[str]
    reasons: str
    n: int

    def say(self, estimate: MeanOverSets) -> str:
        """Return an estimate as text, and of how many forget sets it is, if it is not of all."""
        return f"{estimate} (of {estimate.n})" if 0 < estimate.n < self.n else str(estimate)


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """A table of means with intervals."""

    key_names: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


def summarise(records: Sequence[Record]) -> SummaryTable:
    """Return the means of `records`, group by group, with what is best, see `expunge.bench.best`."""
    columns = tuple(records[0].figures)
    shown = _shown_keys(records)
    rows = []
    for group, by_label in group_records(records).items():
        estimates = {
            label: {column: MeanOverSets.of([record.figures[column] for record in chosen]) for column in columns}
            for label, chosen in by_label.items()
        }
        best = {column: find_best(column, by_label) for column in columns}
        for label, chosen in by_label.items():
            keys = tuple(str(each) for position, each in enumerate(group) if shown[position])
            bold = frozenset(column for column in columns if label in best[column])
            reasons = ", ".join(sorted({record.reason for record in chosen}))
            rows.append(TableRow((*keys, label), estimates[label], bold, reasons, len(chosen)))
    names = tuple(name for position, name in enumerate(("classifier", "goal", "k", "request")) if shown[position])
    return SummaryTable((*names, "method"), columns, tuple(rows))


def to_markdown(table: SummaryTable) -> list[str]:
    """Return the lines of a Markdown table."""
    heads = (*table.key_names, "forget sets", *table.columns, "stopped by")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in table.rows:
        cells = [f"**{row.say(each)}**" if name in row.best else row.say(each) for name, each in row.estimates.items()]
        lines.append("| " + " | ".join([*map(escape_markdown, row.keys), str(row.n), *cells, row.reasons]) + " |")
    return lines


def to_latex(table: SummaryTable, *, caption: str, note: str = "") -> str:
    """Return a LaTeX table, with a note under it; it needs the package booktabs."""
    heads = (*table.key_names, "sets", *table.columns)
    layout = "l" * len(table.key_names) + "r" * (len(heads) - len(table.key_names))
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        " & ".join(map(escape_latex, heads)) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = [_latex_estimate(row.say(each), name in row.best) for name, each in row.estimates.items()]
        lines.append(" & ".join([*map(escape_latex, row.keys), str(row.n), *cells]) + r" \\")
    return "\n".join(
        [
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *([rf"\par {escape_latex(note)}"] if note else []),
            r"\end{table}",
            "",
        ]
    )


def to_csv(records: Sequence[Record]) -> str:
    """Return one line a record."""
    shown = _shown_keys(records, always=(2,))
    names = tuple(name for position, name in enumerate(("classifier", "goal", "k", "request")) if shown[position])
    lines: list[list[object]] = [["method", *names, "seed", *records[0].figures, "stop_reason", "forget_sha256"]]
    for record in records:
        keys = [each for position, each in enumerate(record.group) if shown[position]]
        figures = [round(figure, 4) if isfinite(figure) else "" for figure in record.figures.values()]
        forget = record.result["inputs"]["forget_sha256"]
        texts = [escape_cell(each) if isinstance(each, str) else each for each in (record.label, *keys)]
        lines.append([*texts, record.seed, *figures, record.reason, forget])
    return csv_text(lines)


def escape_markdown(text: str) -> str:
    r"""Return `text` such that a cell of a Markdown table shows it and takes nothing in it for markup.

    >>> escape_markdown("a|b <i>")
    'a\\|b &lt;i&gt;'
    """
    return " ".join(text.split()).translate(MARKDOWN)


def escape_latex(text: str) -> str:
    r"""Return `text` as LaTeX sets it.

    >>> escape_latex("goal, % & k_1")
    'goal, \\% \\& k\\_1'
    """
    return " ".join(text.split()).translate(LATEX)


def _latex_estimate(estimate: str, best: bool) -> str:
    text = estimate.replace(",", "{,}").replace("±", r"\pm").replace(" (", r"\ (").replace(" to ", r"\ \mathrm{to}\ ")
    text = text.replace("(of ", r"(\mathrm{of}\ ")
    return rf"$\mathbf{{{text}}}$" if best else f"${text}$"


def _shown_keys(records: Sequence[Record], always: tuple[int, ...] = (2,)) -> list[bool]:
    """Return which parts of a group differ between records, or are always shown (k)."""
    return [position in always or len({record.group[position] for record in records}) > 1 for position in range(4)]
