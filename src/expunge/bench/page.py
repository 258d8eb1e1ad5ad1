"""The page of results of a grid, with its source and plots beside it."""

import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from expunge.base.disk import write_text
from expunge.base.errors import DataError, ExpungeWarning
from expunge.base.folders import locked_folder
from expunge.bench.alike import check_alike
from expunge.bench.best import say_rule
from expunge.bench.cells import Cell
from expunge.bench.grid import OFFSET, Grid
from expunge.bench.records import Record, read_records
from expunge.bench.store import RESULTS_FILE, to_lines, unnamed_lines
from expunge.bench.tables import SummaryTable, summarise, to_csv, to_latex, to_markdown

PAGE = "README.md"
WAIT_SECONDS = 10
"""For another command that writes the same page."""
SINGLE = (
    "`goal` is the share of rows for which the goal holds on the exact pixels, `robust` the share of 32 fresh "
    "transformed copies of each row, `rows robust` the share of rows of which at least 95% of the copies hold."
)
STREAM = (
    "Requests come one after another, each edits the classifier that the one before left. `this request` is the share "
    "of its rows that are misclassified after it, `all so far` the same of all requests up to it, `first request` of "
    "the first, `robust` the share of 32 fresh transformed copies of its rows."
)
CLASS_WISE = (
    " All training images of the class {name} are to be forgotten: `class on test` is the share of its test images "
    "that are still answered with it, which should be 0; `test` is the rest of the test images."
)
COMPARED = (
    "Each method is compared with `{reference}`, on the same forget set. `gap` is the mean difference of accuracies on "
    "forget, retain and test images, in points; `tug of war` the product of 1 - difference over the three, 1 for none "
    "(arXiv 2406.01257). `unedited` is the classifier that nothing was done to."
)
MEMBERSHIP = (
    " `membership AUC, from 0.5`: how far from 0.5 the AUC is with which the loss tells forgotten rows from test "
    "images; to either side it is a trace, 0 is none, and few rows are never quite at 0; a weak attack."
)
AGAIN = (
    " `{label}` is another training from another seed, without the same rows: its line is what chance does, and a gap "
    "that is no larger shows nothing."
)


@dataclass(frozen=True, slots=True)
class Report:
    """What the page is about: a grid, where it was read from, and its cells."""

    grid: Grid
    config: Path
    cells: Sequence[Cell]


def write_results(report: Report, folder: Path) -> str:
    """Write README.md, results.jsonl and the plots of what is done to `folder`; return the page.

    Raises:
        DataError: no cell is done, or they are not of the same classifier and images.
        OutputError: the folder cannot be written to.
    """
    records = _read_records(report)
    plots = _draw(records, report.grid.title)
    page = make_page(report, records, tuple(plots))
    with locked_folder(folder, wait_seconds=WAIT_SECONDS):
        for kind, svg in plots.items():
            write_text(folder / f"{kind}.svg", svg)
        kept = unnamed_lines(report.cells, folder / RESULTS_FILE)
        write_text(folder / RESULTS_FILE, to_lines(report.cells) + kept)
        write_text(folder / PAGE, page)
    return page


def export_csv(report: Report) -> str:
    """Return a table with one line a cell, or a request of a stream, as CSV.

    Raises:
        DataError: no cell is done, or they are not of the same classifier and images.
    """
    records = _read_records(report)
    return to_csv(records)


def export_latex(report: Report) -> str:
    """Return the page's table in LaTeX; it needs the package booktabs.

    Raises:
        DataError: no cell is done, or they are not of the same classifier and images.
    """
    records = _read_records(report)
    table = summarise(records)
    return to_latex(table, caption=report.grid.title, note=_say_bold(report.grid, records, table))


def _read_records(report: Report) -> list[Record]:
    records = read_records(report.cells, report.grid.reference)
    if not records:
        raise DataError(str(report.config), "at least one cell that is done", "none", "run it without --table first")
    check_alike(report.cells)
    return records


def _draw(records: Sequence[Record], title: str) -> dict[str, str]:
    """Return the plots by name; without matplotlib there are none, and a note says so."""
    try:
        from expunge.bench.plots import make_plots  # noqa: PLC0415 - an optional extra
    except ImportError:
        warnings.warn("no plots without matplotlib: pip install expunge[bench]", ExpungeWarning, stacklevel=2)
        return {}
    return make_plots(records, title)


def make_page(report: Report, records: Sequence[Record], plots: Sequence[str]) -> str:
    """Return the Markdown page: mean and 95% interval over the seeds, and what was run where."""
    grid, command = report.grid, f"expunge bench {_from_here(report.config)}"
    table = summarise(records)
    lines = [
        f"# {grid.title}",
        "",
        "Mean ± half a 95% interval (Student's t) over the forget sets, which are drawn at random with seeds from "
        f"{grid.seeds[0]} on{_say_two(table)}. {_say_columns(grid)} "
        "Accuracies are top-1 in percent, drops in points; churn is the "
        f"share of predictions that changed. {_say_gaps(records)}{_say_bold(grid, records, table)}"
        f"{_say_retain(records)}",
        "",
        f"Written by `{command}`; [{RESULTS_FILE}]({RESULTS_FILE}) has every cell in full. "
        f"`{command} --table --csv FILE` writes one line a cell, `--latex FILE` this table.",
        "",
        *to_markdown(table),
        "",
        *(line for note in grid.notes for line in (note, "")),
        f"Before: {_say_before(records)}.",
        "",
        *say_prediction(records),
        *(line for kind in plots for line in (f"![{kind}]({kind}.svg)", "")),
        *_say_missing(report.cells),
        _say_machine(report.cells, records),
        "",
    ]
    return "\n".join(lines)


def _say_columns(grid: Grid) -> str:
    if grid.reference:
        again = [row.label for row in grid.methods if row.settings.get(OFFSET)]
        attacked = MEMBERSHIP if grid.job.get("audit") else ""
        told = COMPARED.format(reference=grid.reference) + attacked
        return told + "".join(AGAIN.format(label=label) for label in again)
    if grid.forget_class:
        return SINGLE + CLASS_WISE.format(name=f"`{grid.forget_class}`")
    return STREAM if grid.stream.requests > 1 else SINGLE


def _say_gaps(records: Sequence[Record]) -> str:
    """Say what stands where forget sets lack a figure, if any does."""
    whole = all(isfinite(figure) for record in records for figure in record.figures.values())
    return "" if whole else "`-`, or `(of n)`: the other forget sets have no such figure. "


def _say_bold(grid: Grid, records: Sequence[Record], table: SummaryTable) -> str:
    competitors = "" if grid.reference else " that reached the goal for all rows"
    return say_rule(records, any_bold=any(row.best for row in table.rows), competitors=competitors)


def say_prediction(records: Sequence[Record]) -> list[str]:
    """Return a paragraph on how well the expected churn predicts the measured one, if any edit expected something."""
    told = [one.result for one in records if one.result.get("expected") and "test" in one.result["after"]]
    if len(told) < 3:
        return []
    expected = [result["expected"]["churn"] for result in told]
    measured = [result["after"]["test"]["churn"] for result in told]
    if len(set(expected)) == 1 or len(set(measured)) == 1:
        return []
    correlation = stats.spearmanr(expected, measured).statistic
    return [
        "Expected churn, from surrogates kept out of the fit, against churn on the test images: Spearman's rank "
        f"correlation {correlation:.2f} over {len(told)} edits; mean {sum(expected) / len(told):.2f} expected, "
        f"{sum(measured) / len(told):.2f} measured.",
        "",
    ]


def _say_retain(records: Sequence[Record]) -> str:
    users = list(dict.fromkeys(one.label for one in records if one.result.get("retain_used")))
    said = "Retain and test images were only measured on"
    return f"{said}, except that these methods used retain data: {', '.join(users)}." if users else f"{said}."


def _say_before(records: Sequence[Record]) -> str:
    """Return the accuracies of each classifier before its edits, the lowest and the highest where images differ."""
    parts: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for record in records:
        for name, part in record.result["before"].items():
            if name != "forget":
                parts.setdefault(record.group[0], {}).setdefault(name, []).append(part)
    return "; ".join(
        (f"{classifier}: " if classifier else "") + ", ".join(_say_part(*each) for each in by_name.items())
        for classifier, by_name in parts.items()
    )


def _say_part(name: str, told: Sequence[Mapping[str, Any]]) -> str:
    accuracies, sizes = ([each[figure] for each in told] for figure in ("accuracy", "n"))
    return f"{name} {_say_span(accuracies, '.2f')} (n = {_say_span(sizes, 'd')})"


def _say_span(values: Sequence[float], form: str) -> str:
    return " to ".join(dict.fromkeys(format(each, form) for each in (min(values), max(values))))


def _say_missing(cells: Sequence[Cell]) -> list[str]:
    missing = [cell for cell in cells if cell.result() is None]
    if not missing:
        return []
    failed = sum(cell.failure() is not None for cell in missing)
    return [f"**Not complete**: {len(missing)} of {len(cells)} cells are missing, {failed} of them failed.", ""]


def _say_two(table: SummaryTable) -> str:
    """Return what a mean of two sets shows, where there is one."""
    return "; of two sets, both values" if any(row.n == 2 for row in table.rows) else ""


def _say_machine(cells: Sequence[Cell], records: Sequence[Record]) -> str:
    """Return where the cells were run; of results that don't say, where the page is made."""
    said = [described for cell in cells if (described := cell.machine()) is not None]
    first = said[0] if said else {}
    machine, cores = first.get("machine", platform.machine()), first.get("cores", os.cpu_count())
    threads = sorted({one["threads"] for one in said}) or [torch.get_num_threads()]
    versions = records[0].result.get("versions") or {"torch": first.get("torch"), "expunge": first.get("expunge")}
    at_a_time = max((one["at_a_time"] for one in said), default=1)
    together = f", up to {at_a_time} cells at a time" if at_a_time > 1 else ""
    return (
        f"Machine: {machine}, {cores} cores, {' or '.join(map(str, threads))} threads{together}, "
        f"torch {versions['torch']}, expunge {versions['expunge']}, device {records[0].result['device']}."
    )


def _from_here(config: Path) -> str:
    """Return the configuration's path as it is given from where the package's repository is, where it is below that."""
    resolved, here = config.resolve(), Path.cwd()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else config.name
